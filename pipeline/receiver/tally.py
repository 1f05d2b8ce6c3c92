"""What a receiver has been sent, counted so that a lost, repeated or skipped event shows."""

from collections import Counter
from typing import Any, Final, NamedTuple

from pipeline.receiver.ranges import SeenRanges

_SHOWN_HOLES: Final = 20


class Delivery(NamedTuple):
    """One accepted request: the batch's id and place in its lane's sequence, and its events' uuids where they were read.

    ``uuids`` holds ``None`` for events that have none; it is itself ``None`` where bodies are not read.
    """

    webhook_id: str
    lane: str
    first: int
    end: int
    uuids: list[str | None] | None
    body_bytes: int


class _Lane:
    __slots__ = ("batches", "late_batches", "repeated_events", "repeated_uuids", "seen", "sequence_of")

    def __init__(self) -> None:
        self.seen = SeenRanges()
        self.batches = 0
        self.late_batches = 0
        self.repeated_events = 0
        self.repeated_uuids = 0
        self.sequence_of: dict[str, int] = {}


class Tally:
    """Counts deliveries. A uuid counts once a lane, since several integrations may match the same event."""

    def __init__(self) -> None:
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.problems: Counter[str] = Counter()
        self._lanes: dict[str, _Lane] = {}
        self._webhook_ids: set[str] = set()
        self._batches = 0
        self._duplicate_batches = 0
        self._events = 0
        self._events_without_uuid = 0
        self._body_bytes = 0
        self._first_at_s: float | None = None
        self._last_at_s: float | None = None

    def accept(self, delivery: Delivery, *, now_s: float) -> None:
        """Count a request that is answered with success, at ``now_s`` (UNIX seconds)."""
        lane = self._lanes.get(delivery.lane)
        if lane is None:
            lane = self._lanes[delivery.lane] = _Lane()
        self._batches += 1
        self._events += delivery.end - delivery.first
        self._body_bytes += delivery.body_bytes
        self._first_at_s = now_s if self._first_at_s is None else self._first_at_s
        self._last_at_s = now_s
        lane.batches += 1
        if delivery.webhook_id in self._webhook_ids:
            self._duplicate_batches += 1
        elif delivery.first < (lane.seen.end() or 0):
            lane.late_batches += 1
        self._webhook_ids.add(delivery.webhook_id)
        lane.repeated_events += lane.seen.add(delivery.first, delivery.end)
        for sequence, uuid in enumerate(delivery.uuids or (), start=delivery.first):
            if uuid is None:
                self._events_without_uuid += 1
            elif lane.sequence_of.setdefault(uuid, sequence) != sequence:
                lane.repeated_uuids += 1

    def stats(self) -> dict[str, Any]:
        """Everything counted, ready for JSON.

        ``unique_events`` counts sequence numbers, once each; ``unique_uuids`` counts uuids once a lane, and
        ``repeated_uuids`` those that came again under another number (both 0 where bodies are not read). ``missing`` are
        numbers below a lane's highest that have not come: final only when the sender is done, since batches that travel
        side by side overtake each other (``late_batches``).
        """
        lanes = {name: _lane_stats(lane) for name, lane in sorted(self._lanes.items())}
        return {
            "requests": self.requests,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "problems": dict(self.problems),
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


def _lane_stats(lane: _Lane) -> dict[str, Any]:
    holes = lane.seen.holes()
    return {
        "first": lane.seen.first(),
        "end": lane.seen.end(),
        "batches": lane.batches,
        "late_batches": lane.late_batches,
        "unique_events": lane.seen.count(),
        "repeated_events": lane.repeated_events,
        "missing_events": sum(end - first for first, end in holes),
        "missing": [f"{first}-{end}" for first, end in holes[:_SHOWN_HOLES]],
        "unique_uuids": len(lane.sequence_of),
        "repeated_uuids": lane.repeated_uuids,
    }
