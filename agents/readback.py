"""Reads single batches back from their topic, for lanes whose bodies do not fit in memory."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.errors import CodecError
from pipeline.model.batch import Batch, decode_batch

SKIP_RECORDS = 200
"""Up to this far ahead it is cheaper to read on than to seek, which throws away what was fetched."""
READ_TIMEOUT_S = 30.0


class BatchReader:
    """One consumer without a group, opened at the first read. Reads one record at a time, in ascending runs cheaply."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()
        self._next: tuple[int, int] | None = None

    async def read(self, partition: int, offset: int) -> Batch:
        """Read the batch at ``offset``.

        Raises ``CodecError`` where retention has removed it or it is no batch, and ``TimeoutError`` or ``KafkaError`` where
        the broker does not answer.
        """
        async with self._reading:
            consumer = await self._positioned(partition, offset)
            async with asyncio.timeout(READ_TIMEOUT_S):
                while True:
                    record = await consumer.getone()
                    self._next = (partition, record.offset + 1)
                    if record.offset == offset:
                        return decode_batch(record.value)
                    if record.offset > offset:
                        raise CodecError(
                            f"{self._topic}, partition {partition}: the batch at offset {offset} is gone (the next one is at {record.offset}): "
                            "the topic's retention is shorter than batches wait; raise retention.ms or lower max_wait"
                        )

    async def _positioned(self, partition: int, offset: int) -> AIOKafkaConsumer:
        consumer = self._consumer
        if consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._brokers,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=50,
            )
            await consumer.start()
            self._consumer = consumer
        if self._next is None or self._next[0] != partition:
            consumer.assign([TopicPartition(self._topic, partition)])
        elif self._next[1] <= offset <= self._next[1] + SKIP_RECORDS:
            return consumer
        consumer.seek(TopicPartition(self._topic, partition), offset)
        return consumer

    async def close(self) -> None:
        """Close the consumer, if there is one."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
