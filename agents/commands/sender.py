"""Sending records to named partitions, for commands."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from agents.topology import MAX_RECORD_BYTES

IN_FLIGHT = 32


class RecordSender:
    """A producer for the length of an ``async with``; ``acknowledged`` counts what the broker has."""

    def __init__(self, brokers: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=brokers,
            enable_idempotence=True,
            max_batch_size=MAX_RECORD_BYTES,
            max_request_size=2 * MAX_RECORD_BYTES,
        )
        self._sent: deque[asyncio.Future[Any]] = deque()
        self.acknowledged = 0

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:  # whatever it is: what was opened is closed
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Send a record; waits while many are on their way. Raises ``KafkaError`` where one of these was refused."""
        while len(self._sent) >= IN_FLIGHT:
            await self._acknowledge_one()
        self._sent.append(await self._producer.send(topic, value, key, partition))

    async def flush(self) -> None:
        """Wait until the broker has everything; raises ``KafkaError`` where it refused something."""
        while self._sent:
            await self._acknowledge_one()

    async def _acknowledge_one(self) -> None:
        await self._sent.popleft()
        self.acknowledged += 1
