"""A lane's counters: in all, and by the hour in which an event's window was opened."""

from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import ROW_VERSION, Fate, HourRow, LaneRow

HOURS_KEPT = 2 * 24
"""Hours whose counts are kept in any case; longer, where something of them waits or is parked."""
_LONGEST_KEPT = 21 * 24


class Counts:
    """Events and batches by how they ended."""

    def __init__(self) -> None:
        self.events = dict.fromkeys(Fate, 0)
        self.batches = dict.fromkeys(Fate, 0)

    @classmethod
    def of(cls, row: LaneRow) -> "Counts":
        """As a stored row has them."""
        counts = cls()
        counts.add(Fate.DELIVERED, row.delivered_events, row.delivered_batches)
        counts.add(Fate.PARKED, row.parked_events, row.parked_batches)
        counts.add(Fate.DISCARDED, row.discarded_events, row.discarded_batches)
        return counts

    @property
    def done_events(self) -> int:
        """Events that wait no more."""
        return sum(self.events.values())

    def add(self, fate: Fate, events: int, batches: int) -> None:
        """So many more ended so."""
        self.events[fate] += events
        self.batches[fate] += batches

    def row(self, registered: int, halted_for: str, breaker: BreakerRow | None) -> LaneRow:
        """The lane's row as things stand."""
        events, batches = self.events, self.batches
        return LaneRow(
            ROW_VERSION,
            registered,
            events[Fate.DELIVERED],
            batches[Fate.DELIVERED],
            events[Fate.PARKED],
            batches[Fate.PARKED],
            events[Fate.DISCARDED],
            batches[Fate.DISCARDED],
            halted_for,
            breaker,
        )


class HourCount:
    """Events of the windows that were opened in one hour."""

    __slots__ = ("delivered", "discarded", "parked", "registered")

    def __init__(self, registered: int = 0, delivered: int = 0, parked: int = 0, discarded: int = 0) -> None:
        self.registered = registered
        self.delivered = delivered
        self.parked = parked
        self.discarded = discarded

    @property
    def waiting(self) -> int:
        """Events that are not done."""
        return self.registered - self.delivered - self.parked - self.discarded


class Hours:
    """A lane's counts by hour (UNIX seconds / 3600)."""

    def __init__(self) -> None:
        self.by_hour: dict[int, HourCount] = {}
        self._changed: set[int] = set()

    def registered(self, hour: int, events: int) -> None:
        """So many more came; hours that are long over are forgotten."""
        if hour not in self.by_hour:
            for old in [each for each, count in self.by_hour.items() if _may_go(each, count, hour)]:
                del self.by_hour[old]
                self._changed.add(old)
        self._count(hour).registered += events

    def add(self, hour: int, fate: Fate, events: int) -> None:
        """So many more ended so; fewer, where ``events`` is below 0."""
        count = self._count(hour)
        match fate:
            case Fate.DELIVERED:
                count.delivered += events
            case Fate.PARKED:
                count.parked += events
            case Fate.DISCARDED:
                count.discarded += events

    def recall(self, hour: int, parked: int) -> None:
        """Events that were parked are taken up again; count them in an hour that was forgotten meanwhile."""
        if hour not in self.by_hour:
            count = self._count(hour)
            count.registered = count.parked = parked

    def restore(self, hour: int, row: HourRow) -> None:
        """As a stored row has it."""
        self.by_hour[hour] = HourCount(row.registered, row.delivered, row.parked, row.discarded)

    def take(self) -> dict[int, HourRow | None]:
        """What changed since the last take; ``None`` removes the row."""
        changed, self._changed = self._changed, set()
        return {hour: self._row(hour) for hour in changed}

    def _count(self, hour: int) -> HourCount:
        self._changed.add(hour)
        count = self.by_hour.get(hour)
        if count is None:
            count = self.by_hour[hour] = HourCount()
        return count

    def _row(self, hour: int) -> HourRow | None:
        count = self.by_hour.get(hour)
        if count is None:
            return None
        return HourRow(ROW_VERSION, count.registered, count.delivered, count.parked, count.discarded)


def _may_go(hour: int, count: HourCount, newest: int) -> bool:
    if hour >= newest - HOURS_KEPT or count.waiting:
        return False
    return not count.parked or hour < newest - _LONGEST_KEPT
