"""Reads single batches back from their topic, for lanes whose bodies do not fit in memory."""

import asyncio
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from agents.kafka_clients import start_whole, stop_whole
from pipeline.errors import BatchGoneError
from pipeline.model.batch import Batch, decode_batch

log = structlog.get_logger(__name__)

SKIP_RECORDS = 200
"""Up to this far ahead it is cheaper to read on than to seek, which throws away what was fetched."""
READ_TIMEOUT_S = 30.0
LOOK_AFTER_S = 0.5
"""Where nothing comes for this long the topic may have nothing left to give: then it is asked where it begins and ends."""
RETRY_PAUSE_S = 1.0


class BatchReader:
    """One consumer without a group, opened at the first read. Reads one record at a time, in ascending runs cheaply."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers = brokers
        self.topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()
        self._next: tuple[int, int] | None = None
        self._seems_beyond: tuple[int, int] | None = None
        """Partition and offset of a batch before which its topic was once found to end."""

    async def read(self, partition: int, offset: int) -> Batch:
        """Read the batch at ``offset``.

        Raises ``BatchGoneError`` where retention has removed it, or the topic ends before it, and ``CodecError`` where it is no
        batch. Waits, and says so, while the broker does not answer.
        """
        while True:
            try:
                return await self._read(partition, offset)
            except (KafkaError, TimeoutError) as error:
                log.warning(
                    "a batch cannot be read back, trying again",
                    topic=self.topic,
                    partition=partition,
                    offset=offset,
                    error=repr(error),
                )
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _read(self, partition: int, offset: int) -> Batch:
        async with self._reading:
            consumer = await self._positioned(partition, offset)
            async with asyncio.timeout(READ_TIMEOUT_S):
                while True:
                    record = await self._next_record(consumer, partition, offset)
                    if record.offset < offset - SKIP_RECORDS:  # not what was asked for: the topic does not reach there
                        await self._look(consumer, partition, offset)
                        raise OffsetOutOfRangeError
                    self._next = (partition, record.offset + 1)
                    if record.offset == offset:
                        return decode_batch(record.value)
                    if record.offset > offset:
                        raise self._gone(partition, offset, record.offset)

    async def _next_record(self, consumer: AIOKafkaConsumer, partition: int, offset: int) -> Any:
        while True:
            try:
                async with asyncio.timeout(LOOK_AFTER_S) as look:
                    return await consumer.getone()
            except TimeoutError:
                if not look.expired():
                    raise
            # Where the partition was emptied, or ends before, no later record comes to tell.
            await self._look(consumer, partition, offset)

    async def _look(self, consumer: AIOKafkaConsumer, partition: int, offset: int) -> None:
        """Raise ``BatchGoneError`` where the partition does not reach to ``offset``."""
        topic_partition = TopicPartition(self.topic, partition)
        first = (await consumer.beginning_offsets([topic_partition]))[topic_partition]
        end = (await consumer.end_offsets([topic_partition]))[topic_partition]
        if first > offset:
            raise self._gone(partition, offset, first)
        if end > offset:
            return
        if self._seems_beyond != (partition, offset):  # what cannot be undone stands on more than one answer
            self._seems_beyond = (partition, offset)
            return
        raise self._beyond(partition, offset, end)

    def _gone(self, partition: int, offset: int, first: int) -> BatchGoneError:
        log.error(
            "a batch that waited is lost: retention removed it from its topic; raise retention.ms or lower max_wait",
            topic=self.topic,
            partition=partition,
            offset=offset,
            next_offset=first,
        )
        return BatchGoneError(
            f"{self.topic}, partition {partition}: the batch at offset {offset} is gone (the next one is at {first}): "
            "the topic's retention is shorter than batches wait; raise retention.ms or lower max_wait"
        )

    def _beyond(self, partition: int, offset: int, end: int) -> BatchGoneError:
        log.error(
            "a batch that waited is lost: its topic ends before it, so it was deleted and made again, or lost its end",
            topic=self.topic,
            partition=partition,
            offset=offset,
            end_offset=end,
        )
        return BatchGoneError(
            f"{self.topic}, partition {partition}: the batch at offset {offset} is gone (the topic ends at {end}): "
            "the topic was deleted and made again, or lost its end; find out who deleted it"
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
            await start_whole(consumer)
            self._consumer = consumer
        position, self._next = self._next, None  # a read that is cancelled leaves the consumer anywhere
        if position is None or position[0] != partition:
            consumer.assign([TopicPartition(self.topic, partition)])
        elif position[1] <= offset <= position[1] + SKIP_RECORDS:
            return consumer
        consumer.seek(TopicPartition(self.topic, partition), offset)
        return consumer

    async def close(self) -> None:
        """Close the consumer, if there is one."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_whole(consumer)
