"""Publishing events fast: whole record batches, in order for each key."""

import asyncio
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from agents.kafka_topics import ensure_topic
from pipeline.model.placement import partition_of

IN_FLIGHT_BATCHES = 8


class Publisher:
    """Publishes to one topic, created with ``partitions`` where it does not exist, for the length of an ``async with``."""

    def __init__(self, brokers: str, topic: str, partitions: int) -> None:
        self._brokers = brokers
        self._topic = topic
        self._partitions = partitions
        self._producer: AIOKafkaProducer
        self._builders: list[Any] = []
        self._waiting: set[asyncio.Future[Any]] = set()
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._partitions = await ensure_topic(self._brokers, self._topic, self._partitions)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers, enable_idempotence=True, max_batch_size=1 << 20, max_request_size=16 << 20
        )
        try:
            await self._producer.start()
        except BaseException:  # whatever it is: what was opened is closed
            await self._producer.stop()
            raise
        self._builders = [self._producer.create_batch() for _ in range(self._partitions)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            await self._producer.stop()

    async def add(self, key: bytes | None, value: bytes) -> None:
        """Publish one event; those without a key go round the partitions. Waits where the broker is behind."""
        partition = (
            partition_of(key.decode(errors="replace"), self._partitions) if key else self.sent % self._partitions
        )
        while self._builders[partition].append(timestamp=None, key=key, value=value) is None:
            await self._send(partition)
        self.sent += 1

    async def flush(self) -> None:
        """Wait until the broker has everything; raises ``KafkaError`` where it refused something."""
        for partition in range(self._partitions):
            await self._send(partition)
        waiting, self._waiting = self._waiting, set()
        if waiting:
            await asyncio.gather(*waiting)

    async def _send(self, partition: int) -> None:
        builder, self._builders[partition] = self._builders[partition], self._producer.create_batch()
        if builder.record_count():
            self._waiting.add(
                asyncio.ensure_future(await self._producer.send_batch(builder, self._topic, partition=partition))
            )
        if len(self._waiting) >= IN_FLIGHT_BATCHES:
            done, self._waiting = await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
