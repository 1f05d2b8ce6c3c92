"""The dispatcher: takes batches in, tries them when their turn comes, and hands out what is to be written."""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from pipeline.clock import Clock
from pipeline.delivery.bodies import Bodies
from pipeline.delivery.endings import Endings, OwnedPartition
from pipeline.delivery.endpoint import DeliveryObserver, Endpoint, SilentObserver
from pipeline.delivery.gate import Gate
from pipeline.delivery.landing import Landing
from pipeline.delivery.lane import Flight, Lane
from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.pending import PARKED_KEPT_S, Arrival, PendingBatch, PendingLane, PendingState, Registered
from pipeline.delivery.readback import Readback, ReadBatch
from pipeline.delivery.results import Results
from pipeline.delivery.rotation import Rotation
from pipeline.delivery.rows import Fate
from pipeline.delivery.schedule import INTEGRATION_REMOVED, WAITED_TOO_LONG, is_overdue
from pipeline.delivery.slots import SlotShare
from pipeline.delivery.timer import Due, DueTimer
from pipeline.delivery.tries import Tries
from pipeline.delivery.views import LaneView, view_of
from pipeline.delivery.writes import DeliveryWrites
from pipeline.errors import BatchGoneError
from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch, Request, integration_of

_ROOM_CHECK_S = 1.0
_SAME_MOMENT_S = 0.001


