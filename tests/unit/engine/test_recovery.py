"""When a recovery is over, whoever waits for its end hears of it."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

from faust.types.tuples import TP

from agents.engine.recovery import ChunkRecovery
from tests.support.chunk_worker import make_app, until

OF_ANOTHER_ASSIGNMENT = SimpleNamespace(message=SimpleNamespace(tp=TP("gone", 0), offset=1, generation_id=-5))


async def test_an_end_that_comes_before_anybody_waits_for_it_is_not_missed(tmp_path: Path):
    app = make_app("recovering", "127.0.0.1:1", tmp_path)
    recovery = app.tables.recovery
    recovery._set_recovery_started()
    applying = asyncio.ensure_future(ChunkRecovery._slurp_changelogs.fun(recovery))
    try:
        for _ in range(2):
            app.tables.changelog_queue.put_nowait(OF_ANOTHER_ASSIGNMENT)
        await until(lambda: not recovery.in_recovery and app.tables.changelog_queue.empty())
        await asyncio.sleep(0)  # whoever applies is about to look again
        await asyncio.wait_for(recovery.signal_recovery_end.wait(), 0.5)
    finally:
        applying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await applying


async def test_the_end_of_the_recovery_before_is_not_taken_for_that_of_the_next(tmp_path: Path):
    recovery = make_app("recovering", "127.0.0.1:1", tmp_path).tables.recovery
    recovery.signal_recovery_end.set()
    recovery._set_recovery_started()
    assert not recovery.signal_recovery_end.is_set()
