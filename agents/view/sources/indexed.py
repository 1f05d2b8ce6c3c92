"""The sources that a worker's index answers: its tables as they are, and tries counted over time."""

from typing import Final

from agents.view.index import IndexedSource, IndexService
from pipeline.errors import ViewQueryError
from pipeline.view.columns import Column, Kind, Personal, Row
from pipeline.view.index.search import histogram
from pipeline.view.index.tables import ATTEMPTS, TABLES
from pipeline.view.query import Query
from pipeline.view.source import Answer, Source

NARROWEST_S: Final = 1.0
MOST_COUNTS: Final = 20_000


class AttemptCounts:
    """How many tries there were in each stretch of time, by verdict; asked for with the conditions of tries.

    The condition ``width_s`` says how long a stretch is. Each worker has rows of its own: whoever asks adds them up.
    """

    name = "attempt_counts"
    columns = (
        Column("slot", "Time", Kind.TIME),
        Column("rows", "Tries", Kind.INTEGER),
        Column("width_s", "Width", Kind.SECONDS, is_wide=True),
        Column("part", "Part", Kind.CODE, is_wide=True),
        *ATTEMPTS.columns,
    )
    key = "part"
    sort = "slot"
    is_descending = False

    def __init__(self, service: IndexService) -> None:
        self._service = service

    def partitions(self) -> frozenset[int]:
        """Those that the index has taken over."""
        return self._service.partitions()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Count; raises ``ViewQueryError`` where that would be too many stretches."""
        width_s = next((each.value for each in query.conditions if each.column == "width_s"), 60.0)
        if width_s < NARROWEST_S:
            raise ViewQueryError(f"width_s: a stretch of time is at least {NARROWEST_S:g} s long")
        conditions = tuple(each for each in query.conditions if each.column != "width_s")
        asked = Query(conditions=conditions, text=query.text, sort="at", key="place")
        counts = await self._service.read(
            lambda cursor: histogram(cursor, ATTEMPTS, asked, split_by="verdict", width_s=width_s, masks=masks)
        )
        if len(counts) > MOST_COUNTS:
            raise ViewQueryError("that are too many stretches of time; ask for wider ones or for less time")
        worker = min(self._service.partitions(), default=0)
        rows: list[Row] = [
            {
                "part": f"{slot:.0f}/{verdict}/{worker}",
                "slot": slot,
                "verdict": verdict,
                "rows": count,
                "width_s": width_s,
            }
            for slot, verdict, count in counts
        ]
        rows.sort(key=lambda row: (row["slot"], row["part"]))
        return Answer(rows, matching=len(rows), is_truncated=self._service.is_catching_up)


def indexed_sources(service: IndexService) -> list[Source]:
    """All of them, for :meth:`Gather.offer`."""
    return [*(IndexedSource(service, table) for table in TABLES if service.holds(table)), AttemptCounts(service)]
