"""Whose turn it is: deficit round robin by bytes over the lanes that have something to send."""

from collections import deque

from pipeline.delivery.lane import Lane
from pipeline.delivery.pending import PendingBatch


class Rotation:
    """Ready lanes in turn. While slots are scarce each gets about the same bytes, at a cost that knows no number of lanes."""

    def __init__(self, quantum_bytes: int) -> None:
        self.quantum_bytes = quantum_bytes
        self._lanes: deque[Lane] = deque()

    def add(self, lane: Lane) -> None:
        """The lane may have something to send."""
        if not lane.is_in_rotation:
            lane.is_in_rotation = True
            self._lanes.append(lane)

    def next(self) -> tuple[Lane, PendingBatch] | None:
        """The batch whose turn it is, at the head of its lane; the lane's turn is charged when it is sent (``charge``).

        A lane that offers nothing leaves; whoever changes that adds it again.
        """
        lanes = self._lanes
        while lanes:
            lane = lanes[0]
            pending = None if lane.is_revoked else lane.head()
            if pending is None:
                lanes.popleft()
                lane.is_in_rotation = False
                if not lane.first_tries and not lane.retries:
                    lane.spent_bytes = 0  # what an idle lane did not use, it does not save up
            elif lane.spent_bytes + pending.size_bytes > self.quantum_bytes:
                lane.spent_bytes -= self.quantum_bytes
                lanes.rotate(-1)
            else:
                return lane, pending
        return None

    def charge(self, lane: Lane, pending: PendingBatch) -> None:
        """The lane sends that batch."""
        lane.spent_bytes += pending.size_bytes

    def leave(self, lane: Lane) -> None:
        """The lane whose turn it is waits for something; whoever ends that adds it again."""
        self._lanes.popleft()
        lane.is_in_rotation = False
