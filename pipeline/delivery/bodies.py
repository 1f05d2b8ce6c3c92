"""Which bodies stay in memory, and when a worker has its hands full.

What is not kept is read back from the batches topic when its turn comes. A lane may keep what it delivered in the last
five seconds, since it will need that again as soon, and beyond that a share of what is free (a quarter of it: however
many lanes ask, some stays free), as long as it is getting on. A lane that is stalled keeps what is in flight and a few.
"""

import math

from pipeline.delivery.endpoint import DeliveryObserver
from pipeline.delivery.lane import Lane
from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.pending import PendingBatch
from pipeline.model.batch import Batch

RECENT_S = 5.0
_SHARE_OF_FREE = 0.25
_REVIEW_EVERY_S = 1.0


class Bodies:
    """The bodies in memory, over all lanes. Times are monotonic seconds, sizes bytes."""

    def __init__(self, limits: DeliveryLimits, observer: DeliveryObserver) -> None:
        self.resident_bytes = 0
        self._limits = limits
        self._observer = observer
        self._lanes: dict[Lane, None] = {}
        self._reviewed_at_s = -math.inf
        self._stalled_bytes = 0

    def use_limits(self, limits: DeliveryLimits) -> None:
        """Keep to other bounds from now on."""
        self._limits = limits

    def hold(self, lane: Lane, pending: PendingBatch, body: Batch) -> None:
        """Keep a body."""
        pending.body = body
        lane.held[pending] = None
        lane.held_bytes += pending.size_bytes
        self.resident_bytes += pending.size_bytes
        self._lanes[lane] = None

    def drop(self, lane: Lane, pending: PendingBatch) -> None:
        """Let go of a body, if it is here."""
        if pending.body is None:
            return
        pending.body = None
        del lane.held[pending]
        lane.held_bytes -= pending.size_bytes
        self.resident_bytes -= pending.size_bytes
        if not lane.held:
            del self._lanes[lane]

    def drop_lane(self, lane: Lane) -> None:
        """Let go of all of a lane's bodies."""
        for pending in list(lane.held):
            self.drop(lane, pending)

    def spill(self, lane: Lane, pending: PendingBatch) -> None:
        """Let go of a body that will be needed again."""
        self.drop(lane, pending)
        self._observer.spilled(lane.name, pending.size_bytes)

    def may_hold(self, lane: Lane, size_bytes: int, now_s: float) -> bool:
        """Whether the lane may keep ``size_bytes`` more."""
        if not lane.cap:
            return False
        if self.resident_bytes + size_bytes > self._limits.resident_bytes:
            self._review(now_s)
            if self.resident_bytes + size_bytes > self._limits.resident_bytes:
                return False
        if len(lane.held) < lane.cap + self._limits.spare_bodies:
            return True
        return lane.held_bytes + size_bytes <= self._allowance(lane, now_s)

    def settle(self, lane: Lane, pending: PendingBatch, now_s: float) -> None:
        """A try failed: keep the body for the next one, or let it go."""
        if not self.may_hold(lane, 0, now_s):
            self.spill(lane, pending)

    def finished(self, lane: Lane, size_bytes: int, now_s: float) -> None:
        """A try ended a batch, for good or ill: the lane is getting on."""
        lane.recent_bytes = self._recent(lane, now_s) + size_bytes
        lane.recent_at_s = lane.progress_at_s = now_s

    def has_room_to_read_ahead(self) -> bool:
        """Whether bodies may be read back before they are needed at once."""
        return self.resident_bytes < self._limits.busy_bytes

    def is_busy(self, now_s: float) -> bool:
        """Whether lanes that are getting on hold as much as the worker should take in."""
        if self.resident_bytes < self._limits.busy_bytes:
            return False
        self._review(now_s)
        return self.resident_bytes - self._stalled_bytes >= self._limits.busy_bytes

    def _is_stalled(self, lane: Lane, now_s: float) -> bool:
        return now_s - lane.progress_at_s > self._limits.stalled_after_s

    def _recent(self, lane: Lane, now_s: float) -> float:
        return lane.recent_bytes * math.exp((lane.recent_at_s - now_s) / RECENT_S)

    def _allowance(self, lane: Lane, now_s: float) -> float:
        recent_bytes = self._recent(lane, now_s)
        if self._is_stalled(lane, now_s):
            return recent_bytes
        return max(recent_bytes, (self._limits.resident_bytes - self.resident_bytes) * _SHARE_OF_FREE)

    def _review(self, now_s: float) -> None:
        """Take from stalled lanes what they do not need at once, and see what they still hold. Once a second at most."""
        if now_s - self._reviewed_at_s < _REVIEW_EVERY_S:
            return
        self._reviewed_at_s = now_s
        self._stalled_bytes = 0
        for lane in list(self._lanes):
            if self._is_stalled(lane, now_s):
                for pending in [pending for pending in lane.held if not pending.is_in_flight]:
                    self.spill(lane, pending)
                self._stalled_bytes += lane.held_bytes
