"""A query over rows that come one after the other: what ``apply.select`` does, in turns, for rows that are too many for one.

A page needs the memory of its rows. An export in an order of its own is sorted in runs that are kept in a temporary file, so
that it needs the memory of one run, however many rows there are.
"""

import heapq
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import IO, Any, Final

import msgspec

from pipeline.view.apply import FACET_VALUES_A_SHARD, Selected, countable, is_after, matcher, order_of
from pipeline.view.columns import Columns, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.query import Query

RUN_ROWS: Final = 4000
_READ_ROWS: Final = 100
_SPARE_ROWS: Final = 1000


class Selecting:
    """One page of rows out of all that are added; the query must have a limit."""

    def __init__(self, query: Query, columns: Columns) -> None:
        assert query.limit is not None, "an export is sorted in runs"
        self._query = query
        self._matches = matcher(query, columns)
        self._limit = query.limit
        self._rows: list[Row] = []
        self._matching = 0
        self._facets: dict[str, Counter[Any]] = {name: Counter() for name in query.facets}

    def add(self, row: Row) -> None:
        """Take a row in, where it matches."""
        query = self._query
        if not self._matches(row):
            return
        self._matching += 1
        for name, counter in self._facets.items():
            counter[countable(row.get(name))] += 1
        if query.after is None or is_after(row, query):
            self._rows.append(row)
            if len(self._rows) > self._limit + _SPARE_ROWS:
                self._rows = self._first()

    def result(self) -> Selected:
        """What was found so far."""
        rows = self._first()
        facets = {name: counter.most_common(FACET_VALUES_A_SHARD) for name, counter in self._facets.items()}
        return Selected(rows[: self._limit], len(rows) > self._limit, self._matching, facets)

    def _first(self) -> list[Row]:
        pick = heapq.nlargest if self._query.is_descending else heapq.nsmallest
        return pick(self._limit + 1, self._rows, key=lambda row: order_of(row, self._query))


class SortedRuns:
    """Puts any number of rows in a query's order, with the memory of one run. To be closed."""

    def __init__(self, query: Query, run_rows: int = RUN_ROWS) -> None:
        self._query = query
        self._run_rows = run_rows
        self._rows: list[Row] = []
        self._runs: list[list[tuple[int, int]]] = []
        self._file: IO[bytes] | None = None

    def add(self, row: Row) -> None:
        """Take a row in."""
        self._rows.append(row)
        if len(self._rows) >= self._run_rows:
            self._spill()

    async def rows(self) -> AsyncGenerator[Row]:
        """All rows in order; nothing may be added afterwards."""
        self._sort()
        turns = Turns()
        runs = [*map(self._read, self._runs), iter(self._rows)]
        for row in heapq.merge(*runs, key=lambda row: order_of(row, self._query), reverse=self._query.is_descending):
            yield row
            await turns.pause()

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sort(self) -> None:
        self._rows.sort(key=lambda row: order_of(row, self._query), reverse=self._query.is_descending)

    def _spill(self) -> None:
        self._sort()
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="distributary-")  # noqa: SIM115 closed by close
        pieces: list[tuple[int, int]] = []
        for start in range(0, len(self._rows), _READ_ROWS):
            piece = msgspec.msgpack.encode(self._rows[start : start + _READ_ROWS])
            pieces.append((self._file.tell(), len(piece)))
            self._file.write(piece)
        self._runs.append(pieces)
        self._rows = []

    def _read(self, pieces: list[tuple[int, int]]) -> Iterator[Row]:
        for position, size_bytes in pieces:
            assert self._file is not None, "closed while it is read"
            self._file.seek(position)
            rows: list[Row] = msgspec.msgpack.decode(self._file.read(size_bytes))
            yield from rows
