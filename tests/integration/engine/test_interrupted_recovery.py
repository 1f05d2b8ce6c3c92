"""A recovery that another rebalance or a slow broker interrupts."""

import asyncio
import contextlib

import pytest

from agents.engine.consumer import ChunkConsumer
from agents.engine.recovery import ChunkRecovery
from tests.integration.engine.test_take_over import PARTITIONS, Counting, all_committed
from tests.support.chunk_worker import fresh_name, make_app, running, until


async def test_a_recovery_that_ends_within_the_next_rebalance_does_not_end_that(broker, tmp_path, monkeypatch):
    """Else ticks come to partitions that are not recovered yet, and stages are restored from half a table, for good."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"), PARTITIONS)
    first, second = (Counting(name, broker, tmp_path / who, topic) for who in ("first", "second"))
    app = second.app
    for partition in range(PARTITIONS):
        await broker.put(topic, [b"a"], partition)
    seek, complete, look = (
        ChunkConsumer.perform_seek,
        ChunkRecovery.on_recovery_completed,
        ChunkRecovery._build_highwaters,
    )
    is_over, calls = asyncio.Event(), []

    async def seek_into_the_next_rebalance(consumer):
        if consumer.app is app and not calls:
            calls.append("seek")
            rebalances = app.rebalancing_count
            leaving.set()
            await until(lambda: app.rebalancing_count > rebalances)
        await seek(consumer)

    async def complete_and_tell(recovery, generation_id=0):
        try:
            await complete(recovery, generation_id)
        finally:
            if recovery.app is app:
                is_over.set()

    async def look_slowly(recovery, consumer, tps, destination, title):
        if recovery.app is app and is_over.is_set() and title == "active":
            with contextlib.suppress(TimeoutError):
                await until(lambda: len(second.counts) == PARTITIONS, 1.0)
            calls.append((app.rebalancing, app.tables.actives_ready))
        await look(recovery, consumer, tps, destination, title)

    async def hold() -> None:
        await asyncio.wait_for(is_over.wait(), 20)

    monkeypatch.setattr(ChunkConsumer, "perform_seek", seek_into_the_next_rebalance)
    monkeypatch.setattr(ChunkRecovery, "on_recovery_completed", complete_and_tell)
    monkeypatch.setattr(ChunkRecovery, "_build_highwaters", look_slowly)
    leaving = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        until_it_leaves = await stack.enter_async_context(contextlib.AsyncExitStack())
        await until_it_leaves.enter_async_context(running(first.app))
        await all_committed(broker, name, topic, 1)
        app.before_release(hold)
        await stack.enter_async_context(running(app, is_ready=False))
        await asyncio.wait_for(leaving.wait(), 20)
        await until_it_leaves.aclose()
        await until(lambda: len(calls) > 1 and second.owned() == set(range(PARTITIONS)), 20)
        for partition in range(PARTITIONS):
            await broker.put(topic, [b"a"], partition)
        await all_committed(broker, name, topic, 2)
        assert {second.rows(each)[b"a"] for each in range(PARTITIONS)} == {b"2"}
        assert set(calls[1:]) == {(True, False)}


@pytest.mark.parametrize("has_table", [True, False])
async def test_a_recovery_goes_on_when_the_broker_answers_later_than_a_request_may_take(
    broker, tmp_path, monkeypatch, *, has_table: bool
):
    """Faust takes a wait that comes to its time limit for the end of the worker, and recovers nothing ever after."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    app = make_app(name, broker.address, tmp_path, broker_request_timeout=3.1)
    if has_table:
        app.chunk_table("rows", partitions=1)
    seek, calls = ChunkConsumer.perform_seek, []

    @app.agent(app.chunk_topic(topic))
    async def take(stream):
        async for _ in stream:
            pass

    async def seek_slowly(consumer):
        calls.append(consumer)
        await asyncio.sleep(4)
        await seek(consumer)

    monkeypatch.setattr(ChunkConsumer, "perform_seek", seek_slowly)
    await broker.put(topic, [b"1"])
    async with running(app, is_ready=False):
        await broker.until_committed(name, topic, 1, within_s=15)
    assert len(calls) == 1
