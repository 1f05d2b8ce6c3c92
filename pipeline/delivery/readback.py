"""Reads bodies back from the batches topic, a few at a time, in the order in which lanes ask."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from pipeline.delivery.bodies import Bodies
from pipeline.delivery.lane import Lane
from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.pending import PendingBatch
from pipeline.errors import BatchGoneError
from pipeline.model.batch import Batch
from pipeline.model.ranges import without

log = structlog.get_logger(__name__)

ReadBatch = Callable[[int, int], Awaitable[Batch]]
"""Reads the record at (partition, offset) of the batches topic; raises ``BatchGoneError`` where it is there no more."""


class Readback:
    """Lanes that ask, and the reads under way; one read a lane, a bounded number in all.

    ``may_read_now`` says whether a body that is needed at once may be read, ``on_body`` is told of each body that came,
    ``on_gone`` of each that is in the topic no more, or has another batch in its place, and ``on_error`` of an error that ends the worker.
    """

    def __init__(
        self,
        read_batch: ReadBatch,
        limits: DeliveryLimits,
        bodies: Bodies,
        *,
        may_read_now: Callable[[], bool],
        on_body: Callable[[Lane, PendingBatch, Batch], None],
        on_gone: Callable[[Lane, PendingBatch, BatchGoneError], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._read_batch = read_batch
        self._limits = limits
        self._bodies = bodies
        self._may_read_now = may_read_now
        self._on_body = on_body
        self._on_gone = on_gone
        self._on_error = on_error
        self._asking: deque[Lane] = deque()
        self._reads: dict[asyncio.Task[Batch], Lane] = {}

    def use_limits(self, limits: DeliveryLimits) -> None:
        """Keep to other bounds from now on."""
        self._limits = limits

    def ask(self, lane: Lane) -> None:
        """The lane may need bodies."""
        if not lane.is_asking_to_read:
            lane.is_asking_to_read = True
            self._asking.append(lane)

    def start(self) -> None:
        """Start what may be read now; called again whenever slots, memory or reads become free."""
        asking = self._asking
        while asking and len(self._reads) < self._limits.reads and self._may_read_now():
            lane = asking.popleft()
            lane.is_asking_to_read = False
            if lane.is_reading or lane.is_revoked:
                continue
            pending = self._wanted(lane)
            if pending is not None:
                self._read(lane, pending)

    def cancel(self, *, revoked_only: bool = False) -> None:
        """End the reads under way."""
        for task, lane in self._reads.items():
            if lane.is_revoked or not revoked_only:
                task.cancel()

    def _wanted(self, lane: Lane) -> PendingBatch | None:
        if lane.to_give_up:
            return lane.to_give_up[0][0]
        if not lane.cap:
            return None
        if self._bodies.has_room_to_read_ahead():
            upcoming = lane.upcoming(lane.cap + self._limits.spare_bodies)
            return next((pending for pending in upcoming if pending.body is None), None)
        head = lane.head()
        return head if head is not None and head.body is None else None

    def _read(self, lane: Lane, pending: PendingBatch) -> None:
        lane.is_reading = True
        task = asyncio.get_running_loop().create_task(
            self._body_of(lane, pending), name=f"read {lane.name}:{pending.first}"
        )
        self._reads[task] = lane
        task.add_done_callback(partial(self._on_read, lane, pending))

    async def _body_of(self, lane: Lane, pending: PendingBatch) -> Batch:
        batch = await self._read_batch(lane.partition, pending.offset)
        if batch.lane != lane.name or without(pending.ranges, batch.ranges):
            name = pending.name(lane.name)
            log.error(
                "a batch that waited is lost: its topic was deleted and made again, and has another one in its place",
                batch=name,
                partition=lane.partition,
                offset=pending.offset,
                found=batch.id,
            )
            raise BatchGoneError(
                f"partition {lane.partition} of the batches topic holds {batch.id} at offset {pending.offset}, where {name} was: "
                "the topic was deleted and made again; find out who deleted it"
            )
        return batch.only(pending.ranges)

    def _on_read(self, lane: Lane, pending: PendingBatch, task: "asyncio.Task[Batch]") -> None:
        del self._reads[task]
        lane.is_reading = False
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, BatchGoneError):
            if not lane.is_revoked:
                self._on_gone(lane, pending, error)
        elif error is not None:
            self._on_error(error)
        elif not lane.is_revoked:
            self._on_body(lane, pending, task.result())
