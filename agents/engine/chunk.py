"""A run of records of one partition, as one message to Faust."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from faust.types.tuples import TP, ConsumerMessage


class Chunk(ConsumerMessage):
    """What an agent of a chunk topic receives.

    ``records`` have ``offset``, ``timestamp`` (ms), ``key`` and ``value`` and come in ascending offset order; ``size_bytes``
    is the sum of their keys and values. ``is_tick`` chunks have no records: they are the partition's regular tick.

    The chunk is finished, and its offsets may be committed, when the agent's loop body is done and every hold is released.
    """

    __slots__ = ("_on_finished", "_open_holds", "first_offset", "handed_out_at_s", "is_tick", "records", "size_bytes")

    def __init__(
        self,
        tp: TP,
        records: Sequence[Any],
        *,
        generation_id: int,
        size_bytes: int = 0,
        on_finished: Callable[["Chunk"], None] | None = None,
    ) -> None:
        last = records[-1] if records else None
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset if last is not None else -1,
            last.timestamp / 1000.0 if last is not None else 0.0,
            0,
            None,
            None,
            None,
            None,
            0,
            size_bytes,
            tp,
            generation_id=generation_id,
        )
        self.first_offset: int = records[0].offset if records else -1
        self.handed_out_at_s = time.monotonic()
        self.records: Sequence[Any] = records
        self.is_tick = not records
        self.size_bytes = size_bytes
        self._open_holds = 1  # the agent's loop body
        self._on_finished = on_finished

    def hold(self) -> "Hold":
        """Keep the chunk unfinished until the returned hold is released."""
        self._open_holds += 1
        return Hold(self)

    def follow(self, future: "asyncio.Future[Any]") -> None:
        """Keep the chunk unfinished until ``future`` is done.

        A future that fails or is cancelled never releases the chunk: whoever made it also stops the worker.
        """
        hold = self.hold()

        def on_done(done: "asyncio.Future[Any]") -> None:
            if not done.cancelled() and done.exception() is None:
                hold.release()

        future.add_done_callback(on_done)

    def finish_body(self) -> None:
        """Say that the agent's loop body ended without an exception (called by the stream)."""
        self.records = ()
        self._release()

    def _release(self) -> None:
        self._open_holds -= 1
        if self._open_holds == 0 and self._on_finished is not None:
            self._on_finished(self)


class Hold:
    """One reason why a chunk is not finished yet."""

    __slots__ = ("_chunk",)

    def __init__(self, chunk: Chunk) -> None:
        self._chunk: Chunk | None = chunk

    def release(self) -> None:
        """Give the chunk free; releasing twice changes nothing."""
        chunk, self._chunk = self._chunk, None
        if chunk is not None:
            chunk._release()
