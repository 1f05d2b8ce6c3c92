"""What the group's coordinator refuses for good ends the worker, with the reason."""

from aiokafka import AIOKafkaConsumer

from pipeline.errors import GroupRefusedError
from tests.support.chunk_worker import crash_reason, fresh_name, make_app, running


async def test_a_worker_that_may_not_join_its_group_says_why_and_ends(broker, tmp_path):
    """aiokafka waits until somebody takes the error, which only its own ``getmany`` does; the worker stood still for ever."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    app = make_app(name, broker.address, tmp_path)
    app.chunk_table("rows", partitions=1)

    @app.agent(app.chunk_topic(topic))
    async def take(stream):
        async for _ in stream:
            pass

    stranger = AIOKafkaConsumer(topic, bootstrap_servers=broker.address, group_id=name)
    await stranger.start()
    try:
        async with running(app, is_ready=False):
            reason = await crash_reason(app)
            assert isinstance(reason, GroupRefusedError)
            assert "InconsistentGroupProtocol" in str(reason)
    finally:
        await stranger.stop()
