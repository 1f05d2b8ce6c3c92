"""How an agent iterates over chunks."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from typing import Any

import faust
from faust.streams import _current_event

from agents.engine.chunk import Chunk
from agents.engine.topic import ChunkTopic
from pipeline.errors import UnsupportedFeatureError


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

    def _refuse(self, *_args: Any, **_options: Any) -> Any:
        raise UnsupportedFeatureError(
            "this stream operator works on single events and a chunk topic has none: loop over chunk.records instead"
        )

    take = noack_take = take_with_timestamp = group_by = through = echo = enumerate = items = events = filter = _refuse
