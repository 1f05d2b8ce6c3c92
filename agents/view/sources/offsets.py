"""Watches how far topics reach and how far this worker is in its partitions, for lag in events and in seconds, and rates.

A lag in seconds needs to know when the oldest record that waits came. That is told by when the partition's end passed it, so
ends are looked at regularly and remembered for a while.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.engine import ChunkApp
from agents.kafka_clients import start_whole, stop_whole
from pipeline.cancelling import cancelled
from pipeline.clock import Clock

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0
AGAIN_AFTER_S: Final = 10.0
KEPT_LOOKS: Final = 300
RATE_OVER_S: Final = 10.0


class Look(NamedTuple):
    """What was seen of a partition at a time (UNIX seconds): where it ends, and up to where it is committed, if at all."""

    at: float
    end: int
    committed: int | None


class Standing(NamedTuple):
    """How a partition stands. ``lag_s`` is at least so long where it is longer than looks are kept; rates are events a second."""

    at: float
    end: int
    committed: int | None
    lag: int | None
    lag_s: float | None
    arriving_s: float | None
    committed_s: float | None


class OffsetWatch:
    """Looks at this worker's partitions of the topics that its agents read, every two seconds."""

    def __init__(self, app: ChunkApp, brokers: str, clock: Clock) -> None:
        self._app = app
        self._brokers = brokers
        self._clock = clock
        self._looks: dict[TopicPartition, deque[Look]] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look; on the worker's event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            await cancelled([task])

    def standings(self) -> Mapping[TopicPartition, Standing]:
        """How each partition stood when it was looked at last."""
        return {tp: standing_of(looks) for tp, looks in self._looks.items() if looks}

    async def _run(self) -> None:
        while True:
            pause_s = LOOK_EVERY_S
            try:
                await self._look()
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("offsets cannot be looked at", error=repr(error))
                pause_s = AGAIN_AFTER_S
                await self._drop()
            except asyncio.CancelledError:
                await self._drop()
                raise
            await asyncio.sleep(pause_s)

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_whole(consumer)

    async def _look(self) -> None:
        owned = self._owned()
        for gone in self._looks.keys() - owned:
            del self._looks[gone]
        if not owned:
            return
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._brokers, enable_auto_commit=False)
            await start_whole(consumer)
            self._consumer = consumer
        committed = self._app.consumer.committed_offsets()
        ends = await self._consumer.end_offsets(sorted(owned))
        now = self._clock.wall_s()
        for tp, end in ends.items():
            look = Look(now, end, committed.get((tp.topic, tp.partition)))
            self._looks.setdefault(tp, deque(maxlen=KEPT_LOOKS)).append(look)

    def _owned(self) -> set[TopicPartition]:
        topics = self._app.chunk_topics
        return {
            TopicPartition(tp.topic, tp.partition)
            for tp in self._app.assignment()
            if tp.topic in topics and not topics[tp.topic].internal
        }


def standing_of(looks: "deque[Look]") -> Standing:
    """What the looks at one partition say; there is at least one."""
    last = looks[-1]
    lag = None if last.committed is None else max(0, last.end - last.committed)
    before = next((look for look in reversed(looks) if last.at - look.at >= RATE_OVER_S), looks[0])
    took_s = last.at - before.at
    committed_s = None
    if took_s > 0 and last.committed is not None and before.committed is not None:
        committed_s = max(0.0, (last.committed - before.committed) / took_s)
    return Standing(
        at=last.at,
        end=last.end,
        committed=last.committed,
        lag=lag,
        lag_s=_lag_s(looks, last),
        arriving_s=max(0.0, (last.end - before.end) / took_s) if took_s > 0 else None,
        committed_s=committed_s,
    )


def _lag_s(looks: "deque[Look]", last: Look) -> float | None:
    """How long the oldest record that is not committed has been there, to the interval of the looks."""
    if last.committed is None:
        return None
    if last.end <= last.committed:
        return 0.0
    passed_at = next((look.at for look in looks if look.end > last.committed), last.at)
    return max(0.0, last.at - passed_at)
