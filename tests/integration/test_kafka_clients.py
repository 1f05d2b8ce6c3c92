"""Kafka clients beside the worker's own, on a real Kafka that goes away."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError

from agents.kafka_clients import start_whole, stop_whole
from tests.support.chunk_worker import Broker, fresh_name, until


async def test_a_consumer_is_stopped_whole_also_where_its_broker_is_gone(own_kafka):
    async with Broker(own_kafka.addresses.kafka) as broker:
        topic = await broker.create(fresh_name("events"))
        await broker.put(topic, [b"x"])
    consumer = AIOKafkaConsumer(bootstrap_servers=own_kafka.addresses.kafka, auto_offset_reset="earliest")
    await start_whole(consumer)
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.getone()
    asking = asyncio.ensure_future(consumer.getone())
    await asyncio.to_thread(own_kafka.kill_kafka)
    await until(lambda: any(map(waits_to_try_again, consumer._fetcher._pending_tasks)))

    await stop_whole(consumer)
    with pytest.raises(ConsumerStoppedError):
        await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}


def waits_to_try_again(fetch: asyncio.Task) -> bool:
    return getattr(fetch.get_coro().cr_await, "__name__", "") == "sleep"
