"""Reads the end of the topic of inbound events: what was written there before a crash, and what others wrote there."""

import asyncio
import time
from typing import Final, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.kafka_clients import start_whole, stop_whole
from pipeline.inbound.stage import KEY_KEPT_S
from pipeline.inbound.tail import MOST_REMEMBERED, TailEvent, uuid_in

log = structlog.get_logger(__name__)

READ_TIMEOUT_S: Final = 30.0
RETRY_PAUSE_S: Final = 1.0
METADATA_PAUSE_S: Final = 0.05
MS: Final = 1000


class TailRead(NamedTuple):
    """Events, and the offset after the last record of the partition."""

    events: list[TailEvent]
    end_offset: int


class TailReader:
    """Opens a consumer without a group for each reading: that is once an assignment, and after somebody else's writes."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic

    async def read(self, partition: int, first_offset: int, *, until_offset: int | None = None) -> TailRead:
        """Read what stands from ``first_offset`` on, before ``until_offset`` or to the end; waits while the broker is away."""
        while True:
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    return await self._read(TopicPartition(self._topic, partition), first_offset, until_offset)
            except (KafkaError, TimeoutError) as error:
                log.warning(
                    "the end of the inbound events cannot be read, trying again",
                    topic=self._topic,
                    partition=partition,
                    error=repr(error),
                )
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _read(self, tp: TopicPartition, first_offset: int, until_offset: int | None) -> TailRead:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await start_whole(consumer)
        try:
            while tp.partition not in (consumer.partitions_for_topic(tp.topic) or ()):
                await consumer._client.force_metadata_update()  # noqa: SLF001 aiokafka has no public way to ask for one topic
                await asyncio.sleep(METADATA_PAUSE_S)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            if first_offset > end:
                log.warning(
                    "the topic of inbound events is shorter than it was: was it made again?",
                    topic=tp.topic,
                    partition=tp.partition,
                    offset=first_offset,
                    end_offset=end,
                )
            until = end if until_offset is None else min(end, until_offset)
            first = await _first_of_the_day(consumer, tp)
            if first is None:
                return TailRead([], end)
            return TailRead(await _events(consumer, tp, max(first, first_offset, until - MOST_REMEMBERED), until), end)
        finally:
            await stop_whole(consumer)


async def _first_of_the_day(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """The first offset that is not older than keys are kept; ``None`` where there is none."""
    since_ms = int((time.time() - KEY_KEPT_S) * MS)
    found = (await consumer.offsets_for_times({tp: since_ms}))[tp]
    return None if found is None else int(found.offset)


async def _events(consumer: AIOKafkaConsumer, tp: TopicPartition, first: int, until: int) -> list[TailEvent]:
    events: list[TailEvent] = []
    if first >= until:
        return events
    consumer.seek(tp, first)
    while await consumer.position(tp) < until:
        for records in (await consumer.getmany(tp, timeout_ms=MS)).values():
            for record in records:
                uuid = uuid_in(record.value) if record.offset < until else None
                if uuid is not None:
                    events.append(TailEvent(uuid, record.timestamp / MS, record.offset))
    return events
