"""Publishes events while everything around is being killed."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator

from aiokafka import AIOKafkaProducer

from pipeline.ingest.poison import PoisonReason
from pipeline.traffic import POISON, events

_TICK_S = 0.05
_TRICKLE_PER_S = 40.0
_BURST = 2_000
_UNUSABLE = [spoil for reason, spoil in POISON.items() if reason is not PoisonReason.TOO_LARGE]


class Feeder(threading.Thread):
    """Publishes ``count`` events, so slowly that some are left until ``hurry`` is called.

    ``sent`` and ``poison`` hold what was published, each once, however often the broker went away meanwhile.
    """

    def __init__(
        self, brokers: str, topic: str, partitions: int, *, seed: int, count: int, poison_share: float, lasts_s: float
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self._brokers = brokers
        self._topic = topic
        self._partitions = partitions
        self._chance = random.Random(seed)
        self._count = count
        self._poison_share = poison_share
        self._ends_at_s = time.monotonic() + lasts_s
        self._hurries = threading.Event()
        self._stops = threading.Event()
        self._traffic = events(seed, count)
        self.sent: list[bytes] = []
        self.poison: list[bytes] = []
        self.error: BaseException | None = None

    def hurry(self) -> None:
        """Publish the rest at once."""
        self._hurries.set()

    def finish(self, timeout_s: float) -> None:
        """Publish the rest at once and wait for the broker to have it. Raises what went wrong."""
        self.hurry()
        self.join(timeout_s)
        assert not self.is_alive(), f"the feeder is not done after {timeout_s:g} s"
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Publish no more: the test has failed."""
        self._stops.set()
        self.join(10.0)

    @property
    def published(self) -> int:
        """How many records were handed to the broker, or are about to be."""
        return len(self.sent) + len(self.poison)

    def run(self) -> None:
        try:
            asyncio.run(self._publish())
        except BaseException as error:  # noqa: BLE001 raised again by the test's own thread
            self.error = error

    async def _publish(self) -> None:
        # Long enough for any broker's absence here: without a time-out nothing is lost or sent twice.
        producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers, enable_idempotence=True, request_timeout_ms=300_000, linger_ms=5
        )
        await producer.start()
        waiting: set[asyncio.Future[object]] = set()
        due = 0.0
        try:
            while self.published < self._count and not self._stops.is_set():
                due += self._rate_per_s() * _TICK_S
                for value in self._next(int(due)):
                    waiting.add(
                        await producer.send(self._topic, value, partition=self._chance.randrange(self._partitions))
                    )
                due -= int(due)
                done = {each for each in waiting if each.done()}
                for each in done:
                    each.result()
                waiting -= done
                await asyncio.sleep(0.0 if self._hurries.is_set() else _TICK_S * self._chance.uniform(0.5, 1.5))
            if not self._stops.is_set():
                await asyncio.gather(*waiting)
        finally:
            if not self._stops.is_set():
                await producer.stop()

    def _rate_per_s(self) -> float:
        if self._hurries.is_set():
            return _BURST / _TICK_S
        left_s = max(5.0, self._ends_at_s - time.monotonic())
        return max(_TRICKLE_PER_S, (self._count - self.published) / left_s)

    def _next(self, most: int) -> Iterator[bytes]:
        for _ in range(min(most, self._count - self.published)):
            event = next(self._traffic)
            if self._chance.random() < self._poison_share:
                event = self._chance.choice(_UNUSABLE)(event)
                self.poison.append(event)
            else:
                self.sent.append(event)
            yield event
