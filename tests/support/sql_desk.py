"""Queries over tables with a few rows, through a real runner and its processes."""

import json
from dataclasses import dataclass
from typing import Any

from pipeline.view.columns import Column, Kind
from pipeline.view.sql.catalogue import Table
from pipeline.view.sql.messages import Output
from pipeline.view.sql.result import Result
from pipeline.view.sql.run import SqlRunner

ATTEMPTS = Table(
    "attempts",
    "one try to deliver a batch",
    (
        Column("batch", "Batch", Kind.CODE),
        Column("at", "At", Kind.TIME),
        Column("status", "Status", Kind.INTEGER),
        Column("size_bytes", "Size", Kind.BYTES),
        Column("took_s", "Took", Kind.SECONDS),
        Column("is_last", "Last", Kind.FLAG),
        Column("details", "Details", Kind.JSON),
        Column("trend", "Trend", Kind.PICTURE),
        Column("verdict", "Verdict", Kind.STATE),
    ),
)
HOURS = Table(
    "hours",
    "one hour of one integration",
    (Column("integration", "Integration"), Column("matched", "Matched", Kind.INTEGER)),
)
TABLES = (ATTEMPTS, HOURS)


def attempt(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "batch": f"crm:{number}-{number + 1}",
        "at": 1_700_000_000.0 + number,
        "status": 503 if number % 3 == 0 else 200,
        "size_bytes": 1000 * number,
        "took_s": 0.25,
        "is_last": number % 2 == 0,
        "details": {"n": number},
        "trend": [1, 2.5],
        "verdict": "delivered",
    } | changes


@dataclass(slots=True)
class Desk:
    """Asks queries of a runner over rows that a test gives it."""

    runner: SqlRunner
    rows: dict[str, list[dict[str, Any]]]
    tables: tuple[Table, ...] = TABLES

    async def result(self, query: str, output: Output = Output.ROWS, *, is_export: bool = False) -> Result:
        async with self.runner.query(query, self.tables) as asked:
            files = {}
            for table in asked.tables:
                rows_file, file = asked.folder / f"{table.name}.rows", asked.folder / f"{table.name}.db"
                lines = [json.dumps(row) for row in self.rows[table.name]]
                rows_file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                assert await asked.load(table, rows_file, file) == len(lines)
                assert not rows_file.exists()
                files[table.name] = file
            return await asked.run(files, output, is_export=is_export)

    async def rows_of(self, query: str) -> list[dict[str, Any]]:
        return [row async for row in (await self.result(query)).read()]

    async def values_of(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in await self.rows_of(query)]
