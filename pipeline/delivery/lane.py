"""One lane at work: what is ready, what is under way, what is to be parked."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from pipeline.delivery.endpoint import Endpoint, is_other_address
from pipeline.delivery.gate import Gate
from pipeline.delivery.pending import PendingBatch, PendingLane
from pipeline.model.batch import Batch, integration_of

FIRST_TRIES_A_RETRY: Final = 3
"""So many first tries go before a retry that is due. What is new has the better chance; but a lane that is behind is never without
it, and would park what failed once without having tried it again."""


class Lane:
    """The queue of a lane, in memory. Batches that wait for their next try are in the core's timer, not here.

    An unordered lane offers first tries before retries, a few to each. An ordered lane has one batch under way, and while that waits for
    its next try (``is_paused``) it offers nothing.
    """

    __slots__ = (
        "endpoint",
        "first_tries",
        "gate",
        "has_expiry_timer",
        "held",
        "held_bytes",
        "in_flight",
        "integration_id",
        "is_asking_to_read",
        "is_in_rotation",
        "is_ordered",
        "is_paused",
        "is_reading",
        "is_revoked",
        "max_wait_s",
        "name",
        "partition",
        "pending",
        "progress_at_s",
        "recent_at_s",
        "recent_bytes",
        "retries",
        "spent_bytes",
        "times_passed_over",
        "to_give_up",
        "turn_due_s",
    )

    def __init__(self, partition: int, pending: PendingLane, endpoint: Endpoint | None, now_s: float) -> None:
        self.name = pending.name
        self.partition = partition
        self.pending = pending
        self.endpoint = endpoint
        self.integration_id = integration_of(pending.name)
        integration = endpoint.integration if endpoint else None
        self.gate = Gate(pending, endpoint)
        self.is_ordered = integration.ordered if integration else False
        self.max_wait_s = integration.max_wait_s if integration else 0.0
        self.first_tries: deque[PendingBatch] = deque()
        self.retries: deque[PendingBatch] = deque()
        self.times_passed_over = 0
        self.to_give_up: deque[tuple[PendingBatch, str]] = deque()
        self.in_flight = 0
        self.is_paused = False
        self.is_revoked = False
        self.has_expiry_timer = False
        self.turn_due_s = math.inf
        # of the rotation
        self.spent_bytes = 0
        self.is_in_rotation = False
        # of reading back
        self.is_asking_to_read = False
        self.is_reading = False
        # of the bodies in memory
        self.held: dict[PendingBatch, None] = {}
        self.held_bytes = 0
        self.recent_bytes = 0.0
        self.recent_at_s = now_s
        self.progress_at_s = now_s

    def replace(self, endpoint: Endpoint | None) -> None:
        """The integration was changed, or removed; the queue is empty afterwards and to be filled again."""
        self.endpoint = endpoint
        self.gate.replace(endpoint)
        self.is_ordered = endpoint.integration.ordered if endpoint else False
        self.max_wait_s = endpoint.integration.max_wait_s if endpoint else 0.0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Empty the queue, which is to be filled again; the timer knows nothing of the lane any more."""
        self.first_tries.clear()
        self.retries.clear()
        self.is_paused = self.has_expiry_timer = False
        self.turn_due_s = math.inf

    @property
    def cap(self) -> int:
        """How many tries may be under way at once, as things are; 0 where none may."""
        return self.gate.cap

    def head(self) -> PendingBatch | None:
        """The batch to try next, if one may be tried now."""
        if self.in_flight >= self.gate.cap or self.is_paused:
            return None
        if self._is_retry_next(len(self.first_tries), len(self.retries), self.times_passed_over):
            return self.retries[0]
        return self.first_tries[0] if self.first_tries else None

    def pop(self) -> None:
        """The head goes under way."""
        if self._is_retry_next(len(self.first_tries), len(self.retries), self.times_passed_over):
            self.retries.popleft()
            self.times_passed_over = 0
        else:
            self.first_tries.popleft()
            self.times_passed_over = self.times_passed_over + 1 if self.retries else 0

    def add(self, pending: PendingBatch) -> None:
        """A batch whose turn comes after those that are here."""
        if pending.attempts and not self.is_ordered:
            self.retries.append(pending)
        else:
            self.first_tries.append(pending)

    def put_back(self, pending: PendingBatch) -> None:
        """A batch that was the head is that again; where the lane is ordered, behind those that come before it."""
        behind = 0
        while self.is_ordered and behind < len(self.first_tries) and self.first_tries[behind].first < pending.first:
            behind += 1
        self.first_tries.insert(behind, pending)

    def withdraw(self, pending: PendingBatch) -> bool:
        """Take a batch out of the queue, wherever it stands there; gives whether it did."""
        for queue in (self.first_tries, self.retries):
            if pending in queue:
                queue.remove(pending)
                return True
        for given_up in self.to_give_up:
            if given_up[0] is pending:
                self.to_give_up.remove(given_up)
                return True
        return False

    def upcoming(self, count: int) -> Iterator[PendingBatch]:
        """The next ``count`` batches in the order of their turns."""
        first_tries, retries = iter(self.first_tries), iter(self.retries)
        firsts_left, retries_left, passed_over = len(self.first_tries), len(self.retries), self.times_passed_over
        for _ in range(min(count, firsts_left + retries_left)):
            if self._is_retry_next(firsts_left, retries_left, passed_over):
                retries_left, passed_over = retries_left - 1, 0
                yield next(retries)
            else:
                firsts_left, passed_over = firsts_left - 1, passed_over + 1 if retries_left else 0
                yield next(first_tries)

    @staticmethod
    def _is_retry_next(first_tries: int, retries: int, times_passed_over: int) -> bool:
        return retries > 0 and (first_tries == 0 or times_passed_over >= FIRST_TRIES_A_RETRY)

    def take_expired(self, now: float) -> list[PendingBatch]:
        """Remove and return what has waited too long, ``now`` being UNIX seconds."""
        oldest_allowed = now - self.max_wait_s
        expired: list[PendingBatch] = []
        while self.first_tries and self.first_tries[0].sealed_at <= oldest_allowed:
            expired.append(self.first_tries.popleft())
        if any(pending.sealed_at <= oldest_allowed for pending in self.retries):
            expired += [pending for pending in self.retries if pending.sealed_at <= oldest_allowed]
            self.retries = deque(pending for pending in self.retries if pending.sealed_at > oldest_allowed)
        return expired

    def oldest_sealed_at(self) -> float | None:
        """UNIX seconds of the oldest seal among what is queued here."""
        heads = [self.first_tries[0].sealed_at] if self.first_tries else []
        heads += [pending.sealed_at for pending in self.retries]
        return min(heads, default=None)


class Flight:
    """A try under way: of what, and since when (UNIX seconds, and monotonic ones)."""

    __slots__ = ("body", "endpoint", "is_unanswered", "lane", "pending", "started_at", "started_s")

    def __init__(self, lane: Lane, pending: PendingBatch, body: Batch, started_at: float, started_s: float) -> None:
        assert lane.endpoint is not None, "a lane without an endpoint offers nothing"
        self.lane = lane
        self.endpoint = lane.endpoint
        self.pending = pending
        self.body = body
        self.started_at = started_at
        self.started_s = started_s
        self.is_unanswered = False
        """Whether it counts among the tries to endpoints that have not answered of late."""

    @property
    def is_outdated(self) -> bool:
        """Whether the integration goes elsewhere by now, or is removed: how the try ended says nothing of that."""
        now = self.lane.endpoint
        return now is not self.endpoint and (
            now is None or is_other_address(self.endpoint.integration, now.integration)
        )
