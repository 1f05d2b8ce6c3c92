"""A lane's counters: in all, and by the hour in which an event's window was opened."""

from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import ROW_VERSION, Fate, HourRow, LaneRow

HOURS_KEPT = 14 * 24
"""Hours whose counts are kept: longer than anything waits and is parked. Of older ones only what waits keeps its row."""


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

    __slots__ = ("done", "registered")

    def __init__(self) -> None:
        self.registered = 0
        self.done = dict.fromkeys(Fate, 0)

    @property
    def waiting(self) -> int:
        """Events that are not done."""
        return self.registered - sum(self.done.values())


class Hours:
    """A lane's counts by hour (UNIX seconds / 3600)."""

    def __init__(self) -> None:
        self.by_hour: dict[int, HourCount] = {}
        self._changed: set[int] = set()

    def registered(self, hour: int, events: int) -> None:
        """So many more came; hours that are long over are forgotten."""
        if hour not in self.by_hour:
            for old in [each for each in self.by_hour if each < hour - HOURS_KEPT and not self.by_hour[each].waiting]:
                del self.by_hour[old]
                self._changed.add(old)
        self._count(hour).registered += events

    def add(self, hour: int, fate: Fate, events: int) -> None:
        """So many more ended so; fewer, where ``events`` is below 0."""
        self._count(hour).done[fate] += events

    def restore(self, hour: int, row: HourRow) -> None:
        """As a stored row has it."""
        count = self.by_hour[hour] = HourCount()
        count.registered = row.registered
        count.done.update({Fate.DELIVERED: row.delivered, Fate.PARKED: row.parked, Fate.DISCARDED: row.discarded})

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
        done = count.done
        return HourRow(ROW_VERSION, count.registered, done[Fate.DELIVERED], done[Fate.PARKED], done[Fate.DISCARDED])
