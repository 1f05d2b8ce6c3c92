"""Puts what came in into Kafka: a caller is answered only when the broker has acknowledged it."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import structlog

from agents.engine import ChunkApp
from pipeline.model.placement import partition_of

log = structlog.get_logger(__name__)

ACKNOWLEDGED_WITHIN_S: Final = 5.0
"""How long Kafka is waited for; Segment, for one, waits 10 s for an answer."""


class Acceptor:
    """Writes records of inbound requests to ``topic`` of this worker's app.

    While records that callers were already answered 503 for are not acknowledged, nothing more is handed over: it would wait
    behind them, in memory. That ends by itself when Kafka acknowledges them.
    """

    def __init__(self, app: ChunkApp, topic: str, partitions: int, within_s: float = ACKNOWLEDGED_WITHIN_S) -> None:
        self._app = app
        self._topic = topic
        self._partitions = partitions
        self._within_s = within_s
        self._overdue = 0

    @property
    def is_stalled(self) -> bool:
        """Whether Kafka owes acknowledgements for longer than callers wait, or can take nothing more from this worker."""
        return self._overdue > 0 or self._app.outbox.has_failed

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
            self._wait_for(sent)
            return False
        return True

    def offer(self, placed_by: str, record: bytes) -> None:
        """Hand a record over without waiting, for what is counted but not promised; nothing while Kafka stalls."""
        if not self.is_stalled:
            self._send(placed_by, record)

    def _send(self, placed_by: str, record: bytes) -> "asyncio.Future[None]":
        partition = partition_of(placed_by, self._partitions)
        return self._app.outbox.send(self._topic, partition, [[(placed_by.encode(), record)]])

    def _wait_for(self, sent: Sequence["asyncio.Future[None]"]) -> None:
        missing = [each for each in sent if not each.done()]
        if missing and not self._overdue:
            log.warning("kafka does not acknowledge inbound requests, callers are answered 503", topic=self._topic)
        self._overdue += len(missing)
        for each in missing:
            each.add_done_callback(self._on_acknowledged)

    def _on_acknowledged(self, _sent: Any) -> None:
        self._overdue -= 1
        if not self._overdue:
            log.info("kafka acknowledges inbound requests again", topic=self._topic)
