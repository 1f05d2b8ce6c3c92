"""What a receiver has been sent, counted so that a lost, repeated or skipped event shows."""

from collections import Counter
from typing import Any, Final, NamedTuple

from pipeline.model.ranges import Ranges, count_of, numbers_in
from pipeline.receiver.ranges import SeenRanges

_SHOWN_HOLES: Final = 20
_UNNUMBERED: Final = -1


class Delivery(NamedTuple):
    """One accepted request: the batch's id and place in its lane's sequence, and its events' uuids where they were read.

    ``uuids`` holds ``None`` for events that have none; it is itself ``None`` where bodies are not read. ``ranges`` names the
    numbers that came where not all of ``[first, end)`` did; ``purpose`` is ``backfill`` or ``test`` where the events have not
    just happened. ``end`` is 0 where the request names no numbers: its events are then known by their uuids alone, and
    ``announced_count`` how many it says they are, if it does.
    """

    webhook_id: str
    lane: str
    first: int
    end: int
    uuids: list[str | None] | None
    body_bytes: int
    ranges: Ranges = ()
    purpose: str | None = None
    announced_count: int = 0

    @property
    def numbers(self) -> Ranges:
        """The sequence numbers of the events that came; none where only their uuids are known."""
        return self.ranges or (((self.first, self.end),) if self.end else ())

    @property
    def is_numbered(self) -> bool:
        """Whether the request says which events of its lane's sequence came."""
        return self.end > 0

    @property
    def event_count(self) -> int:
        """How many events came."""
        if self.is_numbered:
            return count_of(self.numbers)
        return self.announced_count if self.uuids is None else len(self.uuids)


class _Lane:
    __slots__ = (
        "batches",
        "late_batches",
        "repeated_events",
        "repeated_uuids",
        "seen",
        "sequence_of",
        "unnumbered_events",
    )

    def __init__(self) -> None:
        self.seen = SeenRanges()
        self.batches = 0
        self.late_batches = 0
        self.repeated_events = 0
        self.repeated_uuids = 0
        self.sequence_of: dict[str, int] = {}
        self.unnumbered_events = 0

    def count_numbered(self, numbers: Ranges, uuids: list[str | None]) -> int:
        """Count the uuids of events whose numbers are known; returns how many have none."""
        without_uuid = 0
        for sequence, uuid in zip(numbers_in(numbers), uuids, strict=True):
            if uuid is None:
                without_uuid += 1
            elif self.sequence_of.setdefault(uuid, sequence) != sequence:
                self.repeated_uuids += 1
        return without_uuid

    def count_unnumbered(self, uuids: list[str | None]) -> int:
        """Count events that are known by their uuids alone; returns how many have none."""
        named = [uuid for uuid in uuids if uuid is not None]
        before = len(self.sequence_of)
        self.sequence_of |= dict.fromkeys(named, _UNNUMBERED)
        new = len(self.sequence_of) - before
        self.unnumbered_events += new
        self.repeated_uuids += len(named) - new
        return len(uuids) - len(named)

    def stats(self) -> dict[str, Any]:
        holes = self.seen.holes()
        return {
            "first": self.seen.first(),
            "end": self.seen.end(),
            "batches": self.batches,
            "late_batches": self.late_batches,
            "unique_events": self.seen.count() + self.unnumbered_events,
            "repeated_events": self.repeated_events,
            "missing_events": sum(end - first for first, end in holes),
            "missing": [f"{first}-{end}" for first, end in holes[:_SHOWN_HOLES]],
            "unique_uuids": len(self.sequence_of),
            "repeated_uuids": self.repeated_uuids,
        }


class _Counts:
    """What has come for one purpose, or of events that have just happened."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._webhook_ids: set[str] = set()
        self._batches = 0
        self._duplicate_batches = 0
        self._events = 0
        self._events_without_uuid = 0
        self._body_bytes = 0
        self._first_at_s: float | None = None
        self._last_at_s: float | None = None

    def accept(self, delivery: Delivery, now_s: float) -> None:
        lane = self._lanes.get(delivery.lane)
        if lane is None:
            lane = self._lanes[delivery.lane] = _Lane()
        numbers = delivery.numbers
        self._batches += 1
        self._events += delivery.event_count
        self._body_bytes += delivery.body_bytes
        self._first_at_s = now_s if self._first_at_s is None else self._first_at_s
        self._last_at_s = now_s
        lane.batches += 1
        is_repeat = delivery.webhook_id in self._webhook_ids
        if is_repeat:
            self._duplicate_batches += 1
        elif delivery.is_numbered and delivery.first < (lane.seen.end() or 0):
            lane.late_batches += 1
        self._webhook_ids.add(delivery.webhook_id)
        for first, end in numbers:
            lane.repeated_events += lane.seen.add(first, end)
        if delivery.uuids is None:
            lane.unnumbered_events += 0 if is_repeat else delivery.announced_count
        elif delivery.is_numbered:
            self._events_without_uuid += lane.count_numbered(numbers, delivery.uuids)
        else:
            self._events_without_uuid += lane.count_unnumbered(delivery.uuids)

    def stats(self) -> dict[str, Any]:
        lanes = {name: lane.stats() for name, lane in sorted(self._lanes.items())}
        return {
            "batches": self._batches,
            "duplicate_batches": self._duplicate_batches,
            "events": self._events,
            "unique_events": sum(lane["unique_events"] for lane in lanes.values()),
            "repeated_events": sum(lane["repeated_events"] for lane in lanes.values()),
            "missing_events": sum(lane["missing_events"] for lane in lanes.values()),
            "unique_uuids": sum(lane["unique_uuids"] for lane in lanes.values()),
            "repeated_uuids": sum(lane["repeated_uuids"] for lane in lanes.values()),
            "events_without_uuid": self._events_without_uuid,
            "bytes": self._body_bytes,
            "first_at": self._first_at_s,
            "last_at": self._last_at_s,
            "lanes": lanes,
        }


class Tally:
    """Counts deliveries. A uuid counts once a lane, since several integrations may match the same event."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Count from 0."""
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.problems: Counter[str] = Counter()
        self.failed_events = 0
        self._counts = _Counts()
        self._purposes: dict[str, _Counts] = {}

    def accept(self, delivery: Delivery, *, now_s: float) -> None:
        """Count a request that is answered with success, at ``now_s`` (UNIX seconds)."""
        if delivery.purpose is None:
            self._counts.accept(delivery, now_s)
        else:
            self._purposes.setdefault(delivery.purpose, _Counts()).accept(delivery, now_s)

    def stats(self) -> dict[str, Any]:
        """Everything counted, ready for JSON.

        ``unique_events`` counts sequence numbers, once each, and uuids of events that have none; ``unique_uuids`` counts uuids once a lane, and
        ``repeated_uuids`` those that came again under another number (both 0 where bodies are not read). ``missing`` are
        numbers below a lane's highest that have not come: final only when the sender is done, since batches that travel
        side by side overtake each other (``late_batches``). ``failed_events`` were named as failed in an answer, and are
        counted nowhere else. What has not just happened is counted under ``purposes``, by its purpose, and nowhere else.
        """
        return {
            "requests": self.requests,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "problems": dict(self.problems),
            "failed_events": self.failed_events,
            **self._counts.stats(),
            "purposes": {purpose: counts.stats() for purpose, counts in sorted(self._purposes.items())},
        }
