"""Everything that is sent goes through here, as whole record batches.

The outbox keeps one queue a topic-partition, so order holds, packs what waits into record batches and tells each sender when
the broker has it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from mode import Service

from agents.engine.lease import Lease
from agents.engine.packing import Header, Item, MayGo, OnAcknowledged, Record, pack
from agents.engine.rounds import Rounds, SentBatch, Target
from agents.engine.silence import Silence
from pipeline.errors import SendFailedError

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""Between two looks at whether the broker is silent."""


class Outbox(Service):
    """Sends records in order for each topic-partition and acknowledges each call by a future.

    A refused record fails the worker (``SendFailedError``) and its future stays unresolved, so that nothing that
    follows it is ever committed; nothing more is sent. ``lease_s`` is how long the process may have been asleep: one that
    slept longer may have lost its partitions to another one, must not write into their state and ends at once.

    ``sent_bytes`` and ``sent_records`` count by topic what the broker acknowledged, before compression.
    """

    def __init__(self, app: Any, *, lease_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.app = app
        self.sent_bytes: Counter[str] = Counter()
        self.sent_records: Counter[str] = Counter()
        self._queues: dict[Target, deque[Item]] = {}
        self._senders: dict[Target, asyncio.Task[None]] = {}
        self._urgent_producer: Any = None
        self._rounds = Rounds(self)
        self._silence = Silence()
        self._lease = Lease(lease_s)
        self.has_failed = False
        self._is_reported = False

    def send(
        self,
        topic: str,
        partition: int,
        groups: Sequence[Sequence[Record]],
        on_acknowledged: OnAcknowledged | None = None,
        *,
        group_headers: Sequence[Header] = (),
        beside: "Sequence[asyncio.Future[None]]" = (),
    ) -> "asyncio.Future[None]":
        """Queue groups of records; the future is done when the broker has all of them.

        Records of one group share one record batch, so that the broker keeps all or none of them. Groups, and the records
        of later calls, stay in order; a crash keeps a prefix of them. The first record of each group has ``group_headers``
        beside its own headers. Groups without records are left out; where there are no others, the future is done at once.

        ``beside`` are what earlier calls gave: the broker gets this no earlier than those, though in urgent topics perhaps in
        one request with them.
        """
        if not all(groups):
            groups = [group for group in groups if group]
        item = Item(groups, on_acknowledged, group_headers, beside)
        if not groups:
            item.acknowledged.set_result(None)
            return item.acknowledged
        target = (topic, partition)
        if topic in self.app.urgent_topics:
            self._rounds.add(target, item)
            return item.acknowledged
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = deque()
        queue.append(item)
        if target not in self._senders:
            self._senders[target] = asyncio.create_task(self._drain(target, queue))
        return item.acknowledged

    def call_in_turn(self, topic: str, partition: int, send: Callable[[], None]) -> None:
        """Call ``send`` when what it sends to an urgent topic can go at once: all that is done by then goes along."""
        self._rounds.call_in_turn((topic, partition), send)

    async def flush(self) -> None:
        """Wait until the broker has what is urgent; the app's own producer is flushed by Faust."""
        if not self.has_failed:
            await self._rounds.flush()

    async def _drain(self, target: Target, queue: deque[Item]) -> None:
        try:
            started = await self.app.maybe_start_producer()
            await started.watch_topic(target[0])
            while queue and not self.has_failed:
                if awaited := queue[0].awaited:
                    await asyncio.wait(awaited)
                    continue
                # One at a time, as aiokafka sends them: of what follows a batch that failed, nothing may be stored.
                batch = await self._send_batch(started.raw, target, queue, _may_go_alone)
                await asyncio.wait([batch.answer])
        except Exception as error:  # noqa: BLE001 whatever it is, records stay unsent: the worker must not go on
            await self.fail(target, error)
        finally:
            del self._senders[target]

    def leader_of(self, target: Target) -> int | None:
        """Name the broker that leads a partition of an urgent topic; ``None`` while it is not known."""
        return None if self._urgent_producer is None else self._urgent_producer.leader_of(*target)

    async def send_urgently(self, target: Target, queue: deque[Item], may_go: MayGo) -> SentBatch:
        """Send what may go of a queue of an urgent topic as one record batch."""
        await self._urgent_producer.watch_topic(target[0])
        return await self._send_batch(self._urgent_producer.raw, target, queue, may_go)

    async def _send_batch(self, producer: Any, target: Target, queue: deque[Item], may_go: MayGo) -> SentBatch:
        self._lease.check()
        builder, parts = pack(producer, target[0], queue, may_go)
        size_bytes, records = builder.size(), builder.record_count()
        sent = await producer.send_batch(builder, target[0], partition=target[1])
        self._silence.sent(sent, *target, time.monotonic())

        def on_sent(done: "asyncio.Future[Any]") -> None:
            self._silence.answered(done)
            try:
                last_offset = done.result().offset - 1
                self.sent_bytes[target[0]] += size_bytes
                self.sent_records[target[0]] += records
                for item, groups in parts:
                    last_offset += sum(map(len, groups))
                    item.acknowledge(groups, last_offset)
            except Exception as error:  # noqa: BLE001 refused by the broker or not stored here: the worker must not go on
                self.app.loop.create_task(self.fail(target, error))
                self.has_failed = True

        sent.add_done_callback(on_sent)
        return SentBatch(sent, parts, size_bytes)

    async def fail(self, target: Target, error: Exception) -> None:
        """Stop the worker, since something cannot be sent to ``target``."""
        self.has_failed = True
        if self._is_reported or self.app.should_stop:
            return
        self._is_reported = True
        reason: Exception = error
        if not isinstance(error, SendFailedError):
            reason = SendFailedError(
                f"the broker did not take records for {target[0]}, partition {target[1]}: {error!r}. "
                "Nothing that follows them was committed; start the worker again when the broker is well"
            )
        log.error("send failed, stopping the worker", topic=target[0], partition=target[1], error=str(reason))
        await self.app.crash(reason)

    async def crash(self, error: Exception) -> None:
        """Stop the worker, since what is to be sent could not be made."""
        self.has_failed = True
        log.error("what is to be sent could not be made, stopping the worker", error=repr(error), exc_info=error)
        if not self.app.should_stop:
            await self.app.crash(error)

    async def on_start(self) -> None:
        """Begin to watch for sleep, and open the connection for what is urgent."""
        self._lease.start()
        if self.app.urgent_topics:
            self._urgent_producer = await self.add_runtime_dependency(self.app.new_producer())

    async def on_stop(self) -> None:
        """End the watch."""
        self._lease.stop()

    @Service.task
    async def _look_for_silence(self) -> None:
        while not self.should_stop:
            await self.sleep(LOOK_S)
            self._silence.look(time.monotonic())

    @Service.task
    async def _stay_awake(self) -> None:
        # After a sleep this comes before any answer of the broker is seen, so before anything that follows from one.
        while not self.should_stop:
            self._lease.check()
            await asyncio.sleep(min(0.2, self._lease.limit_s / 8))


def _may_go_alone(item: Item) -> bool:
    return not item.awaited
