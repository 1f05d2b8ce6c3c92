"""A million rows leave the worker without being in its memory, and while it goes on with its work."""

import asyncio
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from agents.view.server import Visit
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.page import Page, Section
from tests.integration.view.conftest import Serve

ROWS = 1_000_000
MOST_GROWTH_BYTES = 20 << 20
MOST_CPU_BETWEEN_TURNS_S = 0.1
COLUMNS = (
    Column("key", "Key", Kind.CODE),
    Column("at", "At", Kind.TIME),
    Column("status", "Status", Kind.INTEGER),
    Column("detail", "Detail"),
)


async def million(visit: Visit) -> Page:
    async def rows() -> AsyncIterator[Row]:
        for number in range(ROWS):
            yield {"key": f"crm:{number}-{number + 100}", "at": 1.7e9 + number, "status": 200, "detail": "200 OK"}

    return Page("Attempts", "page.html", [Section("attempts", COLUMNS, rows())])


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["json", "csv"])
async def test_a_million_rows_need_no_memory_and_let_others_run(serve: Serve, extension: str) -> None:
    served = await serve(register=lambda view: view.page("/attempts", million))
    process = psutil.Process()
    most_s, is_over = 0.0, False

    async def beat() -> None:
        nonlocal most_s
        while not is_over:
            began_s = (
                time.thread_time()
            )  # of this thread alone: a machine that is busy with others makes nobody wait here
            await asyncio.sleep(0.001)
            most_s = max(most_s, time.thread_time() - began_s)

    lines = 0
    async with served.client() as client, client.get(f"/attempts.{extension}?size=all") as answer:
        lines += (await answer.content.readany()).count(b"\n")  # what a first request allocates once is not the rows'
        before_bytes, most_bytes = process.memory_info().rss, 0
        beating = asyncio.create_task(beat())
        async for piece in answer.content.iter_any():
            lines += piece.count(b"\n")
            most_bytes = max(most_bytes, process.memory_info().rss)
        is_over = True
        await beating
    assert lines >= ROWS
    assert most_bytes - before_bytes < MOST_GROWTH_BYTES, f"grew by {(most_bytes - before_bytes) >> 20} MiB"
    assert most_s < MOST_CPU_BETWEEN_TURNS_S
