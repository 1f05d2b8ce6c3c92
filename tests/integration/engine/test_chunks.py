"""Records arrive as whole chunks: in order, within bounds, and with ticks between them."""

import asyncio

from tests.support.chunk_worker import fresh_name, make_app, running, until


async def test_every_record_arrives_once_in_order_and_chunks_keep_their_bounds(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"), 2)
    values = [b"%05d" % number + b"x" * (number % 50) for number in range(3000)]
    for partition in (0, 1):
        await broker.put(topic, values, partition)
    app = make_app(name, broker.address, tmp_path)
    seen, chunks = {0: [], 1: []}, []

    @app.agent(app.chunk_topic(topic, max_chunk_records=400, max_chunk_bytes=9000))
    async def read(stream):
        async for chunk in stream:
            assert not chunk.is_tick
            chunks.append((len(chunk.records), chunk.size_bytes, sum(len(record.value) for record in chunk.records)))
            assert chunk.first_offset == chunk.records[0].offset == len(seen[chunk.partition])
            assert chunk.offset == chunk.records[-1].offset
            seen[chunk.partition] += [record.value for record in chunk.records]

    async with running(app):
        await until(lambda: all(len(got) >= len(values) for got in seen.values()))
        await broker.until_committed(name, topic, len(values), 0)
        await broker.until_committed(name, topic, len(values), 1)
    assert seen == {0: values, 1: values}
    assert all(count <= 400 and size <= 9000 and size == total for count, size, total in chunks)
    assert max(count for count, _, _ in chunks) > 100, "these are chunks, not single records"


async def test_a_record_above_the_bound_of_a_chunk_comes_alone(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    await broker.put(topic, [b"a" * 10, b"b" * 5000, b"c" * 10, b"d" * 10])
    app = make_app(fresh_name(), broker.address, tmp_path)
    runs = []

    @app.agent(app.chunk_topic(topic, max_chunk_bytes=100))
    async def read(stream):
        async for chunk in stream:
            runs.append(b"".join(record.value[:1] for record in chunk.records))  # noqa: PERF401  it is read meanwhile

    async with running(app):
        await until(lambda: sum(map(len, runs)) == 4)
    assert runs == [b"a", b"b", b"cd"]


async def test_null_values_and_keys_are_handed_out_as_they_are(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    await broker.put(topic, [None, b"", b"x"], keys=[b"k", b"", b"\x00"])
    app = make_app(name, broker.address, tmp_path)
    seen = []

    @app.agent(app.chunk_topic(topic))
    async def read(stream):
        async for chunk in stream:
            seen.extend((record.key, record.value) for record in chunk.records)

    async with running(app):
        await broker.until_committed(name, topic, 3)
    assert seen == [(b"k", None), (b"", b""), (b"\x00", b"x")]


async def test_each_owned_partition_ticks_and_ticks_commit_nothing(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"), 3)
    quiet = await broker.create(fresh_name("quiet"))
    app = make_app(name, broker.address, tmp_path)
    ticks, quiet_chunks = [], []

    @app.agent(app.chunk_topic(topic, tick_s=0.05))
    async def ticking(stream):
        async for chunk in stream:
            assert chunk.is_tick
            assert not chunk.records
            ticks.append(chunk.partition)

    @app.agent(app.chunk_topic(quiet))
    async def silent(stream):
        async for chunk in stream:
            quiet_chunks.append(chunk)  # noqa: PERF401  it is read meanwhile

    async with running(app):
        await until(lambda: all(ticks.count(partition) >= 5 for partition in range(3)))
        assert {tp.partition for tp in app.assignment() if tp.topic == topic} == {0, 1, 2}
    assert (
        max(ticks.count(partition) for partition in range(3)) - min(ticks.count(partition) for partition in range(3))
        <= 1
    )
    assert not quiet_chunks
    assert await broker.committed(name, topic) == -1


async def test_ticks_of_a_busy_agent_do_not_pile_up(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    app = make_app(fresh_name(), broker.address, tmp_path)
    ticks = 0
    gate = asyncio.Event()

    @app.agent(app.chunk_topic(topic, tick_s=0.01))
    async def busy(stream):
        nonlocal ticks
        async for _ in stream:
            ticks += 1
            if ticks == 1:
                await gate.wait()
            if ticks == 3:
                await asyncio.Event().wait()

    async with running(app):
        await until(lambda: ticks == 1)
        await asyncio.sleep(0.3)  # thirty ticks' time
        assert app.consumer._ticking, "the next tick waits"
        queued = (
            next(iter(app.agents.values())).channel.queue
            if hasattr(next(iter(app.agents.values())).channel, "queue")
            else None
        )
        assert queued is None or queued.qsize() <= 1
        gate.set()
        await until(lambda: ticks == 3)
        await app.crash(RuntimeError("enough"))  # the third never ends: do not wait for it
