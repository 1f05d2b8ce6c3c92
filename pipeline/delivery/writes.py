"""What the delivery core hands out to be written."""

from dataclasses import dataclass, field

from pipeline.delivery.rows import RowGroup

Record = tuple[bytes, bytes]
"""Key (the integration) and value."""


@dataclass(slots=True)
class DeliveryWrites:
    """Everything since the last take: the records are to be acknowledged before the row groups are sent, in order.

    ``since_s`` is when (monotonic) the first of the records came; ``None`` where there are none.
    """

    attempts: list[Record] = field(default_factory=list)
    parked: list[Record] = field(default_factory=list)
    groups: list[RowGroup] = field(default_factory=list)
    since_s: float | None = None


class Outgoing:
    """The records of one partition that wait to be taken."""

    __slots__ = ("attempts", "parked", "since_s", "size_bytes")

    def __init__(self) -> None:
        self.attempts: list[Record] = []
        self.parked: list[Record] = []
        self.size_bytes = 0
        self.since_s: float | None = None

    def add(self, records: list[Record], integration_id: str, value: bytes, now_s: float) -> int:
        """Add a record to one of the two lists at ``now_s`` (monotonic); returns its size in bytes."""
        if self.since_s is None:
            self.since_s = now_s
        records.append((integration_id.encode(), value))
        self.size_bytes += len(value)
        return len(value)

    def take(self) -> DeliveryWrites:
        """Hand out the records; groups are to be added."""
        writes = DeliveryWrites(self.attempts, self.parked, since_s=self.since_s)
        self.attempts, self.parked, self.size_bytes, self.since_s = [], [], 0, None
        return writes
