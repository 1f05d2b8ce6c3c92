"""Faust's Kafka transport with the chunk consumer and an idempotent producer."""

from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver

from agents.engine.consumer import ChunkConsumer
from agents.engine.deadline import STOP_DEADLINE_S, ends_within

log = structlog.get_logger(__name__)


class ChunkProducer(driver.Producer):
    """Faust's producer, idempotent: a retried request never stores a record twice or out of order."""

    @property
    def raw(self) -> Any:
        """The started ``AIOKafkaProducer``."""
        return self._ensure_producer()

    async def watch_topic(self, topic: str) -> None:
        """Keep knowing who leads the topic's partitions.

        aiokafka begins by asking for all topics, and from the first one that was created later on only for those: the
        leaders of the others are forgotten, and what is sent to them waits until it expires.
        """
        await self.raw.client.add_topic(topic)

    def leader_of(self, topic: str, partition: int) -> int | None:
        """Name the broker that leads a partition; ``None`` while it is not known, or there is none."""
        if self._producer is None:
            return None
        leader: int | None = self._producer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        return None if leader == -1 else leader

    async def on_stop(self) -> None:
        """Send what waits, as long as the broker listens."""
        if not await ends_within(STOP_DEADLINE_S if not self.app.is_broker_deaf else 0.1, super().on_stop()):
            log.warning("records that the broker did not take were given up; what they follow from is uncommitted")

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class ChunkTransport(driver.Transport):
    """Where Faust takes its consumer and producer from."""

    Consumer = ChunkConsumer
    Producer = ChunkProducer
