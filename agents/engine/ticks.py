"""The regular tick of every owned partition."""

import asyncio
from typing import Any

from mode import Service


class Ticks(Service):
    """Puts a tick into the stream of each owned partition of each topic that asks for them."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(**options)
        self.app = app

    async def on_start(self) -> None:
        """Start one loop a ticking topic."""
        for topic in self.app.chunk_topics.values():
            if topic.tick_s:
                self.add_future(self._tick(topic.get_topic_name(), topic.tick_s))

    async def _tick(self, topic: str, interval_s: float) -> None:
        consumer = self.app.consumer
        while not self.should_stop:
            await asyncio.sleep(interval_s)
            if self.app.rebalancing or not self.app.tables.actives_ready:
                continue
            for tp in consumer.assignment():
                if tp.topic == topic:
                    await consumer.tick(tp)
