"""Reads a topic from its beginning to its end."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


def read_topic(brokers: str, topic: str, partitions: int) -> list[ConsumerRecord]:
    """All records of a topic, in order a partition."""
    return asyncio.run(_read(brokers, [TopicPartition(topic, number) for number in range(partitions)]))


async def _read(brokers: str, partitions: Iterable[TopicPartition]) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # a seek could be overtaken by the reset that an assignment begins with
        max_partition_fetch_bytes=16 << 20,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(60.0):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for fetched in (await consumer.getmany(timeout_ms=200)).values():
                    records += fetched
        return records
    finally:
        await consumer.stop()
