"""A worker that has nothing to fetch for long."""

import asyncio
import contextlib

from tests.support.chunk_worker import fresh_name, make_app, running, until

MAX_POLL_S = 2.0


async def test_a_worker_without_partitions_takes_over_however_long_it_waited(broker, tmp_path):
    """aiokafka leaves the group where nothing is fetched for long, and joins it again only when something is."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"))

    def worker(number: int):
        app = make_app(name, broker.address, tmp_path / str(number), broker_max_poll_interval=MAX_POLL_S)
        app.chunk_table("rows", partitions=1)

        @app.agent(app.chunk_topic(topic))
        async def take(stream):
            async for _ in stream:
                pass

        return app

    apps = [worker(1), worker(2)]
    await broker.put(topic, [b"1"])
    async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as second:
        stacks = dict(zip(apps, (first, second), strict=True))
        for app, stack in stacks.items():
            await stack.enter_async_context(running(app))
        await broker.until_committed(name, topic, 1)
        await until(lambda: sum(bool(app.assignment()) for app in apps) == 1)
        [owner] = [app for app in apps if app.assignment()]
        await asyncio.sleep(2 * MAX_POLL_S)  # by then it would have left
        await stacks[owner].aclose()
        await broker.put(topic, [b"2"])
        await broker.until_committed(name, topic, 2, within_s=15)
