"""Source ``integrations``: one row an integration, with what people ask of it first: how it is, what waits, what failed."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from agents.view.integration_acts import IntegrationActs
from agents.view.sources.lanes import OF_STATE
from agents.view.sources.ledger import LedgerParts, names_of
from agents.view.sources.recent import Lately, Recent, Tries
from agents.view.sources.state import LaneRows, WorkerState
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.lane_rows import STATES, LaneState
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

_SUMMED: Final = (
    "matched", "open", "waiting", "delivered", "parked", "discarded", "missing", "waiting_batches", "retrying_batches",
    "lanes", "delivered_24h", "failed_24h", "tries_24h", "delivered_tries_24h",
)  # fmt: skip
_WELL: Final = frozenset({LaneState.OK.value, LaneState.FAILING.value})
_LARGEST: Final = ("oldest_s", "last_success_at")
_OF_LEDGER: Final = (
    "integration", "kind", "state", "matched", "open", "waiting", "delivered", "parked", "discarded", "missing",
    "waiting_batches", "retrying_batches", "lanes",
)  # fmt: skip


class IntegrationsSource:
    """All integrations that are in force, and those removed that have left figures."""

    name = "integrations"
    columns: Columns = (
        Column("integration", "Integration", Kind.CODE, "A customer's delivery.", link="/integrations/{integration}"),
        OF_STATE,
        Column("trend", "24 h", Kind.PICTURE, "Events delivered, by the hour in which their window was opened.", is_sortable=False),
        Column(
            "waiting", "Waiting", Kind.INTEGER, "Events that are sealed and not done.",
            link="/batches?integration={integration}&outcome__in=waiting,retrying",
        ),
        Column("oldest_s", "Oldest", Kind.SECONDS, "How long the oldest sealed batch has waited."),
        Column(
            "parked", "Parked", Kind.INTEGER, "Events that gave up; they can be replayed.",
            link="/parked?integration={integration}",
        ),
        Column("delivered_24h", "Delivered, 24 h", Kind.INTEGER, "Events of the last 24 hours that the endpoint has taken."),
        Column("success", "Success, %", Kind.NUMBER, "Of the tries of the last 24 hours, how many delivered."),
        Column(
            "last_success_at", "Last success", Kind.TIME, "When a try delivered last.",
            link="/attempts?integration={integration}&verdict=delivered",
        ),
        Column(
            "last_error", "Last error", Kind.TEXT, "What the last try that failed came to.", is_quoting=True,
            link="/attempts?integration={integration}&verdict__not=delivered",
        ),
        Column("kind", "Kind", Kind.CODE, "What its endpoint speaks."),
        Column("origin", "Origin", Kind.STATE, "file: from faust.yml, read-only; stored: made here."),
        Column("host", "Host", Kind.TEXT, "Where its batches go."),
        Column("target", "Target", Kind.TEXT, "Where its batches go, without what may be secret.", is_wide=True),
        Column("last_error_at", "Last error at", Kind.TIME, "When a try failed last.", is_wide=True),
        Column("failed_24h", "Gave up, 24 h", Kind.INTEGER, "Events of the last 24 hours that were parked or discarded.", is_wide=True),
        Column("tries_24h", "Tries, 24 h", Kind.INTEGER, "Tries of the last 24 hours.", is_wide=True),
        Column("delivered_tries_24h", "Good tries, 24 h", Kind.INTEGER, "Tries of the last 24 hours that delivered.", is_wide=True),
        Column("open", "Open", Kind.INTEGER, "Events in open windows.", is_wide=True),
        Column("matched", "Matched", Kind.INTEGER, "Events that the integration matched.", is_wide=True),
        Column("delivered", "Delivered", Kind.INTEGER, "Events that the endpoint has taken.", is_wide=True),
        Column("discarded", "Discarded", Kind.INTEGER, "Events that gave up and are not kept.", is_wide=True),
        Column("missing", "Missing", Kind.INTEGER, "Matched events that are nowhere: 0 wherever the ledger balances.", is_wide=True),
        Column("waiting_batches", "Waiting batches", Kind.INTEGER, "Batches that are sealed and not done.", is_wide=True),
        Column("retrying_batches", "Retrying", Kind.INTEGER, "Waiting batches that have failed at least once.", is_wide=True),
        Column("lanes", "Lanes", Kind.INTEGER, "Sequences that its events are in.", is_wide=True),
        Column("changed_at", "Changed", Kind.TIME, "When its settings were changed last.", is_wide=True),
        Column("changed_by", "By", Kind.TEXT, "Who changed them last.", is_wide=True),
        Column("revision", "Revision", Kind.INTEGER, "That of its last change; none for those of faust.yml.", is_wide=True),
    )  # fmt: skip
    key = "integration"
    sort = "integration"
    is_descending = False
    combined = frozenset(column.name for column in columns) - {"integration"}
    combines_narrow_rows = True
    made_of: Mapping[str, tuple[str, ...]] = {
        "success": ("tries_24h", "delivered_tries_24h"),
        "last_error": ("last_error_at",),
        "state": ("last_success_at", "last_error_at"),
    }

    def __init__(self, state: WorkerState, lanes: LaneRows, recent: Recent, acts: IntegrationActs) -> None:
        self._state = state
        self._parts = LedgerParts(state, lanes)
        self._recent = recent
        self._acts = acts
        self._rows: dict[str, Row] = {}
        self._of: tuple[Any, ...] = ()

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    def combine(self, one: Row, other: Row) -> Row:
        """Two parts of one integration."""
        return combine_parts(one, other)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part."""
        wanted = names_of(query, "integration")
        rows = await self._read()
        chosen = rows.values() if wanted is None else [rows[name] for name in sorted(wanted & rows.keys())]
        is_truncated = not self._recent.is_whole
        if query.limit is None and not query.conditions and not masks:
            # Whoever asks puts parts together and in order; ten thousand need not be sorted here as well.
            return Answer(list(chosen), matching=len(chosen), is_truncated=is_truncated)
        return answer_of(chosen, query, self.columns, masks)._replace(is_truncated=is_truncated)

    async def _read(self) -> Mapping[str, Row]:
        """All rows, put together again only when something was read anew; not to be changed."""
        parts, lately = await self._parts.read(), await self._recent.read()
        of = (parts, lately, self._acts.snapshot)
        if not self._of or any(old is not new for old, new in zip(self._of, of, strict=True)):
            now = self._state.clock.wall_s()
            known = {row["id"]: row for row in self._acts.rows()}
            rows: dict[str, Row] = {}
            turns = Turns()
            for name, part in parts.items():
                rows[name] = row_of(part, known.get(name), lately, now)
                await turns.pause()
            self._rows, self._of = rows, of
        return self._rows


