"""One timer for everything that is due later."""

import asyncio
import enum
import heapq
from collections.abc import Callable, Container, Iterator

from pipeline.clock import Clock
from pipeline.delivery.lane import Lane
from pipeline.delivery.pending import PendingBatch


class Due(enum.Enum):
    """What is due of a lane as a whole."""

    EXPIRY = enum.auto()  # its oldest batch may have waited too long
    TURN = enum.auto()  # what held it back may be over


_Entry = tuple[float, int, Lane, PendingBatch | Due]


class DueTimer:
    """A heap of due times and one timer of the event loop, set for the earliest.

    An entry is a batch whose next try is due, or something that is due of a lane. Times are monotonic seconds; what is
    stored or shown as UNIX seconds is turned into them when it is added, so a step of the wall clock moves nothing that is
    already here.
    """

    def __init__(self, clock: Clock, on_due: Callable[[], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._heap: list[_Entry] = []
        self._added = 0
        self._handle: asyncio.TimerHandle | None = None
        self._handle_due_s = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def add_at(self, due_at: float, lane: Lane, what: PendingBatch | Due) -> None:
        """Due at ``due_at``, UNIX seconds."""
        self.add_in(max(0.0, due_at - self._clock.wall_s()), lane, what)

    def add_in(self, delay_s: float, lane: Lane, what: PendingBatch | Due) -> None:
        """Due in ``delay_s``."""
        self._added += 1
        heapq.heappush(self._heap, (self._clock.monotonic_s() + delay_s, self._added, lane, what))
        self.call_in(delay_s)

    def pop_due(self) -> Iterator[tuple[Lane, PendingBatch | Due]]:
        """Take what is due, the earliest first."""
        now_s = self._clock.monotonic_s()
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            _, _, lane, what = heapq.heappop(heap)
            yield lane, what

    def drop_revoked(self) -> None:
        """Forget entries of lanes that were revoked."""
        self._heap = [entry for entry in self._heap if not entry[2].is_revoked]
        heapq.heapify(self._heap)

    def drop(self, lanes: Container[Lane]) -> None:
        """Forget entries of these lanes."""
        self._heap = [entry for entry in self._heap if entry[2] not in lanes]
        heapq.heapify(self._heap)

    def call_in(self, delay_s: float) -> None:
        """Have ``on_due`` called in ``delay_s`` at the latest."""
        due_s = self._clock.monotonic_s() + delay_s
        if self._handle is not None:
            if due_s >= self._handle_due_s:
                return
            self._handle.cancel()
        self._handle_due_s = due_s
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._on_due)

    def rearm(self) -> None:
        """Set the timer for the earliest entry, after ``on_due`` was called."""
        self.close()
        if self._heap:
            self.call_in(max(0.0, self._heap[0][0] - self._clock.monotonic_s()))

    def close(self) -> None:
        """Stop the timer; the entries stay."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
