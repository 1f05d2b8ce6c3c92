"""Offsets are committed when everything that follows from a chunk is done, and never beyond a failure."""

import asyncio

import pytest

from agents.engine.consumer import ChunkConsumer
from pipeline.errors import SendFailedError
from tests.support.chunk_worker import crash_reason, fresh_name, make_app, running, until


async def test_a_chunk_is_committed_when_its_holds_are_released_and_its_futures_are_done(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"0", b"1"])
    app = make_app(name, broker.address, tmp_path)
    holds, followed = [], []

    @app.agent(app.chunk_topic(topic, max_chunk_records=1))
    async def keep(stream):
        async for chunk in stream:
            holds.append(chunk.hold())
            followed.append(asyncio.get_running_loop().create_future())
            chunk.follow(followed[-1])

    async with running(app):
        await until(lambda: len(holds) == 2)
        holds[1].release()
        followed[1].set_result(None)  # the second chunk is finished, the first is not
        followed[0].set_result(None)
        await asyncio.sleep(0.4)  # four commits' time
        assert await broker.committed(name, topic) == -1
        holds[0].release()
        holds[0].release()
        await broker.until_committed(name, topic, 2)


async def test_the_finished_prefix_is_committed_while_later_chunks_are_at_work(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"%d" % number for number in range(6)])
    app = make_app(name, broker.address, tmp_path)
    holds = {}

    @app.agent(app.chunk_topic(topic, max_chunk_records=2))
    async def keep(stream):
        async for chunk in stream:
            holds[chunk.first_offset] = chunk.hold()

    async with running(app):
        await until(lambda: len(holds) == 3)
        holds[0].release()
        await broker.until_committed(name, topic, 2)
        holds[4].release()
        await asyncio.sleep(0.3)
        assert await broker.committed(name, topic) == 2
        holds[2].release()
        await broker.until_committed(name, topic, 6)


async def test_what_is_done_when_the_worker_stops_is_committed(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"x"] * 10)
    app = make_app(name, broker.address, tmp_path, broker_commit_interval=60.0)
    holds = []

    @app.agent(app.chunk_topic(topic))
    async def keep(stream):
        async for chunk in stream:
            holds.append(chunk.hold())  # noqa: PERF401  it is read meanwhile

    @app.before_release
    async def release() -> None:
        for hold in holds:
            hold.release()

    async with running(app):
        await until(lambda: holds)
    assert await broker.committed(name, topic) == 10


async def test_a_send_that_the_broker_refuses_stops_the_worker_with_the_reason_and_commits_nothing(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    narrow = await broker.create(fresh_name("narrow"), max_message_bytes="2000")
    await broker.put(topic, [b"small", b"x" * 10_000, b"small", b"small"])
    app = make_app(name, broker.address, tmp_path)

    @app.agent(app.chunk_topic(topic, max_chunk_records=1))
    async def copy(stream):
        async for chunk in stream:
            chunk.follow(app.outbox.send(narrow, 0, [[(None, record.value)] for record in chunk.records]))

    async with running(app, is_ready=False):
        reason = await crash_reason(app)
        assert isinstance(reason, SendFailedError)
        assert narrow in str(reason)
        assert "MessageSizeTooLarge" in str(reason)
    assert await broker.committed(name, topic) <= 1
    assert {record.value for record in await broker.read(narrow)} <= {b"small"}


async def test_a_group_that_fits_no_record_batch_stops_the_worker(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"x"])
    app = make_app(name, broker.address, tmp_path)

    @app.agent(app.chunk_topic(topic))
    async def swell(stream):
        async for chunk in stream:
            chunk.follow(app.outbox.send(topic, 0, [[(b"k", b"x" * (1 << 20))] * 5]))

    async with running(app, is_ready=False):
        reason = await crash_reason(app)
    assert isinstance(reason, SendFailedError)
    assert "a group of 5 records" in str(reason)
    assert await broker.committed(name, topic) == -1


async def test_a_large_group_behind_small_ones_goes_in_a_batch_of_its_own(broker, tmp_path):
    """It fits one record batch, only not together with what was packed before it."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    wide = await broker.create(fresh_name("wide"), max_message_bytes=str(6 << 20))
    await broker.put(topic, [b"x"])
    app = make_app(name, broker.address, tmp_path)
    small, large = b"s" * 900_000, b"l" * ((4 << 20) - 200)

    @app.agent(app.chunk_topic(topic))
    async def copy(stream):
        async for chunk in stream:
            chunk.follow(app.outbox.send(wide, 0, [[(None, small)], [(None, large)], [(None, small)]]))

    async with running(app):
        await broker.until_committed(name, topic, 1)
    assert [len(record.value) for record in await broker.read(wide)] == [len(small), len(large), len(small)]


async def test_an_exception_in_an_agent_stops_the_worker_and_the_chunk_is_read_again(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"good", b"bad", b"good"])
    seen: list[bytes] = []

    def app_that(*, fails: bool):
        app = make_app(name, broker.address, tmp_path)

        @app.agent(app.chunk_topic(topic, max_chunk_records=1))
        async def read(stream):
            async for chunk in stream:
                seen.append(chunk.records[0].value)
                if fails and seen[-1] == b"bad":
                    raise ValueError("cannot read bad")

        return app

    async with running(app_that(fails=True), is_ready=False) as app:
        reason = await crash_reason(app)
    assert isinstance(reason, ValueError)
    assert str(reason) == "cannot read bad"
    committed = max(await broker.committed(name, topic), 0)
    assert committed <= 1
    seen.clear()
    async with running(app_that(fails=False)):
        await broker.until_committed(name, topic, 3)
    assert seen == [b"good", b"bad", b"good"][committed:]


@pytest.mark.parametrize("failed", [RuntimeError("lost"), None], ids=["failed", "cancelled"])
async def test_a_followed_future_that_did_not_succeed_never_frees_its_chunk(broker, tmp_path, failed):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [b"x"])
    app = make_app(name, broker.address, tmp_path)
    followed = []

    @app.agent(app.chunk_topic(topic))
    async def keep(stream):
        async for chunk in stream:
            followed.append(asyncio.get_running_loop().create_future())
            chunk.follow(followed[-1])

    async with running(app):
        await until(lambda: followed)
        followed[0].set_exception(failed) if failed else followed[0].cancel()
        await asyncio.sleep(0.3)
        await app.crash(RuntimeError("as whoever made the future does"))
    assert await broker.committed(name, topic) == -1


async def test_what_the_broker_refused_to_commit_is_committed_after_the_rebalance(broker, tmp_path, monkeypatch):
    """Faust notes an offset as committed also where the broker said that the group has rebalanced."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    app = make_app(name, broker.address, tmp_path)
    commit, refused = ChunkConsumer._commit, []

    @app.agent(app.chunk_topic(topic))
    async def take(stream):
        async for _ in stream:
            pass

    async def refuse_before_the_rebalance(consumer, offsets):
        if consumer.app.rebalancing_count > 1 and not consumer.app.rebalancing:
            return await commit(consumer, offsets)
        refused.append(offsets)
        return False

    monkeypatch.setattr(ChunkConsumer, "_commit", refuse_before_the_rebalance)
    await broker.put(topic, [b"1"])
    async with running(app):
        await until(lambda: refused)
        await app.consumer.rejoin()
        await broker.until_committed(name, topic, 1)