def row_of(part: Row, known: Row | None, lately: Lately, now: float) -> Row:
    """One worker's part of an integration; ``known`` is what is set of it, ``None`` where it was removed."""
    name = part["integration"]
    row = {column: part[column] for column in _OF_LEDGER}
    since = part["waiting_since"]
    row["oldest_s"] = None if since is None else max(0.0, now - since)
    for column in ("target", "origin", "changed_at", "changed_by", "revision"):
        row[column] = None if known is None else known[column]
    row["host"] = None if known is None else urlsplit(known["target"]).netloc or known["target"]
    hourly = lately.hours.get(name)
    row["delivered_24h"] = 0 if hourly is None else sum(hourly.delivered)
    row["failed_24h"] = 0 if hourly is None else hourly.failed
    row["trend"] = None if hourly is None else hourly.delivered
    tries = None if lately.tries is None else lately.tries.get(name, Tries())
    row["tries_24h"] = None if tries is None else tries.tries
    row["delivered_tries_24h"] = None if tries is None else tries.delivered_tries
    row["last_success_at"] = None if tries is None else tries.last_success_at
    row["last_error_at"] = None if tries is None else tries.last_error_at
    row["last_error"] = None if tries is None else tries.last_error
    row["success"] = success_of(row)
    row["state"] = state_of(row)
    return row


def combine_parts(one: Row, other: Row) -> Row:
    """Two workers' parts of one integration, or of some of its columns."""
    row = dict(one)
    for name, value in other.items():
        held = one.get(name)
        if held is None or value is None:
            row[name] = held if value is None else value
        elif name in _SUMMED:
            row[name] = held + value
        elif name in _LARGEST:
            row[name] = max(held, value)
        elif name == "state":
            row[name] = min((held, value), key=lambda word: STATES.index(LaneState(word)))
        elif name == "trend":
            row[name] = [left + right for left, right in zip(held, value, strict=True)]
    newest = _newest_error((one, other))
    if newest is not None:
        row |= {name: newest[name] for name in ("last_error", "last_error_at") if name in newest}
    if "success" in row:
        row["success"] = success_of(row)
    if "state" in row:
        row["state"] = state_of(row)
    return row


def state_of(row: Row) -> str:
    """Its state as its lanes have it, or ``failing`` where they are well and its last try was not."""
    state, failed_at, success_at = str(row["state"]), row.get("last_error_at"), row.get("last_success_at")
    if state not in _WELL or "last_error_at" not in row:
        return state
    return LaneState.FAILING.value if failed_at is not None and failed_at > (success_at or 0.0) else LaneState.OK.value


def success_of(row: Row) -> float | None:
    """Percent of the tries that delivered; ``None`` where there were none."""
    tries, delivered = row.get("tries_24h"), row.get("delivered_tries_24h")
    return round(100 * delivered / tries, 1) if tries and delivered is not None else None


def _newest_error(parts: Iterable[Row]) -> Row | None:
    failed = [part for part in parts if part.get("last_error_at") is not None]
    return max(failed, key=lambda part: float(part["last_error_at"]), default=None)
