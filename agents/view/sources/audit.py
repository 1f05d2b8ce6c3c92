"""Source ``audit``: every change and every act, newest first. Each worker knows all of it."""

from agents.integrations import Integrations
from agents.view.sources.state import WorkerState
from pipeline.integrations.stored import AuditEntry
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of


class AuditSource:
    """Who did what, and when."""

    name = "audit"
    is_shared = True
    columns: Columns = (
        Column("at", "Time", Kind.TIME, "When it was done.", link="/audit/{revision}"),
        Column("who", "By", Kind.TEXT, "The name of the token, or the user whom the proxy named."),
        Column("role", "Role", Kind.STATE, "The role that this person had."),
        Column("what", "What", Kind.TEXT, "What was done."),
        Column("target", "To", Kind.CODE, "What it was done to."),
        Column(
            "details", "Details", Kind.JSON, "Of a change: each key with its value before and after, secrets masked.",
            is_sortable=False,
        ),
        Column("address", "From", Kind.CODE, "The address of whoever did it.", is_wide=True),
        Column("revision", "Revision", Kind.INTEGER, "Counts changes and acts."),
    )  # fmt: skip
    key = "revision"
    sort = "revision"
    is_descending = True

    def __init__(self, integrations: Integrations, state: WorkerState) -> None:
        self._integrations = integrations
        self._state = state

    def partitions(self) -> frozenset[int]:
        """All: every worker follows all changes."""
        return frozenset(self._state.peers.partitions)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find entries."""
        return answer_of(map(audit_row, self._integrations.audit()), query, self.columns, masks)


def audit_row(entry: AuditEntry) -> Row:
    """An entry as a row."""
    return {
        "at": entry.at,
        "who": entry.who,
        "role": entry.role,
        "what": entry.what,
        "target": entry.target,
        "details": entry.details or None,
        "address": entry.address or None,
        "revision": entry.revision,
    }
