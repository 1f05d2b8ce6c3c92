"""Sources ``tables`` and ``table:{name}``: every Faust table of every worker, row by row.

In the order of keys a page costs its rows, wherever it begins. Any other order reads the whole table of each worker, in turns
and for a limited time; the answer says where that was not enough.
"""

import heapq
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import replace
from typing import Final

from agents.engine import ChunkTable
from agents.view.sources.ledger import names_of
from agents.view.sources.state import WorkerState
from pipeline.errors import UnavailableError, ViewQueryError
from pipeline.model.section import Section
from pipeline.sinks.registry import SINKS
from pipeline.view.apply import is_after, matcher
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.decoded import decode_table_row, key_bytes, key_text, read_key
from pipeline.view.formats.pace import Turns
from pipeline.view.mask import masked_query
from pipeline.view.query import Operator, Query
from pipeline.view.selecting import Selecting, SortedRuns
from pipeline.view.source import Answer, answer_of

BUDGET_S: Final = 0.7
"""How long one worker looks through a table for a page."""

SECTIONS: Final[Mapping[str, type[Section]]] = {spec.kind: spec.settings for spec in SINKS}
_RAW: Final = "raw value"  # beside the columns until the row is decoded; no column has such a name
_DECODED: Final = frozenset({"value", "problem"})
_OF_PEOPLE: Final = frozenset({"users"})
_AFTER: Final = b"\xff"


