"""One answer out of many workers' answers: rows in one order, counts added up.

Each worker's rows are in order, so the next row of all is the first of those that are next of each: a million rows pass
through with one of each worker in memory.
"""

import heapq
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

from pipeline.view.apply import MOST_FACET_VALUES, order_of
from pipeline.view.columns import Row
from pipeline.view.query import Query, encode_cursor
from pipeline.view.source import CombinedSource, Facets


class Merged(NamedTuple):
    """One page of rows of all workers, whether more follow, and the cursor that stands for the last one then."""

    rows: list[Row]
    has_more: bool
    next_cursor: str


def merge_pages(pages: Sequence[tuple[Sequence[Row], bool]], query: Query) -> Merged:
    """Merge each worker's page (its rows in order, and whether it has more) into one of at most ``query.limit`` rows."""
    ordered = heapq.merge(
        *(rows for rows, _ in pages), key=lambda row: order_of(row, query), reverse=query.is_descending
    )
    # What a worker has beyond its page comes after all that it sent: no row of it can be due before its page is used up.
    rows = list(ordered)
    limit = len(rows) if query.limit is None else query.limit
    has_more = len(rows) > limit or any(more for _, more in pages)
    rows = rows[:limit]
    return Merged(rows, has_more, cursor_of(rows[-1], query) if has_more and rows else "")


async def merge_streams(streams: Sequence[AsyncIterator[Row]], query: Query) -> AsyncGenerator[Row]:
    """Merge rows that come in order; reads a stream only when its next row is needed."""
    places: list[_Place] = []
    for number, stream in enumerate(streams):
        row = await anext(stream, None)
        if row is not None:
            places.append(_Place(row, number, query))
    heapq.heapify(places)
    while places:
        place = places[0]
        yield place.row
        row = await anext(streams[place.number], None)
        if row is None:
            heapq.heappop(places)
        else:
            heapq.heapreplace(places, _Place(row, place.number, query))


def cursor_of(row: Row, query: Query) -> str:
    """What stands for ``row`` in ``after``."""
    return encode_cursor(_scalar(row.get(query.sort)), _scalar(row.get(query.key)))


def add_facets(found: Iterable[Facets]) -> Facets:
    """Add counts up by value; the most frequent values are kept."""
    counts: dict[str, Counter[Any]] = {}
    for facets in found:
        for name, values in facets.items():
            counter = counts.setdefault(name, Counter())
            for value, rows in values:
                counter[value] += rows
    return {name: counter.most_common(MOST_FACET_VALUES) for name, counter in counts.items()}


def add_counts(found: Iterable[int | None]) -> int | None:
    """The sum, or ``None`` where one of them is not known."""
    counts = list(found)
    return None if any(count is None for count in counts) else sum(count for count in counts if count is not None)


def combine_rows(rows: Iterable[Row], key: str, source: CombinedSource) -> list[Row]:
    """Put the parts of each row together."""
    whole: dict[Any, Row] = {}
    for row in rows:
        held = whole.get(row[key])
        whole[row[key]] = row if held is None else source.combine(held, row)
    return list(whole.values())


class _Place:
    """A stream's next row, in the order of the query; the first stream wins a tie."""

    __slots__ = ("is_descending", "number", "order", "row")

    def __init__(self, row: Row, number: int, query: Query) -> None:
        self.row = row
        self.number = number
        self.order = order_of(row, query)
        self.is_descending = query.is_descending

    def __lt__(self, other: "_Place") -> bool:
        if self.order == other.order:
            return self.number < other.number
        return self.order > other.order if self.is_descending else self.order < other.order


def _scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
