"""Source ``open_events``: the events of open windows, one row each, in the order in which they will be sent."""

from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from agents.view.sources.ledger import names_of
from agents.view.sources.state import WorkerState
from pipeline.model.batch import integration_of
from pipeline.view.apply import is_after, matcher
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.mask import mask_event, mask_row, masked_query
from pipeline.view.query import Query
from pipeline.view.selecting import Selecting, SortedRuns
from pipeline.view.source import Answer

_NUMBER_DIGITS: Final = 12


class OpenEventsSource:
    """What is gathered and not sealed yet."""

    name = "open_events"
    columns: Columns = (
        Column("place", "Place", Kind.CODE, "The lane, and the event's number in it.", is_wide=True),
        Column("number", "Number", Kind.INTEGER, "In its lane's sequence."),
        Column("integration", "Integration", Kind.CODE, "Who will get it.", link="/integrations/{integration}", is_wide=True),
        Column("lane", "Lane", Kind.CODE, "Its sequence.", is_wide=True),
        Column("at", "Happened", Kind.TIME, "The event's own time."),
        Column("event_name", "Event", Kind.TEXT, "What happened."),
        Column("platform", "Platform", Kind.TEXT, "Where."),
        Column("application", "Application", Kind.CODE, "The application's code."),
        Column("hwid", "Device", Kind.CODE, "Whose device.", personal=Personal.HWID),
        Column("user_id", "User", Kind.CODE, "Whose event.", personal=Personal.USER_ID),
        Column("size_bytes", "Size", Kind.BYTES, "As it will be sent.", is_wide=True),
        Column("event", "Event as it is sent", Kind.JSON, "The whole event.", is_sortable=False),
    )  # fmt: skip
    key = "place"
    sort = "place"
    is_descending = False

    def __init__(self, state: WorkerState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find events; quick where the query names integrations."""
        asked = masked_query(query, self.columns, masks)
        wanted = names_of(query, "integration")
        if query.limit is None:
            return Answer(self._sorted(asked, wanted, masks))
        selecting = Selecting(asked, self.columns)
        async for row in self._rows(wanted, masks):
            selecting.add(row)
        found = selecting.result()
        return Answer(found.rows, found.has_more, found.matching, found.facets)

    async def _sorted(
        self, query: Query, wanted: frozenset[str] | None, masks: frozenset[Personal]
    ) -> AsyncGenerator[Row]:
        runs, matches = SortedRuns(query), matcher(query, self.columns)
        try:
            async for row in self._rows(wanted, masks):
                if matches(row) and (query.after is None or is_after(row, query)):
                    runs.add(row)
            async for row in runs.rows():
                yield row
        finally:
            runs.close()

    async def _rows(self, wanted: frozenset[str] | None, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        turns = Turns()
        for partition in sorted(self._state.restored()):
            stage = self._state.windows.stages.get(partition)
            if stage is None:
                continue  # it left meanwhile
            names = [each.lane for each in stage.lanes() if each.open_events]
            for lane in names:
                if wanted is not None and integration_of(lane) not in wanted:
                    continue
                # Both are read at once, without a turn in between: so the numbers fit the events.
                view, run = stage.lane(lane), stage.open_events(lane)
                if view is None or run is None:
                    continue
                start = 0
                for index, end in enumerate(run.ends):
                    body = run.block[start:end]
                    start = end + 1
                    yield event_row(lane, view.first + index, body, masks)
                    await turns.pause()


def event_row(lane: str, number: int, body: bytes, masks: frozenset[Personal]) -> Row:
    """An event as a row, masked."""
    try:
        event: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        event = {}
    fields = event if isinstance(event, dict) else {}
    at = fields.get("timestamp")
    row = {
        "place": f"{lane}:{number:0{_NUMBER_DIGITS}d}",
        "number": number,
        "integration": integration_of(lane),
        "lane": lane,
        "at": at if isinstance(at, int | float) else None,
        "event_name": _text(fields.get("event_name")),
        "platform": _text(fields.get("platform")),
        "application": _text(fields.get("application_code")),
        "hwid": _text(fields.get("hwid")),
        "user_id": _text(fields.get("user_id")),
        "size_bytes": len(body),
        "event": mask_event(event, masks) if masks else event,
    }
    return mask_row(OpenEventsSource.columns, row, masks) if masks else row


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
