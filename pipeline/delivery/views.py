"""A lane as people and the ledger see it."""

from typing import NamedTuple

from pipeline.delivery.lane import Lane
from pipeline.delivery.pending import PendingLane
from pipeline.delivery.rows import Fate


class LaneView(NamedTuple):
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
    events, batches = pending.counts.events, pending.counts.batches
    # Most lanes have nothing that waits; there may be thousands of them.
    waiting = pending.waiting.values() if pending.waiting else ()
    return LaneView(
        lane=pending.name,
        partition=partition,
        registered_events=pending.registered,
        waiting_events=pending.waiting_events,
        waiting_batches=len(waiting),
        delivered_events=events[Fate.DELIVERED],
        delivered_batches=batches[Fate.DELIVERED],
        parked_events=events[Fate.PARKED],
        parked_batches=batches[Fate.PARKED],
        discarded_events=events[Fate.DISCARDED],
        discarded_batches=batches[Fate.DISCARDED],
        in_flight=lane.in_flight if lane else 0,
        retrying_batches=sum(1 for batch in waiting if batch.attempts) if waiting else 0,
        resident_bytes=lane.held_bytes if lane else 0,
        oldest_sealed_at=min(batch.sealed_at for batch in waiting) if waiting else None,
        oldest_parked_at=next(iter(pending.parked.values())).parked_at if pending.parked else None,
        is_halted=bool(pending.halted_for),
        is_breaker_open=lane.gate.is_breaker_open if lane else pending.breaker is not None,
        replayable_batches=len(pending.parked),
    )
