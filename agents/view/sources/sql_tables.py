"""The tables of the SQL page: the view's own sources, loaded from all workers into DuckDB when a query names them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from agents.view.gather import Gather
from pipeline.clock import Clock
from pipeline.errors import UnavailableError
from pipeline.view.columns import Personal, Row
from pipeline.view.coverage import Coverage, Shard
from pipeline.view.formats.pace import Turns
from pipeline.view.formats.text import plain
from pipeline.view.query import Query
from pipeline.view.source import Source
from pipeline.view.sql.catalogue import Table, sql_name
from pipeline.view.sql.loaded import LoadedTable, LoadedTables
from pipeline.view.sql.meanings import meaning_of
from pipeline.view.sql.messages import Output
from pipeline.view.sql.result import Result
from pipeline.view.sql.run import SqlQuery, SqlRunner, link

DEADLINE_S: Final = 5.0
"""How long a worker may take for its first rows: nobody looks at half a table."""
NO_TABLES: Final = frozenset({"attempt_counts", "user_links"})
"""Sources that answer only what they are asked for: counts, which SQL counts itself, and single links."""
ROWS_AT_ONCE: Final = 200

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Answered:
    """What a query gave, and the tables that it was asked of, by name."""

    result: Result
    tables: dict[str, LoadedTable] = field(default_factory=dict)

    def coverage(self) -> Coverage:
        """That of all tables together; one that was cut is as good as a worker that stopped early."""
        shards: dict[tuple[str, str, bool], Shard] = {}
        missing: set[int] = set()
        for name, table in self.tables.items():
            missing.update(table.coverage.missing)
            cut = [Shard(f"the copy of {name}, after {table.rows:,} rows,", frozenset(), is_truncated=True)]
            for shard in (*table.coverage.shards, *(cut if table.is_cut else [])):
                key = (shard.worker, shard.problem, shard.is_truncated)
                held = shards.get(key)
                as_of = min((each.as_of for each in (shard, held) if each is not None and each.as_of), default=0.0)
                shards[key] = replace(shard, as_of=as_of)
        return Coverage(tuple(shards.values()), tuple(sorted(missing)))


class SqlTables:
    """Answers SQL over everything that ``gather`` has. Rows are masked where they come from, as on every page."""

    def __init__(self, gather: Gather, runner: SqlRunner, clock: Clock) -> None:
        self.runner = runner
        self._gather = gather
        self._clock = clock
        self._loaded = LoadedTables(runner.limits.kept_s)

    async def open(self) -> None:
        """Make the folder of tables and results."""
        await self.runner.open()

    async def close(self) -> None:
        """Remove it."""
        self._loaded.clear()
        await self.runner.close()

    def tables(self) -> list[Table]:
        """All tables that there are, by name."""
        found = {name: table_of(source) for name, source in self._sources().items()}
        return [found[name] for name in sorted(found)]

    async def answer(
        self, query: str, masks: frozenset[Personal], output: Output = Output.ROWS, *, is_export: bool = False
    ) -> Answered:
        """Run a query for somebody who sees ``masks`` as tags.

        Raises ``ViewQueryError`` with what is wrong with it, and ``UnavailableError`` where too many run already.
        """
        async with self.runner.query(query, self.tables()) as asked:
            loaded = {table.name: await self._load(asked, table, masks) for table in asked.tables}
            files = {name: table.file for name, table in loaded.items()}
            return Answered(await asked.run(files, output, is_export=is_export), loaded)

    def _sources(self) -> dict[str, Source]:
        return {sql_name(name): self._gather.source(name) for name in self._gather.names() if name not in NO_TABLES}

    async def _load(self, asked: SqlQuery, table: Table, masks: frozenset[Personal]) -> LoadedTable:
        """A table's database in the query's own folder: what is kept of it, else all its rows anew."""
        file = asked.folder / f"{table.name}.db"
        key = (table.name, masks)
        async with self._loaded.turn(key) as kept:
            if kept is not None:
                await asyncio.to_thread(link, kept.file, file)
                return replace(kept, file=file)
            found = await self._gathered(asked, table, masks, file)
            if found.coverage.is_complete:  # otherwise whoever asks again hopes for more
                shared = self.runner.folder / f"{asked.folder.name}-{table.name}.db"
                await asyncio.to_thread(link, file, shared)
                self._loaded.keep(key, replace(found, file=shared))
            return found

    async def _gathered(self, asked: SqlQuery, table: Table, masks: frozenset[Personal], file: Path) -> LoadedTable:
        source = self._sources()[table.name]
        rows_file = asked.folder / f"{table.name}.rows"
        as_of = self._clock.wall_s()
        try:
            is_cut, coverage = await self._write_rows(source, masks, rows_file)
        except UnavailableError:  # partitions moved in between: a moment later they most often are where they belong
            is_cut, coverage = await self._write_rows(source, masks, rows_file)
        rows = await asked.load(table, rows_file, file)
        return LoadedTable(file, rows, is_cut, coverage, as_of)

    async def _write_rows(self, source: Source, masks: frozenset[Personal], path: Path) -> tuple[bool, Coverage]:
        """Write a source's rows as lines of JSON; gives whether some were left out, and what they cover."""
        limits = self.runner.limits
        query = Query(sort=source.sort, is_descending=source.is_descending, key=source.key, limit=None)
        found = await self._gather.ask(source.name, query, masks, deadline_s=DEADLINE_S)
        is_cut = False
        with await asyncio.to_thread(path.open, "wb") as file:
            try:
                async with asyncio.timeout(limits.load_s):
                    is_cut = await _write(found.rows, file, limits.table_rows)
            except TimeoutError:
                is_cut = True
        return is_cut, found.coverage


def table_of(source: Source) -> Table:
    """A source as a table in SQL."""
    name = sql_name(source.name)
    return Table(name, meaning_of(name), source.columns)


async def _write(rows: AsyncIterator[Row], file: BinaryIO, most_rows: int) -> bool:
    turns = Turns()
    found: list[Row] = []
    count = 0
    is_cut = False
    try:
        async for row in rows:
            if count == most_rows:
                is_cut = True
                break
            found.append(row)
            count += 1
            if len(found) == ROWS_AT_ONCE:
                await asyncio.to_thread(file.write, _lines(found))
                found = []
                await turns.pause()
    finally:
        if isinstance(rows, AsyncGenerator):
            await rows.aclose()
        file.write(_lines(found))
    return is_cut


def _lines(rows: list[Row]) -> bytes:
    try:
        return _encoder.encode_lines(rows)
    except UnicodeEncodeError:  # a lone surrogate, which DuckDB does not take
        return _encoder.encode_lines([plain(row) for row in rows])
