"""Rows of lanes, and of what they add up to: the ledger by integration and by hour.

A lane is seen by two stages: the window stage numbers its events, the delivery stage knows what became of those sealed. What
one has sealed and the other has not seen yet is waiting. Both are read at the same moment.
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pipeline.delivery.pending import HOUR_S, PendingLane
from pipeline.delivery.views import LaneView as DeliveryLane
from pipeline.model.batch import integration_of, purpose_of
from pipeline.model.integration import Integration
from pipeline.view.columns import Row
from pipeline.windows.lane import LaneView as WindowLane


class LaneState(enum.StrEnum):
    """How a lane is, in one word; of several the first counts."""

    GONE = "gone"  # its endpoint said that it is gone: nothing more is sent before somebody says so
    BREAKER = "breaker open"  # its endpoint fails every try: it is left alone for a while
    REMOVED = "removed"  # there is no such integration any more
    PAUSED = "paused"  # its integration is disabled
    RETRYING = "retrying"  # a batch has failed and is tried again
    FAILING = "failing"  # its last try failed, and nothing waits to be tried again
    OK = "ok"


STATES: Final = tuple(LaneState)
EVENTS: Final = ("matched", "open", "waiting", "delivered", "parked", "discarded")
"""The figures of a ledger: the first is the sum of the others."""

_ADDED: Final = frozenset(
    {
        *EVENTS,
        "missing",
        "between",
        "lanes",
        "open_bytes",
        "waiting_batches",
        "in_flight",
        "retrying_batches",
        "delivered_batches",
        "parked_batches",
        "replayable_batches",
        "discarded_batches",
        "resident_bytes",
    }
)
_EARLIEST: Final = ("opened_at", "oldest_parked_at", "waiting_since")


class LaneFigures(NamedTuple):
    """One lane as both stages see it. ``deliveries`` are by kind of sink: one, unless its integration has changed its kind."""

    lane: str
    partition: int
    window: WindowLane | None
    deliveries: tuple[tuple[str, DeliveryLane], ...]


def figures_of(
    partition: int, windows: Iterable[WindowLane], deliveries: Iterable[tuple[str, Iterable[DeliveryLane]]]
) -> list[LaneFigures]:
    """Put together what the stages of one partition say of each lane."""
    by_lane: dict[str, list[Any]] = {view.lane: [view] for view in windows}
    for kind, views in deliveries:
        for view in views:
            by_lane.setdefault(view.lane, [None]).append((kind, view))
    return [LaneFigures(lane, partition, found[0], tuple(found[1:])) for lane, found in by_lane.items()]


def lane_row(figures: LaneFigures, integration: Integration | None) -> Row:
    """A lane's row; ``integration`` is ``None`` where it was removed."""
    lane, partition, window, deliveries = figures
    kind, seen = deliveries[0] if deliveries else (None, _UNSEEN)
    if len(deliveries) > 1:
        kind, seen = deliveries[-1][0], _together([view for _, view in deliveries])
    matched = opened = sealed = open_bytes = 0
    opened_at = None
    if window is not None:
        matched, sealed, open_bytes, opened_at = window.next, window.first, window.size_bytes, window.opened_at
        opened = matched - sealed
    max_events = due_at = None
    if integration is not None:
        kind, limits = integration.kind, integration.seal_limits
        max_events = limits.max_events
        due_at = None if opened_at is None else opened_at + limits.max_age_s
    between = sealed - seen.registered_events
    waiting = max(0, between) + seen.waiting_events
    name, is_named, _ = lane.partition("~")
    return {
        "lane": lane,
        "integration": name,
        "kind": kind,
        "purpose": str(purpose_of(lane) or "") or None if is_named else None,
        "partition": partition,
        "state": _state(seen, integration).value,
        "lanes": 1,
        "matched": matched,
        "open": opened,
        "waiting": waiting,
        "delivered": seen.delivered_events,
        "parked": seen.parked_events,
        "discarded": seen.discarded_events,
        "missing": matched - opened - waiting - seen.delivered_events - seen.parked_events - seen.discarded_events,
        "between": between,
        "opened_at": opened_at,
        "open_bytes": open_bytes,
        "waiting_batches": seen.waiting_batches,
        "in_flight": seen.in_flight,
        "retrying_batches": seen.retrying_batches,
        "waiting_since": seen.oldest_sealed_at,
        "delivered_batches": seen.delivered_batches,
        "parked_batches": seen.parked_batches,
        "replayable_batches": seen.replayable_batches,
        "oldest_parked_at": seen.oldest_parked_at,
        "discarded_batches": seen.discarded_batches,
        "resident_bytes": seen.resident_bytes,
        "max_events": max_events,
        "due_at": due_at,
    }


def empty_row(integration: Integration, partition: int) -> Row:
    """The row of an integration that no event has matched yet."""
    return {**lane_row(LaneFigures(integration.id, partition, None, ()), integration), "lanes": 0}


def add_rows(one: Row, other: Row) -> Row:
    """Two rows of one integration, or of one hour, as one: figures add up, the earliest time and the worst state count.

    Columns that one of them lacks are left as they are.
    """
    added = dict(one)
    for name, value in other.items():
        held = one.get(name)
        if name in _ADDED:
            added[name] = held + value if held is not None else value
        elif name in _EARLIEST:
            added[name] = _earliest((held, value))
        elif name == "state" and held is not None:
            added[name] = min((held, value), key=lambda word: STATES.index(LaneState(word)))
        elif held is None:
            added[name] = value
    return added


def hour_rows(lanes: Iterable[PendingLane], windows: Iterable[WindowLane]) -> Iterable[tuple[str, int, Row]]:
    """Integration, hour (UNIX seconds / 3600) and figures, several times each: they are to be added up."""
    for lane in lanes:
        name = integration_of(lane.name)
        for hour, count in list(lane.hours.by_hour.items()):  # others run in between, and count on
            figures = (count.registered, 0, count.waiting, count.delivered, count.parked, count.discarded)
            yield name, hour, dict(zip(EVENTS, figures, strict=True))
    for window in windows:
        if window.opened_at is not None:
            figures = (window.open_events, window.open_events, 0, 0, 0, 0)
            yield integration_of(window.lane), int(window.opened_at // HOUR_S), dict(zip(EVENTS, figures, strict=True))


_UNSEEN: Final = DeliveryLane("", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, False, False, 0)
_OF_VIEWS: Final = tuple(name for name in DeliveryLane._fields if name not in {"lane", "partition"})


def _together(views: Sequence[DeliveryLane]) -> DeliveryLane:
    """What the cores of several kinds know of one lane, as one."""
    found: dict[str, Any] = {}
    for name in _OF_VIEWS:
        values = [getattr(view, name) for view in views]
        if name.startswith("oldest_"):
            found[name] = _earliest(values)
        else:
            found[name] = any(values) if name.startswith("is_") else sum(values)
    return views[0]._replace(**found)


def _state(seen: DeliveryLane, integration: Integration | None) -> LaneState:
    if seen.is_halted:
        return LaneState.GONE
    if integration is not None and not integration.enabled:
        return LaneState.PAUSED  # nothing is sent, so its breaker is asked nothing either
    if seen.is_breaker_open:
        return LaneState.BREAKER
    if integration is None:
        return LaneState.REMOVED
    return LaneState.RETRYING if seen.retrying_batches else LaneState.OK


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)
