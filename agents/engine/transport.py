"""Faust's Kafka transport with the chunk consumer and an idempotent producer."""

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver

from agents.engine.consumer import ChunkConsumer


class ChunkProducer(driver.Producer):
    """Faust's producer, idempotent: a retried request never stores a record twice or out of order."""

    @property
    def raw(self) -> Any:
        """The started ``AIOKafkaProducer``."""
        return self._ensure_producer()

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class ChunkTransport(driver.Transport):
    """Where Faust takes its consumer and producer from."""

    Consumer = ChunkConsumer
    Producer = ChunkProducer
