"""The thread in which aiokafka's consumer lives."""

import math
from typing import Any

import structlog
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP

from agents.engine.deadline import STOP_DEADLINE_S, ends_within
from agents.engine.fetch import Fetched, fetched_records

log = structlog.get_logger(__name__)

FETCH_WAIT_MS = 25
"""How long the broker may hold a fetch open: also the longest time that a partition which was drained just after a fetch was
sent waits for the next one, since one fetch is open a broker."""


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """Makes the aiokafka consumer with a short fetch wait, which Faust fixes at 1.5 s, and lets it be idle for any time."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Both are read when the consumer starts.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        # A worker without partitions, or none that has room, fetches nothing. aiokafka left the group at this limit, and waited for
        # a fetch before it joined again, which never came.
        consumer._max_poll_interval_ms = math.inf
        return consumer

    @property
    def is_group_reachable(self) -> bool:
        """Whether the group's coordinator is known; aiokafka forgets it when it does not answer."""
        coordinator = self._consumer._coordinator if self._consumer is not None else None
        return coordinator is not None and coordinator.coordinator_id is not None

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions a topic has, as far as this worker's copy of the metadata knows."""
        return len(self._ensure_consumer().partitions_for_topic(topic) or ()) or None

    async def rejoin(self) -> None:
        """Ask the broker again which topics there are, and the group for another assignment."""
        await self.call_thread(self._rejoin, self._ensure_consumer())

    @staticmethod
    async def _rejoin(consumer: Any) -> None:
        await consumer._client.force_metadata_update()
        consumer._coordinator.request_rejoin()

    async def check_group(self) -> None:
        """Raise the ``KafkaError`` with which the group's coordinator refuses this consumer, if it does."""
        await self.call_thread(self._check_group, self._ensure_consumer())

    @staticmethod
    def _check_group(consumer: Any) -> None:
        if consumer._coordinator is not None:
            consumer._coordinator.check_errors()

    async def on_thread_stop(self) -> None:
        """Leave the group; where the broker is gone that takes long, or is cancelled from within, and may not hold the process."""
        if not await ends_within(STOP_DEADLINE_S, super().on_thread_stop()):
            log.warning("left the group without a word: the broker notices when the session times out")

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Fetched:
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        with consumer._fetcher._subscriptions.fetch_context():
            return await fetched_records(consumer._fetcher, active_partitions, timeout or 0.0)
