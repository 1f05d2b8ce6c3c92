"""What the delivery core hands out to be written."""

from dataclasses import dataclass, field

from pipeline.delivery.pending import PendingState
from pipeline.delivery.rows import RowGroup

Record = tuple[bytes, bytes]
"""Key (the integration) and value."""


@dataclass(slots=True)
class DeliveryWrites:
    """Everything since the last take.

    First ``groups`` are to be stored and then ``groups_after_parked``, each in order and the latter only once ``parked`` is
    acknowledged: they are of lanes that parked something, which has left their rows. ``since_s`` is when (monotonic) the
    first of the records came; ``None`` where there are none.
    """

    attempts: list[Record] = field(default_factory=list)
    parked: list[Record] = field(default_factory=list)
    groups: list[RowGroup] = field(default_factory=list)
    groups_after_parked: list[RowGroup] = field(default_factory=list)
    since_s: float | None = None


class Outgoing:
    """The records of one partition that wait to be taken."""

    __slots__ = ("attempts", "parked", "parking_lanes", "since_s", "size_bytes")

    def __init__(self) -> None:
        self.attempts: list[Record] = []
        self.parked: list[Record] = []
        self.parking_lanes: set[str] = set()
        """The lanes that ``parked`` is of."""
        self.size_bytes = 0
        self.since_s: float | None = None

    def add(self, records: list[Record], integration_id: str, value: bytes, now_s: float) -> int:
        """Add a record to one of the two lists at ``now_s`` (monotonic); returns its size in bytes."""
        if self.since_s is None:
            self.since_s = now_s
        records.append((integration_id.encode(), value))
        self.size_bytes += len(value)
        return len(value)

    def take(self, state: PendingState) -> DeliveryWrites:
        """Hand out the records, and what changed in the rows of ``state``."""
        others = state.take(but_of=self.parking_lanes)
        writes = DeliveryWrites(self.attempts, self.parked, others, state.take(), self.since_s)
        self.attempts, self.parked, self.parking_lanes = [], [], set()
        self.size_bytes, self.since_s = 0, None
        return writes
