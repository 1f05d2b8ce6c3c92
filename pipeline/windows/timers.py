"""Which lane's window is to be looked at when, at a cost that follows what is due and not the number of lanes."""

import heapq
import math
from collections.abc import Iterable

from pipeline.windows.lane import LaneWindow


class AgeTimers:
    """One timer a lane. Entries are not taken out when a window is sealed early: they are found to be void when due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []

    def arm(self, lane: LaneWindow, due_s: float) -> None:
        """Look at the lane at ``due_s`` or, if it has an earlier timer, then."""
        if due_s < lane.timer_s:
            lane.timer_s = due_s
            heapq.heappush(self._heap, (due_s, lane.name))

    def pop_due(self, lanes: dict[str, LaneWindow], now_s: float) -> LaneWindow | None:
        """Take the next lane that is to be looked at, if one is; its timer is off then."""
        heap = self._heap
        while heap and heap[0][0] <= now_s:
            due_s, name = heapq.heappop(heap)
            lane = lanes[name]
            if lane.timer_s == due_s:
                lane.timer_s = math.inf
                return lane
        return None

    def rearm(self, lanes: Iterable[tuple[float, LaneWindow]]) -> None:
        """Forget all timers and set these; a lane that is not among them must be marked as having none."""
        self._heap.clear()
        for due_s, lane in lanes:
            lane.timer_s = due_s
            self._heap.append((due_s, lane.name))
        heapq.heapify(self._heap)
