"""Writes down what became of tries and batches, in the durable state and in the records that are to be sent."""

from pipeline.clock import Clock
from pipeline.delivery.bodies import Bodies
from pipeline.delivery.endpoint import DeliveryObserver
from pipeline.delivery.lane import Lane
from pipeline.delivery.pending import PendingBatch, PendingState, size_of
from pipeline.delivery.rows import Fate
from pipeline.delivery.writes import DeliveryWrites, Outgoing, Record
from pipeline.model.attempt import Attempt, Outcome, Parked, encode_attempt, encode_parked
from pipeline.model.batch import Batch, encode_batch


class OwnedPartition:
    """One partition of the batches topic that this worker owns."""

    __slots__ = ("lanes", "outgoing", "state")

    def __init__(self, state: PendingState) -> None:
        self.state = state
        self.lanes: dict[str, Lane] = {}
        self.outgoing = Outgoing()


class Endings:
    """The partitions' state and records; ``outgoing_bytes`` is the size of all records that wait to be taken."""

    def __init__(self, kind: str, clock: Clock, bodies: Bodies, observer: DeliveryObserver) -> None:
        self.kind = kind
        self.partitions: dict[int, OwnedPartition] = {}
        self.outgoing_bytes = 0
        self._clock = clock
        self._bodies = bodies
        self._observer = observer

    def tried(
        self,
        lane: Lane,
        pending: PendingBatch,
        outcome: Outcome,
        *,
        started_at: float,
        next_at: float | None,
        final: Fate | None,
        arrived_events: int,
        given_up_events: int,
    ) -> None:
        """A try of ``pending``, as it was then, ended; ``attempts`` already counts it. Times are UNIX seconds."""
        record = Attempt(
            batch=pending.name(lane.name),
            integration=lane.integration_id,
            kind=self.kind,
            attempt=pending.attempts,
            at=started_at,
            events=pending.events,
            verdict=outcome.verdict,
            detail=outcome.detail,
            duration_s=outcome.duration_s,
            request_bytes=outcome.request_bytes,
            answer_bytes=outcome.answer_bytes,
            status=outcome.status,
            answer_head=outcome.answer_head,
            next_at=next_at,
            final=final,
            arrived=arrived_events,
            given_up=given_up_events,
        )
        outgoing = self.partitions[lane.partition].outgoing
        self._add(outgoing, outgoing.attempts, lane, encode_attempt(record))
        self._observer.attempted(lane.name, pending.attempts, outcome, next_at)

    def _add(self, outgoing: Outgoing, records: list[Record], lane: Lane, value: bytes) -> None:
        self.outgoing_bytes += outgoing.add(records, lane.integration_id, value, self._clock.monotonic_s())

    def state_of(self, lane: Lane) -> PendingState:
        """The state that the lane's rows are in."""
        return self.partitions[lane.partition].state

    def retried_at(self, lane: Lane, pending: PendingBatch, next_at: float) -> None:
        """The batch is tried again at ``next_at``, UNIX seconds."""
        self.state_of(lane).touch(lane.name).retry_at(pending, next_at)
        self._bodies.settle(lane, pending, self._clock.monotonic_s())

    def give_up(self, lane: Lane, pending: PendingBatch, body: Batch, fate: Fate, reason: str) -> None:
        """The batch gives up: it is parked, handed out whole, or discarded."""
        if fate is Fate.PARKED:
            value = encode_parked(Parked(encode_batch(body), self.kind, reason, pending.attempts, self._clock.wall_s()))
            outgoing = self.partitions[lane.partition].outgoing
            outgoing.parking_lanes.add(lane.name)
            self._add(outgoing, outgoing.parked, lane, value)
        self.finish(lane, pending, fate, reason)

    def finish(self, lane: Lane, pending: PendingBatch, fate: Fate, reason: str = "") -> None:
        """The batch is done."""
        now = self._clock.wall_s()
        self._bodies.drop(lane, pending)
        self.state_of(lane).touch(lane.name).finish(pending, fate, now=now, reason=reason)
        self._observer.finished(lane.name, pending.events, fate, max(0.0, now - pending.sealed_at), reason)

    def arrived(self, lane: Lane, pending: PendingBatch, body: Batch) -> None:
        """All of the batch has been delivered but the events in ``body``."""
        self._bodies.drop(lane, pending)
        events = pending.events
        self.state_of(lane).touch(lane.name).keep_only(pending, body.ranges)
        self._hold(lane, pending, body)
        self._observer.arrived(lane.name, events - pending.events)

    def split(self, lane: Lane, pending: PendingBatch, body: Batch, part: Batch, rest: Batch) -> PendingBatch:
        """The batch, whose body is ``body``, becomes two: ``part``, which is returned, and ``rest``."""
        assert part.event_count + rest.event_count == body.event_count, "every event is in one of the two"
        self._bodies.drop(lane, pending)
        split_off = self.state_of(lane).touch(lane.name).split(pending, part.ranges)
        self._hold(lane, pending, rest)
        self._hold(lane, split_off, part)
        return split_off

    def _hold(self, lane: Lane, pending: PendingBatch, body: Batch) -> None:
        pending.size_bytes = size_of(body)
        self._bodies.hold(lane, pending, body)

    def forget(self, partition: int) -> OwnedPartition | None:
        """The partition is not ours any more."""
        owned = self.partitions.pop(partition, None)
        if owned is not None:
            self.outgoing_bytes -= owned.outgoing.size_bytes
        return owned

    def has_writes(self, partition: int) -> bool:
        """Whether ``take`` has something to give."""
        owned = self.partitions.get(partition)
        return owned is not None and bool(owned.state.has_changes or owned.outgoing.size_bytes)

    def take(self, partition: int) -> DeliveryWrites:
        """Hand out what is to be written."""
        owned = self.partitions.get(partition)
        if owned is None:
            return DeliveryWrites()
        self.outgoing_bytes -= owned.outgoing.size_bytes
        return owned.outgoing.take(owned.state)

    def recorded(self, writes: DeliveryWrites) -> None:
        """All of ``writes`` is acknowledged."""
        if writes.since_s is not None:
            self._observer.recorded(self._clock.monotonic_s() - writes.since_s)
