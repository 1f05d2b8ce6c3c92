"""How an agent iterates over chunks."""

import asyncio
import functools
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
from faust.streams import _current_event

from agents.engine.chunk import Chunk
from agents.engine.topic import ChunkTopic
from pipeline.errors import UnsupportedFeatureError


def _on_single_events(
    operator: Callable[..., Any], instead: str = "loop over chunk.records instead"
) -> Callable[..., Any]:
    """One of Faust's stream operators, refused where the stream has chunks."""

    @functools.wraps(operator)
    def operate(stream: faust.Stream, *args: Any, **options: Any) -> Any:
        if isinstance(stream.channel, ChunkTopic):
            raise UnsupportedFeatureError(
                f"stream operator {operator.__name__} works on single events and a chunk topic has none: {instead}"
            )
        return operator(stream, *args, **options)

    return operate


class ChunkStream(faust.Stream):
    """A stream that yields chunks where its channel is a chunk topic, and is Faust's own everywhere else.

    A chunk whose partition was taken away while it waited is dropped: it is fetched again from the committed offset by
    whoever owns the partition now. An exception in the loop body leaves the chunk unfinished.
    """

    def __aiter__(self) -> AsyncIterator[Any]:
        if not isinstance(self.channel, ChunkTopic):
            return super().__aiter__()
        if self.concurrency_index is not None:
            raise UnsupportedFeatureError(
                "a chunk topic's agent runs once a worker (order!): remove concurrency, add partitions and workers instead"
            )
        chunks = self._chunks()
        self._active_agens.add(chunks)
        return chunks

    async def _chunks(self) -> AsyncIterator[Chunk]:
        self._finalized = True
        started_here = await self.maybe_start()
        app, queue = self.app, self.channel.queue
        consumer, sensors = app.consumer, app.sensors
        try:
            while not self.should_stop:
                event = await queue.get()
                chunk: Chunk = event.message
                if not app.flow_control.is_active() or chunk.generation_id != app.consumer_generation_id:
                    consumer.drop(chunk)
                    continue
                consumer.begin(chunk)
                if not chunk.is_tick:
                    state = sensors.on_stream_event_in(chunk.tp, chunk.offset, self, event)
                _current_event.set(weakref.ref(event))
                self.current_event = event
                yield chunk
                self.current_event = None
                if not chunk.is_tick:
                    self.events_total += 1
                    sensors.on_stream_event_out(chunk.tp, chunk.offset, self, event, state)
                chunk.finish_body()
                # The queue does not wait while it has more: requests, acknowledgements and other stages would.
                await asyncio.sleep(0)
        except StopAsyncIteration:  # Faust throws it into the queue to end the stream
            return
        finally:
            self._channel_stop_iteration(self.channel)
            if started_here:
                await self.stop()
                self.service_reset()

    add_processor = _on_single_events(faust.Stream.add_processor)
    combine = _on_single_events(faust.Stream.combine)
    echo = _on_single_events(faust.Stream.echo)
    enumerate = _on_single_events(faust.Stream.enumerate)
    events = _on_single_events(faust.Stream.events)
    filter = _on_single_events(faust.Stream.filter)
    group_by = _on_single_events(faust.Stream.group_by)
    items = _on_single_events(faust.Stream.items)
    join = _on_single_events(faust.Stream.join)
    left_join = _on_single_events(faust.Stream.left_join)
    inner_join = _on_single_events(faust.Stream.inner_join)
    outer_join = _on_single_events(faust.Stream.outer_join)
    noack = _on_single_events(faust.Stream.noack, "keep a chunk unfinished with chunk.hold() instead")
    noack_take = _on_single_events(faust.Stream.noack_take)
    take = _on_single_events(faust.Stream.take)
    take_events = _on_single_events(faust.Stream.take_events)
    take_with_timestamp = _on_single_events(faust.Stream.take_with_timestamp)
    through = _on_single_events(faust.Stream.through)
