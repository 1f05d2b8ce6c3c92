"""Puts what came in into Kafka: a caller is answered only when the broker has acknowledged it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from agents.engine import ChunkApp
from agents.owed import Owed
from pipeline.model.placement import partition_of

ACKNOWLEDGED_WITHIN_S: Final = 5.0
"""How long Kafka is waited for; Segment, for one, waits 10 s for an answer."""


class Acceptor:
    """Writes records of inbound requests to ``topic`` of this worker's app.

    While Kafka has ``owed`` what callers were already answered 503 for, nothing more is handed over.
    """

    def __init__(
        self, app: ChunkApp, topic: str, partitions: int, owed: Owed, within_s: float = ACKNOWLEDGED_WITHIN_S
    ) -> None:
        self._app = app
        self._topic = topic
        self._partitions = partitions
        self._within_s = within_s
        self._owed = owed

    @property
    def is_stalled(self) -> bool:
        """Whether Kafka owes acknowledgements for longer than callers wait, or can take nothing more from this worker."""
        return self._owed.is_any or self._app.outbox.has_failed

    async def store(self, placed_by: str, record: bytes) -> bool:
        """Whether Kafka has the record, on the partition of the key ``placed_by``.

        ``False`` means that it is not known: the record may still arrive, or come after a restart.
        """
        return await self.store_all([(placed_by, record)])

    async def store_all(self, records: Sequence[tuple[str, bytes]]) -> bool:
        """As ``store``, for several records with the key of each: whether Kafka has all of them."""
        if self.is_stalled:
            return False
        sent = [self._send(placed_by, record) for placed_by, record in records]
        waited = sent[0] if len(sent) == 1 else asyncio.gather(*sent)
        try:
            async with asyncio.timeout(self._within_s):
                await asyncio.shield(waited)
        except TimeoutError:
            self._owed.note(sent)
            return False
        return True

    def offer(self, placed_by: str, record: bytes) -> None:
        """Hand a record over without waiting, for what is counted but not promised; nothing while Kafka stalls."""
        if not self.is_stalled:
            self._send(placed_by, record)

    def _send(self, placed_by: str, record: bytes) -> "asyncio.Future[None]":
        partition = partition_of(placed_by, self._partitions)
        return self._app.outbox.send(self._topic, partition, [[(placed_by.encode(), record)]])