class TablesSource:
    """One row a table."""

    name = "tables"
    columns: Columns = (
        Column("table", "Table", Kind.CODE, "A Faust table of this app.", link="/tables/{table}"),
        Column("rows", "Rows, about", Kind.INTEGER, "As RocksDB estimates it; exact where the store is memory."),
        Column("partitions", "Partitions", Kind.INTEGER, "How many of its partitions answered."),
        Column("size_bytes", "Size, about", Kind.BYTES, "On the workers' disks; unknown where the store is memory."),
        Column("changelog", "Changelog", Kind.CODE, "The topic that it is rebuilt from.", link="/topics/{changelog}"),
        Column("store", "Store", Kind.CODE, "Where its rows are kept beside the changelog."),
    )
    key = "table"
    sort = "table"
    is_descending = False
    combined = frozenset({"rows", "partitions", "size_bytes"})

    def __init__(self, state: WorkerState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those that are owned."""
        return self._state.peers.owned()

    def combine(self, one: Row, other: Row) -> Row:
        """One table on two workers."""
        sizes = [row["size_bytes"] for row in (one, other) if row["size_bytes"] is not None]
        return {
            **one,
            "rows": one["rows"] + other["rows"],
            "partitions": one["partitions"] + other["partitions"],
            "size_bytes": sum(sizes) if sizes else None,
        }

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part."""
        return answer_of([self._row(table) for table in chunk_tables(self._state)], query, self.columns, masks)

    def _row(self, table: ChunkTable) -> Row:
        found = [table.estimate(tp.partition) for tp in sorted(table.changelog_partitions())]
        sizes = [size_bytes for _, size_bytes in found if size_bytes is not None]
        return {
            "table": table.name,
            "rows": sum(rows for rows, _ in found),
            "partitions": len(found),
            "size_bytes": sum(sizes) if sizes else None,
            "changelog": table.changelog_topic_name,
            "store": str(table.data.url).partition("?")[0],
        }


class TableSource:
    """The rows of one table."""

    columns: Columns = (
        Column("key", "Key", Kind.CODE, "Its key: as text, or 0x and its bytes.", link="/tables/{table}/{key}"),
        Column("kind", "Kind", Kind.STATE, "What the row is, by its key."),
        Column("lane", "Lane", Kind.CODE, "The lane that it tells of."),
        Column("integration", "Integration", Kind.CODE, "Whose row it is.", link="/integrations/{integration}"),
        Column("partition", "Partition", Kind.INTEGER, "Where it lives."),
        Column("size_bytes", "Size", Kind.BYTES, "Of key and value."),
        Column("value", "Value", Kind.JSON, "What it says, decoded.", is_sortable=False),
        Column("problem", "Problem", Kind.TEXT, "Why it cannot be read.", is_wide=True),
        Column("worker", "Worker", Kind.CODE, "Who owns it.", is_wide=True, link="/workers/{worker}"),
        Column("table", "Table", Kind.CODE, "The table.", is_wide=True, is_sortable=False),
        Column("id", "Place", Kind.CODE, "Partition and key: keys such as watermarks are in every one.", is_wide=True),
    )
    key = "id"
    sort = "key"
    is_descending = False

    def __init__(self, state: WorkerState, table: ChunkTable, *, budget_s: float = BUDGET_S) -> None:
        self._state = state
        self.table = table
        self._budget_s = budget_s
        self.name = f"table:{table.name}"

    def partitions(self) -> frozenset[int]:
        """Those that are owned."""
        return frozenset(tp.partition for tp in self.table.changelog_partitions())

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find rows of this worker."""
        if masks and self.table.name in _OF_PEOPLE:
            raise ViewQueryError(f"the keys of table {self.table.name} name people, who are masked for you; see /users")
        asked = masked_query(query, self.columns, masks)
        is_by_key = query.sort == self.sort and not query.is_descending
        if query.limit is None:
            return Answer(self._export(asked, masks) if is_by_key else self._sorted_export(asked, masks))
        if is_by_key and not query.facets:
            return await self._page_by_key(asked, query.limit, masks)
        return await self._page(asked, masks)

    async def _page_by_key(self, query: Query, limit: int, masks: frozenset[Personal]) -> Answer:
        found: list[Row] = []
        until_s, is_truncated = time.monotonic() + self._budget_s, False
        turns = Turns()
        for row in self._matching(query, masks):
            if row is not None:
                found.append(row)
            if len(found) > limit:
                break
            await turns.pause()
            if time.monotonic() > until_s:
                is_truncated = True
                break
        is_all = query.after is None and not is_truncated and len(found) <= limit
        shown = [self._decoded(row, masks) for row in found[:limit]]
        return Answer(shown, len(found) > limit, len(found) if is_all else None, {}, is_truncated)

    async def _page(self, query: Query, masks: frozenset[Personal]) -> Answer:
        selecting = Selecting(query, self.columns)
        until_s, is_truncated = time.monotonic() + self._budget_s, False
        turns = Turns()
        for row in self._matching(replace(query, after=None), masks):
            if row is not None:
                selecting.add(row)
            await turns.pause()
            if time.monotonic() > until_s:
                is_truncated = True
                break
        selected = selecting.result()
        shown = [self._decoded(row, masks) for row in selected.rows]
        matching = None if is_truncated else selected.matching
        return Answer(shown, selected.has_more, matching, selected.facets, is_truncated)

    async def _export(self, query: Query, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        turns = Turns()
        for row in self._matching(query, masks):
            if row is not None:
                yield self._decoded(row, masks)
            await turns.pause()

    async def _sorted_export(self, query: Query, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        runs = SortedRuns(query)
        try:
            async for row in self._export(replace(query, after=None), masks):
                runs.add(row)
            async for row in runs.rows():
                yield row
        finally:
            runs.close()

    # reading

    def _matching(self, query: Query, masks: frozenset[Personal]) -> Iterator[Row | None]:
        """Rows that match, in the order of their keys; ``None`` for each that was looked at and does not."""
        needs_value = (
            bool(query.text) or any(each.column in _DECODED for each in query.conditions) or query.sort in _DECODED
        )
        matches = matcher(query, self.columns)
        for partition, key, value in self._stored(query):
            row = self._row(partition, key, value)
            if needs_value:
                row = self._decoded(row, masks)
            is_wanted = matches(row) and (query.after is None or is_after(row, query))
            yield row if is_wanted else None

    def _stored(self, query: Query) -> Iterator[tuple[int, bytes, bytes]]:
        """The rows of all partitions that may match, in the order of their keys."""
        wanted = names_of(query, "partition")
        partitions = sorted(self.partitions())
        if wanted is not None:
            partitions = [partition for partition in partitions if partition in wanted]
        first, prefix = self._beginning(query)
        return heapq.merge(*(self._of(partition, first, prefix) for partition in partitions), key=lambda row: row[1])

    def _of(self, partition: int, first: bytes, prefix: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        generation = self._state.peers.generation
        for key, value in self.table.rows_from(partition, first):
            if not key.startswith(prefix):
                return
            if generation != self._state.peers.generation:
                raise UnavailableError("partitions moved while it read")
            yield partition, key, value

    def _beginning(self, query: Query) -> tuple[bytes, bytes]:
        """The first key that can match, and what all keys that can match begin with."""
        prefix = b""
        for condition in query.conditions:
            if condition.operator is Operator.EXACT and isinstance(condition.value, str):
                if condition.column == "key":
                    prefix = max(prefix, _key(condition.value), key=len)
                elif condition.column in {"lane", "integration"} and self.table.name != "integrations":
                    prefix = max(prefix, condition.value.encode("utf-8", "surrogatepass"), key=len)
        if query.after is None or query.sort != self.sort or query.is_descending:
            return prefix, prefix
        seen = _key(str(query.after[0]))
        return max(prefix, seen), prefix

    def _row(self, partition: int, key: bytes, value: bytes) -> Row:
        words = read_key(self.table.name, key)
        return {
            "key": key_text(key),
            "kind": words.kind,
            "lane": words.lane,
            "integration": words.integration,
            "partition": partition,
            "size_bytes": len(key) + len(value),
            "worker": self._state.peers.own_url,
            "table": self.table.name,
            "id": f"{partition:05d}/{key_text(key)}",
            _RAW: (key, value),
        }

    def _decoded(self, row: Row, masks: frozenset[Personal]) -> Row:
        raw = row.pop(_RAW, None)
        if raw is None:
            return row
        key, value = raw
        decoded = decode_table_row(self.table.name, key, value, masks, sections=SECTIONS)
        return row | {
            "kind": decoded.kind,
            "integration": decoded.integration or row["integration"],
            "value": decoded.value,
            "problem": decoded.problem or None,
        }


def chunk_tables(state: WorkerState) -> list[ChunkTable]:
    """All tables of the app, by name."""
    return [table for _, table in sorted(state.app.tables.items()) if isinstance(table, ChunkTable)]


def find_rows(state: WorkerState, table: ChunkTable, key: bytes, masks: frozenset[Personal]) -> Iterator[Row]:
    """The rows of a key with all that they say, one for each partition of this worker that has it."""
    for tp in sorted(table.changelog_partitions()):
        value = table.get(tp.partition, key)
        if value is not None:
            decoded = decode_table_row(table.name, key, value, masks, sections=SECTIONS, with_events=True)
            yield {
                "key": key_text(key),
                "kind": decoded.kind,
                "lane": decoded.lane,
                "integration": decoded.integration,
                "partition": tp.partition,
                "worker": state.peers.own_url,
                "size_bytes": len(key) + len(value),
                "value": decoded.value,
                "problem": decoded.problem or None,
            }


def _key(text: str) -> bytes:
    try:
        return key_bytes(text)
    except ValueError:
        return text.encode("utf-8", "surrogatepass")
