"""``/tables``: every Faust table, its rows, one key with its history."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Final

import msgspec

from agents.engine import ChunkTable
from agents.view.gather import Gather
from agents.view.key_history import History, Version, read_history
from agents.view.server import View, Visit
from agents.view.shards import decode, encode
from agents.view.sources.state import WorkerState
from agents.view.sources.tables import SECTIONS, chunk_tables, find_rows
from pipeline.errors import NotFoundError, UnavailableError, ViewQueryError
from pipeline.model.moments import format_time, parse_time
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.coverage import Coverage, Shard, covered
from pipeline.view.decoded import decode_table_row, key_bytes
from pipeline.view.page import Page, Section

FIND: Final = "table-row"
FIND_WITHIN_S: Final = 1.0
HISTORY_OF: Final = "1h"

_HISTORY: Final[Columns] = (
    Column("offset", "Offset", Kind.INTEGER, "In the changelog.", link="/topics/{changelog}/{partition}/{offset}"),
    Column("at", "Written", Kind.TIME, "When the broker took it."),
    Column("kind", "Kind", Kind.STATE, "What the row is."),
    Column("counts", "Counts", Kind.FLAG, "No: a former owner wrote it too late, so every reader leaves it out."),
    Column("removed", "Removed", Kind.FLAG, "Whether it removes the row."),
    Column("size_bytes", "Size", Kind.BYTES, "Of key and value."),
    Column("value", "Value", Kind.JSON, "What it says, decoded.", is_sortable=False),
    Column("problem", "Problem", Kind.TEXT, "Why it cannot be read.", is_wide=True),
    Column("partition", "Partition", Kind.INTEGER, "Of the changelog.", is_wide=True),
    Column("changelog", "Changelog", Kind.CODE, "The topic.", is_wide=True),
    Column(
        "claim", "Claim", Kind.CODE, "Under which it was written: each owner of a partition has its own.", is_wide=True
    ),
)
_FOUND: Final[Columns] = (
    Column("partition", "Partition", Kind.INTEGER, "Where it lives."),
    Column("worker", "Owner", Kind.CODE, "The worker that owns the partition.", link="/workers/{worker}"),
    Column("kind", "Kind", Kind.STATE, "What the row is."),
    Column("lane", "Lane", Kind.CODE, "The lane that it tells of."),
    Column("integration", "Integration", Kind.CODE, "Whose row it is.", link="/integrations/{integration}"),
    Column("size_bytes", "Size", Kind.BYTES, "Of key and value."),
    Column("value", "Value", Kind.JSON, "What it says, decoded.", is_sortable=False),
    Column("problem", "Problem", Kind.TEXT, "Why it cannot be read.", is_wide=True),
)


class _Wanted(msgspec.Struct):
    table: str
    key: str
    masks: frozenset[Personal]


class TablePages:
    """The three pages, and what a worker answers when another one looks for a key."""

    def __init__(self, state: WorkerState, gather: Gather) -> None:
        self._state = state
        self._gather = gather
        gather.peers.serve(FIND, self._find_here)

    def register(self, view: View) -> None:
        """Put them on ``view``."""
        view.page("/tables", self.tables, nav="Tables")
        view.page("/tables/{table}", self.table)
        view.page("/tables/{table}/{key}", self.row)

    async def tables(self, visit: Visit) -> Page:
        """All tables."""
        section = await self._gather.section("tables", "tables", visit, what="tables")
        lead = "What the workers keep, over all of them. It survives restarts: each table is rebuilt from its changelog in Kafka."
        return Page("Tables", "page.html", [section], context={"lead": lead})

    async def table(self, visit: Visit) -> Page:
        """The rows of one table."""
        table = self._table(visit.match["table"])
        section = await self._gather.section("rows", f"table:{table.name}", visit, what="rows")
        facts = {"changelog": table.changelog_topic_name, "partitions": len(self._state.peers.partitions)}
        links = {"changelog": visit.url_for("/topics/{topic}", topic=table.changelog_topic_name)}
        return Page(f"Table {table.name}", "page.html", [section], facts, {"fact_links": links})

    async def row(self, visit: Visit) -> Page:
        """One key: its row, who owns it, and what its changelog tells of it."""
        table = self._table(visit.match["table"])
        text = visit.match["key"]
        try:
            key = key_bytes(text)
            since = parse_time(visit.parameter("since", HISTORY_OF), visit.now_s)
        except ValueError as error:
            raise ViewQueryError(f"{text[:80]}: {error}") from None
        found, coverage = await self._find(_Wanted(table.name, text, visit.masks))
        partitions = sorted({row["partition"] for row in found}) or self._partitions_to_read(visit)
        histories = [
            (number, await read_history(self._state.brokers, table.changelog_topic_name, number, key, since))
            for number in partitions
        ]
        if not found and coverage.is_complete and not any(history.versions for _, history in histories):
            raise NotFoundError(f"table {table.name} has no row {text[:200]!r}")
        rows = Section(
            "row", _FOUND, _each(found), "The row as its owner has it" if found else "No row now", coverage=coverage
        )
        versions = self._versions(table, histories, visit.masks)
        history = Section("history", _HISTORY, _each(versions), _said(histories, since, len(versions)))
        context = {
            "nothing": {
                "row": "It was removed, or its owner does not answer.",
                "history": "Nothing was written of it since then: ask for more with ?since=24h.",
            }
        }
        return Page(f"{table.name}: {text}", "page.html", [rows, history], {"table": table.name, "key": text}, context)

    # one key

    async def _find(self, wanted: _Wanted) -> tuple[list[Row], Coverage]:
        """The key's rows on all workers."""
        peers = self._gather.peers
        found: list[Row] = []
        shards: list[Shard] = []
        for url, partitions in sorted((peers.owners() or {peers.own_url: frozenset[int]()}).items()):
            try:
                answer = decode(await peers.call(url, FIND, encode(wanted), FIND_WITHIN_S))
                found += answer["rows"]
                shards.append(Shard(url, frozenset(answer["partitions"]), as_of=visit_time(answer)))
            except UnavailableError as error:
                shards.append(Shard(url, partitions, getattr(error, "why", str(error))))
        return found, covered(shards, peers.partitions)

    async def _find_here(self, body: bytes) -> bytes:
        try:
            wanted = msgspec.convert(decode(body), _Wanted)
        except (msgspec.MsgspecError, json.JSONDecodeError) as error:
            raise ViewQueryError(
                f"the question cannot be read; do all workers run the same version? ({error})"
            ) from error
        problem = self._gather.peers.why_not_ready()
        if problem:
            raise UnavailableError(problem)
        table = self._table(wanted.table)
        rows = list(find_rows(self._state, table, key_bytes(wanted.key), wanted.masks))
        owned = sorted(self._gather.peers.owned())
        return encode({"rows": rows, "partitions": owned, "as_of": self._state.clock.wall_s()})

    def _table(self, name: str) -> ChunkTable:
        for table in chunk_tables(self._state):
            if table.name == name:
                return table
        there_are = ", ".join(table.name for table in chunk_tables(self._state))
        raise NotFoundError(f"there is no table {name[:80]!r}; there are {there_are}")

    def _partitions_to_read(self, visit: Visit) -> Sequence[int]:
        """Of a key that nobody has now: the partition that the URL names."""
        text = visit.parameter("partition")
        if not text:
            return ()
        if not text.isascii() or not text.isdigit() or int(text[:6]) not in self._state.peers.partitions:
            raise ViewQueryError(f"partition: must be a number below {len(self._state.peers.partitions)}")
        return (int(text),)

    def _versions(
        self, table: ChunkTable, histories: Iterable[tuple[int, History]], masks: frozenset[Personal]
    ) -> list[Row]:
        rows = [
            self._version(table, number, version, masks)
            for number, history in histories
            for version in history.versions
        ]
        return sorted(rows, key=lambda row: row["at"], reverse=True)

    @staticmethod
    def _version(table: ChunkTable, partition: int, version: Version, masks: frozenset[Personal]) -> Row:
        record = version.record
        decoded = decode_table_row(table.name, record.key, record.value, masks, sections=SECTIONS)
        return {
            "offset": record.offset,
            "at": record.timestamp / 1000,
            "kind": decoded.kind,
            "counts": version.counts,
            "removed": record.value is None,
            "size_bytes": len(record.key) + len(record.value or b""),
            "value": decoded.value,
            "problem": decoded.problem or None,
            "partition": partition,
            "changelog": table.changelog_topic_name,
            "claim": None if version.claim is None else version.claim.hex(),
        }


def visit_time(answer: dict[str, Any]) -> float:
    """When a worker answered, UNIX seconds."""
    return float(answer.get("as_of", 0.0))


def _said(histories: Sequence[tuple[int, History]], since: float, versions: int) -> str:
    read = sum(history.records_read for _, history in histories)
    said = f"{versions:,} record{'' if versions == 1 else 's'} in the changelog since {format_time(round(since))}, the newest first"
    if any(not history.is_whole for _, history in histories):
        said += f"; not all: the search stopped after {read:,} records, ask for less with ?since="
    return said


async def _each(rows: Iterable[Row]) -> AsyncGenerator[Row]:
    for row in rows:
        yield row
