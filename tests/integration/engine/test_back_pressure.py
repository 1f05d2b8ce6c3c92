"""An agent that does not finish bounds its own topic, and nobody else's."""

from tests.support.chunk_worker import fresh_name, make_app, running, until


async def test_what_is_not_finished_is_bounded_and_other_topics_go_on(broker, tmp_path):
    name = fresh_name()
    slow, quick = await broker.create(fresh_name("slow"), 2), await broker.create(fresh_name("quick"))
    for partition in (0, 1):
        await broker.put(slow, [b"x" * 1000] * 1000, partition)
    app = make_app(name, broker.address, tmp_path)
    topic = app.chunk_topic(slow, max_chunk_bytes=20_000, budget_bytes=100_000, tick_s=0.05)
    holds, ticks, seen, is_stuck = [], 0, 0, True

    @app.agent(topic)
    async def never_done(stream):
        nonlocal ticks
        async for chunk in stream:
            if chunk.is_tick:
                ticks += 1
            elif is_stuck:
                holds.append(chunk.hold())

    @app.agent(app.chunk_topic(quick))
    async def brisk(stream):
        nonlocal seen
        async for chunk in stream:
            seen += len(chunk.records)

    async with running(app):
        await until(lambda: not topic.has_room())
        for number in range(5):
            await broker.put(quick, [b"y"] * 10)
            await until(lambda: seen == 10 * (number + 1), within_s=2)  # noqa: B023  it is called at once
        ticks_before = ticks
        await until(lambda: ticks >= ticks_before + 4, within_s=2)
        assert topic.unfinished_bytes <= 120_000, "the budget, and the chunk that went over it"
        assert len(holds) == topic.unfinished_chunks <= 6
        waiting = sum(len(backlog.records) - backlog.position for backlog in app.consumer._backlogs.values())
        assert waiting <= 2000, "nothing is fetched on top of what is not handed out"

        is_stuck = False
        for hold in holds:
            hold.release()
        await broker.until_committed(name, slow, 1000, 0)
        await broker.until_committed(name, slow, 1000, 1)
        assert topic.unfinished_bytes == topic.unfinished_chunks == 0