class DeliveryCore:
    """Delivers the batches of one kind of sink.

    Synchronous but for the tries themselves: ``admit`` takes a record of the batches topic in, ``take`` gives what is to be
    written, ``wake`` does what is due (a timer calls it). An error of its own ends the core: ``failure`` holds it, and
    ``admit`` and ``room`` raise it. One of a sink only fails the try.
    """

    def __init__(
        self,
        kind: str,
        endpoints: Mapping[str, Endpoint],
        clock: Clock,
        read_batch: ReadBatch,
        *,
        limits: DeliveryLimits | None = None,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self.kind = kind
        self._endpoints = dict(endpoints)
        self._clock = clock
        self._limits = limits or DeliveryLimits()
        self._observer: DeliveryObserver = observer or SilentObserver()
        self._slots = SlotShare(self._limits.slots)
        self._tries = Tries(self._slots, self._observer, partial(self._call, self._on_landed))
        self._rotation = Rotation(self._limits.quantum_bytes)
        self._bodies = Bodies(self._limits, self._observer)
        self._endings = Endings(kind, clock, self._bodies, self._observer)
        self._results = Results()
        self._timer = DueTimer(clock, self.wake)
        self._landing = Landing(clock, self._endings, self._bodies, self._timer, self._observer)
        self._readback = Readback(
            read_batch,
            self._limits,
            self._bodies,
            may_read_now=self._may_read_now,
            on_body=partial(self._call, self._on_body),
            on_gone=partial(self._call, self._on_gone),
            on_error=self._fail,
        )
        self._is_stopping = False
        self._is_settling = False
        self._room: asyncio.Future[None] | None = None
        self.failure: asyncio.Future[None]

    # life

    async def start(self) -> None:
        """Begin; on the event loop that all else is called on."""
        self.failure = asyncio.get_running_loop().create_future()

    async def stop(self, deadline_s: float) -> None:
        """Start no more tries, give those under way ``deadline_s`` seconds, then cancel them: their batches stay pending.

        What they brought is to be taken afterwards.
        """
        self._is_stopping = True
        self._timer.close()
        self._readback.cancel()
        self._open_room()
        await self._tries.end(deadline_s)

    async def settle(self, deadline_s: float) -> None:
        """Start no more tries before the next ``restore``, and wait up to ``deadline_s`` seconds for those under way.

        For when partitions are about to leave: what is finished and taken now is not sent again by their next owner.
        """
        self._is_settling = True
        self._open_room()
        await self._tries.wait(deadline_s)

    def change(self, endpoints: Mapping[str, Endpoint | None]) -> None:
        """Put other endpoints in the place of those of these integrations, ``None`` where one is removed.

        Their lanes keep what waits, what is under way and what is known of an endpoint at the same address. Tries under way
        end as they began (see ``ended``). What waits for a removed integration is parked.
        """
        for name, endpoint in endpoints.items():
            if endpoint is None:
                self._endpoints.pop(name, None)
            else:
                self._endpoints[name] = endpoint
        lanes = {
            lane: owned.state
            for owned in self._endings.partitions.values()
            for lane in owned.lanes.values()
            if lane.integration_id in endpoints
        }
        self._timer.drop(lanes)
        now = self._clock.wall_s()
        for lane, state in lanes.items():
            state.touch(lane.name)
            lane.replace(endpoints[lane.integration_id])
            self._resume(lane, now)
        self._go_on()

    async def ended(self, endpoint: Endpoint) -> None:
        """Wait until no try that was begun with an ``endpoint`` is under way, after ``change`` has replaced it."""
        await self._tries.ended(endpoint)

    def use_limits(self, limits: DeliveryLimits) -> None:
        """Keep to other bounds from now on; what is beyond them goes when it is done."""
        self._limits = limits
        self._bodies.use_limits(limits)
        self._readback.use_limits(limits)
        self._slots.use_slots(limits.slots)
        self._rotation.quantum_bytes = limits.quantum_bytes
        self._go_on()

    def restore(self, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """A partition was assigned; ``rows`` are those of its part of the pending table, in any order.

        Raises ``CodecError`` where they cannot be.
        """
        self._is_settling = False
        state = PendingState.restore(rows)
        self._endings.partitions[partition] = owned = OwnedPartition(state)
        now = self._clock.wall_s()
        for pending_lane in state.lanes.values():
            if pending_lane.parked:
                state.touch(pending_lane.name).forget_parked(now - PARKED_KEPT_S)
            if pending_lane.waiting:
                self._resume(self._lane(partition, owned, pending_lane), now)
        self._go_on()

    def revoke(self, partition: int) -> None:
        """The partition belongs to somebody else: forget it and cancel its tries. Take what is to be written before."""
        owned = self._endings.forget(partition)
        if owned is None:
            return
        for lane in owned.lanes.values():
            lane.is_revoked = True
            self._bodies.drop_lane(lane)
        self._tries.cancel_of_revoked_lanes()
        self._readback.cancel(revoked_only=True)
        self._timer.drop_revoked()
        self._slots.drop_revoked()
        self._go_on()

    # in

    def admit(self, partition: int, offset: int, batch: Batch) -> None:
        """Take in a record of a restored partition, by ascending offset within the partition.

        What was registered before is dropped, wholly or in part. Raises ``SequenceGapError`` where events are missing.
        """
        self._raise_failure()
        owned = self._endings.partitions[partition]
        if batch.request is Request.RESUME:
            self._resume_lane(partition, owned, batch.lane)
            return
        came = batch
        arrival, batch, pending = self._register(owned, batch, offset)
        if arrival is Arrival.REPEATED or pending is None:
            self._observer.repeated(came.lane, came.event_count)
            return
        lane = owned.lanes.get(batch.lane) or self._lane(partition, owned, owned.state.lanes[batch.lane])
        now_s = self._clock.monotonic_s()
        if arrival is Arrival.KNOWN:
            if pending.body is None and self._bodies.may_hold(lane, pending.size_bytes, now_s):
                self._bodies.hold(lane, pending, batch.only(pending.ranges))
            return
        if batch.first != came.first:
            self._observer.repeated(lane.name, batch.first - came.first)
        if lane.endpoint is None:
            self._give_up(lane, pending, batch, INTEGRATION_REMOVED)
            return
        if len(lane.pending.waiting) == 1:
            lane.progress_at_s = now_s
        lane.add(pending)
        if self._bodies.may_hold(lane, pending.size_bytes, now_s):
            self._bodies.hold(lane, pending, batch)
        else:
            self._observer.spilled(lane.name, pending.size_bytes)
        self._watch_expiry(lane)
        if lane.in_flight < lane.cap:
            self._rotation.add(lane)
            self._dispatch()

    def _register(self, owned: OwnedPartition, batch: Batch, offset: int) -> Registered:
        pending_lane = owned.state.touch(batch.lane)
        return pending_lane.replay(batch, offset) if batch.request else pending_lane.register(batch, offset)

    def _resume_lane(self, partition: int, owned: OwnedPartition, name: str) -> None:
        """Somebody says that the endpoint is to be tried again: now, whenever its next tries were due."""
        if name in owned.state.lanes:
            pending_lane = owned.state.touch(name)
            lane = owned.lanes.get(name) or self._lane(partition, owned, pending_lane)
            change = lane.gate.resume()
            if change is not None:
                self._observer.breaker_changed(name, change)
            self._timer.drop({lane})
            lane.begin_anew()
            for pending in pending_lane.waiting.values():
                if pending.next_at and not pending.is_in_flight:
                    pending_lane.retry_at(pending, 0.0)
            self._resume(lane, self._clock.wall_s())
            self._go_on()

    async def room(self) -> None:
        """Wait while the worker has its hands full; to be awaited before each chunk of batches is admitted.

        Endpoints that get on must be what fills it: a slow or dead one blocks nothing here, its batches are read back.
        """
        while self._is_full():
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            self._timer.call_in(_ROOM_CHECK_S)
            await asyncio.shield(self._room)
        self._raise_failure()

    # out

    def has_writes(self, partition: int) -> bool:
        """Whether ``take`` has something to give."""
        return self._endings.has_writes(partition)

    def take(self, partition: int) -> DeliveryWrites:
        """What is to be written for all that happened since the last take; it covers every batch admitted so far."""
        writes = self._endings.take(partition)
        self._go_on()
        return writes

    def recorded(self, writes: DeliveryWrites) -> None:
        """What was taken is acknowledged by the broker."""
        self._endings.recorded(writes)

    def partitions(self) -> frozenset[int]:
        """The partitions whose state is here."""
        return frozenset(self._endings.partitions)

    def pending_lanes(self, partition: int) -> Collection[PendingLane]:
        """What is kept of each lane of a partition; only to be read."""
        owned = self._endings.partitions.get(partition)
        return () if owned is None else owned.state.lanes.values()

    def gate_of(self, partition: int, lane: str) -> Gate | None:
        """What holds a lane back, where it has had something to do; only to be looked at."""
        owned = self._endings.partitions.get(partition)
        found = None if owned is None else owned.lanes.get(lane)
        return None if found is None else found.gate

    def lanes(self, partition: int | None = None) -> list[LaneView]:
        """Every lane as it stands now, of one partition or of all."""
        return [
            view_of(number, pending, owned.lanes.get(name))
            for number, owned in self._endings.partitions.items()
            if partition in (None, number)
            for name, pending in owned.state.lanes.items()
        ]

    @property
    def resident_bytes(self) -> int:
        """Bytes of bodies in memory."""
        return self._bodies.resident_bytes

    @property
    def in_flight(self) -> int:
        """Tries under way."""
        return len(self._tries)

    # at work

    def wake(self) -> None:
        """Do what is due."""
        self._call(self._wake)

    def _call(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do what the event loop called for: it would only log an error, and what was at work would stand still."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is ends the core, which says so
            self._fail(error)

    def _wake(self) -> None:
        now = self._clock.wall_s()
        for lane, what in self._timer.pop_due():
            if what is Due.EXPIRY:
                self._expire(lane, now)
            elif what is Due.TURN:
                lane.turn_due_s = math.inf
            elif lane.is_ordered:
                lane.is_paused = False
            else:
                lane.retries.append(what)
                self._watch_expiry(lane)
            self._rotation.add(lane)
        if not self._is_stopping:
            self._timer.rearm()
        self._go_on()

    def _go_on(self) -> None:
        """Something became free or due."""
        self._dispatch()
        self._readback.start()
        if self._room is not None:
            if self._is_full():
                self._timer.call_in(_ROOM_CHECK_S)
            else:
                self._open_room()

    def _is_full(self) -> bool:
        # Whoever waits for room cannot take at the same time, so what waits to be taken must not keep them waiting.
        return self._is_running and self._may_write_more() and self._bodies.is_busy(self._clock.monotonic_s())

    def _may_write_more(self) -> bool:
        return self._endings.outgoing_bytes < self._limits.outgoing_bytes

    def _open_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _may_read_now(self) -> bool:
        if not self._is_running or not self._may_write_more():
            return False
        return self._bodies.has_room_to_read_ahead() or len(self._tries) < self._limits.slots

    @property
    def _is_running(self) -> bool:
        return not self._is_stopping and not self._is_settling and not self.failure.done()

    def _dispatch(self) -> None:
        """Start tries while there are slots and lanes that offer something."""
        while len(self._tries) < self._limits.slots and self._may_write_more():
            turn = self._rotation.next() if self._is_running else None
            if turn is None:
                waiting = self._slots.next_lane() if self._is_running else None
                if waiting is None:
                    return
                self._rotation.add(waiting)
                continue
            lane, pending = turn
            now, now_s = self._clock.wall_s(), self._clock.monotonic_s()
            if is_overdue(pending.sealed_at + lane.max_wait_s, now):
                lane.pop()
                self._give_up(lane, pending, pending.body, WAITED_TOO_LONG)
            elif pending.next_at > now and lane.is_ordered:
                lane.is_paused = True
                self._timer.add_at(pending.next_at, lane, pending)
            elif pending.body is None:
                self._rotation.leave(lane)
                self._readback.ask(lane)
                self._readback.start()
            elif not self._slots.may_begin(lane):
                self._rotation.leave(lane)
            elif (wait_s := lane.gate.wait_s(pending.body, now=now, now_s=now_s)) > 0:
                self._rotation.leave(lane)
                if now_s + wait_s < lane.turn_due_s - _SAME_MOMENT_S:
                    lane.turn_due_s = now_s + wait_s
                    self._timer.add_in(wait_s, lane, Due.TURN)
            else:
                self._rotation.charge(lane, pending)
                lane.pop()
                self._try(Flight(lane, pending, pending.body, now, now_s))

    def _try(self, flight: Flight) -> None:
        self._tries.begin(flight)
        lane = flight.lane
        if len(lane.held) < len(lane.pending.waiting):
            self._readback.ask(lane)

    def _on_landed(self, flight: Flight, task: "asyncio.Task[Outcome]") -> None:
        lane = flight.lane
        if lane.is_revoked or (task.cancelled() and self._is_stopping):
            lane.gate.on_abandoned(flight)  # it stays pending, here or with the partition's new owner
        else:
            name = flight.pending.name(lane.name)
            outcome = self._results.outcome_of(task, integration_id=lane.integration_id, batch_id=name)
            self._landing.land(flight, outcome)
            self._watch_expiry(lane)
            self._rotation.add(lane)
        self._go_on()

    def _give_up(self, lane: Lane, pending: PendingBatch, body: Batch | None, reason: str) -> None:
        """The batch is parked, handed out whole, as soon as its body is here."""
        if body is not None:
            self._endings.give_up(lane, pending, body, Fate.PARKED, reason)
            return
        lane.to_give_up.append((pending, reason))
        self._readback.ask(lane)

    def _on_body(self, lane: Lane, pending: PendingBatch, body: Batch) -> None:
        if lane.to_give_up and lane.to_give_up[0][0] is pending:
            self._give_up(lane, pending, body, lane.to_give_up.popleft()[1])
        elif pending.fate is None and pending.body is None and body.ranges == pending.ranges:
            self._bodies.hold(lane, pending, body)
        if lane.to_give_up or len(lane.held) < len(lane.pending.waiting):
            self._readback.ask(lane)
        self._rotation.add(lane)
        self._go_on()

    def _on_gone(self, lane: Lane, pending: PendingBatch, error: BatchGoneError) -> None:
        """A body that is in its topic no more: nobody can send it or park it."""
        if pending.fate is None and pending.body is None and lane.withdraw(pending):
            self._endings.finish(lane, pending, Fate.DISCARDED, str(error))
        if lane.to_give_up or len(lane.held) < len(lane.pending.waiting):
            self._readback.ask(lane)
        self._rotation.add(lane)
        self._go_on()

    def _expire(self, lane: Lane, now: float) -> None:
        lane.has_expiry_timer = False
        for pending in lane.take_expired(now):
            self._give_up(lane, pending, pending.body, WAITED_TOO_LONG)
        self._watch_expiry(lane)

    def _watch_expiry(self, lane: Lane) -> None:
        if not lane.has_expiry_timer and (oldest := lane.oldest_sealed_at()) is not None:
            lane.has_expiry_timer = True
            self._timer.add_at(oldest + lane.max_wait_s, lane, Due.EXPIRY)

    # lanes

    def _lane(self, partition: int, owned: OwnedPartition, pending_lane: PendingLane) -> Lane:
        endpoint = self._endpoints.get(integration_of(pending_lane.name))
        lane = owned.lanes[pending_lane.name] = Lane(partition, pending_lane, endpoint, self._clock.monotonic_s())
        return lane

    def _resume(self, lane: Lane, now: float) -> None:
        """Queue what waited before a restart or a change, in sequence; overdue retries by when they were due."""
        given_up = {pending for pending, _ in lane.to_give_up}
        waiting = [each for each in lane.pending.waiting.values() if not each.is_in_flight and each not in given_up]
        if lane.endpoint is None:
            for pending in waiting:
                self._give_up(lane, pending, pending.body, INTEGRATION_REMOVED)
            return
        waiting.sort(key=lambda pending: pending.first)
        if not lane.is_ordered:
            waiting.sort(key=lambda pending: pending.next_at)
        for pending in waiting:
            if pending.next_at > now and not lane.is_ordered:
                self._timer.add_at(pending.next_at, lane, pending)
            else:
                lane.add(pending)
        self._watch_expiry(lane)
        self._rotation.add(lane)

    def _fail(self, error: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)
            self.failure.exception()  # it is raised by whoever admits next, if nobody awaits it
        self._open_room()

    def _raise_failure(self) -> None:
        if self.failure.done():
            self.failure.result()
