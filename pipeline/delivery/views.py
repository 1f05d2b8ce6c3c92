"""A lane as people and the ledger see it."""

from dataclasses import dataclass

from pipeline.delivery.lane import Lane
from pipeline.delivery.pending import PendingLane
from pipeline.delivery.rows import Fate


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane's figures: ``registered_events`` = waiting + delivered + parked + discarded events.

    ``oldest_sealed_at`` and ``oldest_parked_at`` are UNIX seconds.
    ``in_flight`` of the waiting batches are being tried, ``retrying_batches`` have failed at least once, and
    ``resident_bytes`` of their bodies are in memory. ``replayable_batches`` of the parked ones are still to be had.
    """

    lane: str
    partition: int
    registered_events: int
    waiting_events: int
    waiting_batches: int
    delivered_events: int
    delivered_batches: int
    parked_events: int
    parked_batches: int
    discarded_events: int
    discarded_batches: int
    in_flight: int
    retrying_batches: int
    resident_bytes: int
    oldest_sealed_at: float | None
    oldest_parked_at: float | None
    is_halted: bool
    is_breaker_open: bool
    replayable_batches: int


def view_of(partition: int, pending: PendingLane, lane: Lane | None) -> LaneView:
    """The lane as it stands; ``lane`` is its queue, if it has had something to do."""
    waiting = pending.waiting.values()
    return LaneView(
        lane=pending.name,
        partition=partition,
        registered_events=pending.registered,
        waiting_events=pending.waiting_events,
        waiting_batches=len(pending.waiting),
        delivered_events=pending.counts.events[Fate.DELIVERED],
        delivered_batches=pending.counts.batches[Fate.DELIVERED],
        parked_events=pending.counts.events[Fate.PARKED],
        parked_batches=pending.counts.batches[Fate.PARKED],
        discarded_events=pending.counts.events[Fate.DISCARDED],
        discarded_batches=pending.counts.batches[Fate.DISCARDED],
        in_flight=lane.in_flight if lane else 0,
        retrying_batches=sum(1 for batch in waiting if batch.attempts),
        resident_bytes=lane.held_bytes if lane else 0,
        oldest_sealed_at=min((batch.sealed_at for batch in waiting), default=None),
        oldest_parked_at=next((row.parked_at for row in pending.parked.values()), None),
        is_halted=bool(pending.halted_for),
        is_breaker_open=lane.gate.is_breaker_open if lane else pending.breaker is not None,
        replayable_batches=len(pending.parked),
    )
