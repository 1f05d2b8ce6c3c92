"""Everything that is sent goes through here, as whole record batches.

``AIOKafkaProducer.send`` costs 12 to 20 microseconds a record; a record in a batch built by hand costs 2.5. The outbox keeps one
queue a topic-partition, so order holds, packs what waits into record batches and tells each sender when the broker has it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from mode import Service

from agents.engine.lease import Lease
from pipeline.errors import SendFailedError

Header = tuple[str, bytes]
Record = tuple[bytes | None, bytes | None] | tuple[bytes | None, bytes | None, list[Header]]
"""Key, value and, where there are any, headers of one record."""

RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach a changelog in one record batch: all of them or none."""

OnAcknowledged = Callable[[Sequence[Sequence[Record]], int], None]
"""Called with the groups that a record batch held, in order, and the offset of the batch's last record."""

SOFT_BATCH_BYTES = 1 << 20
NO_HEADERS: list[Header] = []

log = structlog.get_logger(__name__)


class _Item:
    """One call of ``send``: its groups, how many of them went out and how many were acknowledged."""

    __slots__ = ("acknowledged", "groups", "headers", "left", "on_acknowledged", "position")

    def __init__(
        self, groups: Sequence[Sequence[Record]], on_acknowledged: OnAcknowledged | None, headers: list[Header]
    ) -> None:
        self.groups = groups
        self.headers = headers
        self.position = 0
        self.left = len(groups)
        self.on_acknowledged = on_acknowledged
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def acknowledge(self, groups: Sequence[Sequence[Record]], last_offset: int) -> None:
        """Note that the broker has the next ``groups``."""
        self.left -= len(groups)
        if self.on_acknowledged is not None:
            self.on_acknowledged(groups, last_offset)
        if not self.left and not self.acknowledged.done():
            self.acknowledged.set_result(None)


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
        self._queues: dict[tuple[str, int], deque[_Item]] = {}
        self._senders: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._lease = Lease(lease_s)
        self.has_failed = False
        self._is_reported = False

    def send(
        self,
        topic: str,
        partition: int,
        groups: Sequence[Sequence[Record]],
        on_acknowledged: OnAcknowledged | None = None,
        group_headers: Sequence[Header] = (),
    ) -> "asyncio.Future[None]":
        """Queue groups of records; the future is done when the broker has all of them.

        Records of one group share one record batch, so that the broker keeps all or none of them. Groups, and the records
        of later calls, stay in order; a crash keeps a prefix of them. The first record of each group has ``group_headers``
        beside its own headers.
        """
        item = _Item(groups, on_acknowledged, list(group_headers))
        if not groups:
            item.acknowledged.set_result(None)
            return item.acknowledged
        target = (topic, partition)
        queue = self._queues.get(target)
        if queue is None:
            queue = self._queues[target] = deque()
        queue.append(item)
        if target not in self._senders:
            self._senders[target] = asyncio.create_task(self._drain(target, queue))
        return item.acknowledged

    async def _drain(self, target: tuple[str, int], queue: deque[_Item]) -> None:
        try:
            started = await self.app.maybe_start_producer()
            await started.watch_topic(target[0])
            producer = started.raw
            while queue and not self.has_failed:
                # One at a time, as aiokafka sends them: of what follows a batch that failed, nothing may be stored.
                await asyncio.wait([await self._send_batch(producer, target, queue)])
        except Exception as error:  # noqa: BLE001 whatever it is, records stay unsent: the worker must not go on
            await self._fail(target, error)
        finally:
            del self._senders[target]

    async def _send_batch(self, producer: Any, target: tuple[str, int], queue: deque[_Item]) -> "asyncio.Future[Any]":
        self._lease.check()
        builder, parts = _pack(producer, target[0], queue)
        size_bytes, records = builder.size(), builder.record_count()
        sent = await producer.send_batch(builder, target[0], partition=target[1])

        def on_sent(done: "asyncio.Future[Any]") -> None:
            try:
                last_offset = done.result().offset - 1
                self.sent_bytes[target[0]] += size_bytes
                self.sent_records[target[0]] += records
                for item, groups in parts:
                    last_offset += sum(map(len, groups))
                    item.acknowledge(groups, last_offset)
            except Exception as error:  # noqa: BLE001 refused by the broker or not stored here: the worker must not go on
                self.app.loop.create_task(self._fail(target, error))
                self.has_failed = True

        sent.add_done_callback(on_sent)
        return sent

    async def _fail(self, target: tuple[str, int], error: Exception) -> None:
        if self._is_reported or self.app.should_stop:
            return
        self.has_failed = self._is_reported = True
        reason: Exception = error
        if not isinstance(error, SendFailedError):
            reason = SendFailedError(
                f"the broker did not take records for {target[0]}, partition {target[1]}: {error!r}. "
                "Nothing that follows them was committed; start the worker again when the broker is well"
            )
        log.error("send failed, stopping the worker", topic=target[0], partition=target[1], error=str(reason))
        await self.app.crash(reason)

    async def on_start(self) -> None:
        """Begin to watch for sleep."""
        self._lease.start()

    async def on_stop(self) -> None:
        """End the watch."""
        self._lease.stop()

    @Service.task
    async def _stay_awake(self) -> None:
        # After a sleep this comes before any answer of the broker is seen, so before anything that follows from one.
        while not self.should_stop:
            self._lease.check()
            await asyncio.sleep(min(0.2, self._lease.limit_s / 8))


_Part = tuple[_Item, Sequence[Sequence[Record]]]
"""The groups of one call that share a record batch."""


def _pack(producer: Any, topic: str, queue: deque[_Item]) -> tuple[Any, list[_Part]]:
    """Take groups off the queue, in order, into one record batch; raises ``SendFailedError`` where one fits into none."""
    builder = producer.create_batch()
    parts: list[_Part] = []
    while queue and builder.size() < SOFT_BATCH_BYTES:
        item = queue[0]
        start = item.position
        for group in item.groups[start:] if start else item.groups:
            if not _append(builder, group, item.headers):
                if item.position > start:
                    parts.append((item, item.groups[start : item.position]))
                if parts:  # it may fit a batch of its own
                    return _rebuilt(producer, parts), parts
                raise SendFailedError(
                    f"a group of {len(group)} records for {topic} does not fit one record batch: "
                    "lower batch.max_bytes of the integrations"
                )
            item.position += 1
            if builder.size() >= SOFT_BATCH_BYTES:
                break
        parts.append((item, item.groups[start : item.position]))
        if item.position == len(item.groups):
            queue.popleft()
    return builder, parts


def _append(builder: Any, group: Sequence[Record], headers_of_first: list[Header]) -> bool:
    """Append a group; ``False`` where the batch is full, and then it holds a part of the group."""
    extra = headers_of_first
    for record in group:
        headers = [*extra, *record[2]] if len(record) > 2 else extra  # noqa: PLR2004 key, value, headers
        extra = NO_HEADERS
        if builder.append(timestamp=None, key=record[0], value=record[1], headers=headers) is None:
            return False
    return True


def _rebuilt(producer: Any, parts: Sequence[_Part]) -> Any:
    """Give a record batch of just ``parts``: nothing can be taken out of one."""
    builder = producer.create_batch()
    for item, groups in parts:
        for group in groups:
            _append(builder, group, item.headers)
    return builder
