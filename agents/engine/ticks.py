"""What happens regularly: the tick of every owned partition, and the renewal of claims."""

import asyncio
from typing import Any

from mode import Service

from agents.engine.table import ChunkTable

CLAIM_RENEWAL_S = 180.0


class Ticks(Service):
    """Puts a tick into the stream of each owned partition of each topic that asks for them, and has claims renewed."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(**options)
        self.app = app

    async def on_start(self) -> None:
        """Start one loop a ticking topic, and one for all claims."""
        for topic in self.app.chunk_topics.values():
            if topic.tick_s:
                self.add_future(self._tick(topic.get_topic_name(), topic.tick_s))
        self.add_future(self._renew_claims())

    async def _tick(self, topic: str, interval_s: float) -> None:
        consumer = self.app.consumer
        while not self.should_stop:
            await asyncio.sleep(interval_s)
            if self._is_between_assignments():
                continue
            generation_id = self.app.consumer_generation_id
            for tp in consumer.assignment():
                if generation_id != self.app.consumer_generation_id:
                    break  # a tick waited for its queue across a rebalance: the others may not be ours any more
                if tp.topic == topic:
                    await consumer.tick(tp)

    async def _renew_claims(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(CLAIM_RENEWAL_S)
            if self._is_between_assignments():
                continue
            for table in self.app.tables.values():
                if isinstance(table, ChunkTable):
                    table.renew_claims()

    def _is_between_assignments(self) -> bool:
        return self.app.rebalancing or not self.app.tables.actives_ready
