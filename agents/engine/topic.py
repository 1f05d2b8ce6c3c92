"""A topic whose agent receives chunks."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import faust

from agents.engine.chunk import Chunk
from pipeline.errors import UnsupportedFeatureError


class ChunkTopic(faust.Topic):
    """A Kafka topic that is read as chunks.

    ``max_chunk_records`` and ``max_chunk_bytes`` bound one chunk; ``budget_bytes`` bounds what is handed out and not
    finished, over all partitions of the topic; ``tick_s`` is the seconds between two ticks of a partition, 0 for none;
    while records of a topic in ``yields_to`` wait for their turn, this one waits: so a stage that feeds another on the same
    worker does not run away from it, and what is on its way is finished before more is begun. ``max_queued_chunks`` bounds
    what waits to be applied where the topic is a table's changelog. Made by :meth:`ChunkApp.chunk_topic`.
    """

    def __init__(
        self,
        app: Any,
        *,
        max_chunk_records: int = 4000,
        max_chunk_bytes: int = 2 << 20,
        budget_bytes: int = 16 << 20,
        tick_s: float = 0.0,
        max_queued_chunks: int = 4,
        yields_to: Sequence["ChunkTopic"] = (),
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self.max_chunk_records = max_chunk_records
        self.max_chunk_bytes = max_chunk_bytes
        self.budget_bytes = budget_bytes
        self.tick_s = tick_s
        self.max_queued_chunks = max_queued_chunks
        self.yields_to = tuple(yields_to)
        self.backlogs = 0
        self.unfinished_bytes = 0
        self.unfinished_chunks = 0
        self.has_agent = False

    def has_room(self) -> bool:
        """Whether another chunk may be handed out now."""
        return self.unfinished_bytes < self.budget_bytes and not any(topic.is_behind for topic in self.yields_to)

    @property
    def is_behind(self) -> bool:
        """Whether records of this topic wait in memory for their turn."""
        return self.backlogs > 0

    def hand_out(self, chunk: Chunk) -> None:
        """Count a chunk that was put before the agent."""
        self.unfinished_bytes += chunk.size_bytes
        self.unfinished_chunks += 1

    def take_back(self, chunk: Chunk) -> None:
        """Count a chunk that is finished, or was dropped because its partition left."""
        self.unfinished_bytes -= chunk.size_bytes
        self.unfinished_chunks -= 1

    def _clone_args(self) -> dict[str, Any]:
        return {
            **super()._clone_args(),
            "max_chunk_records": self.max_chunk_records,
            "max_chunk_bytes": self.max_chunk_bytes,
            "budget_bytes": self.budget_bytes,
            "tick_s": self.tick_s,
            "max_queued_chunks": self.max_queued_chunks,
            "yields_to": self.yields_to,
        }

    def _compile_decode(self) -> None:
        async def decode(message: Chunk, *, propagate: bool = False) -> Any:  # noqa: ARG001 Faust's signature
            return self.app.create_event(None, message, None, message)

        self.decode = decode

    def derive_topic(self, **_options: Any) -> faust.Topic:
        """Refuse: what is derived would not be known as a chunk topic."""
        raise UnsupportedFeatureError(
            f"topic {self.get_topic_name()}: no topic is derived from a chunk topic; declare it with app.chunk_topic or app.topic"
        )

    def __aiter__(self) -> AsyncIterator[Any]:
        if not self.is_iterator and not self.internal:
            registered = self.app.chunk_topics[self.get_topic_name()]
            if registered.has_agent:
                raise UnsupportedFeatureError(
                    f"topic {self.get_topic_name()} already has an agent: a chunk topic has exactly one; send what the second needs to a topic of its own"
                )
            registered.has_agent = True
        return super().__aiter__()
