"""A runner of queries with limits that a test can wait for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.view.sql.limits import SqlLimits
from pipeline.view.sql.run import SqlRunner
from tests.support.sql_desk import Desk, attempt


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Attempts 0 to 9 and two hours; a query may take two seconds."""
    runner = SqlRunner(
        lambda: tmp_path / "sql", SqlLimits(time_s=2.0, page_rows=100, page_bytes=100_000, at_once=2, wait_s=0.2)
    )
    await runner.open()
    hours = [{"integration": "crm", "matched": 10}, {"integration": "mail", "matched": 5}]
    yield Desk(runner, {"attempts": [attempt(number) for number in range(10)], "hours": hours})
    await runner.close()
