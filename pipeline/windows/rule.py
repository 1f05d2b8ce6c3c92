"""When a window is sealed: pure functions of what it holds, its limits and the time.

A window is sealed when it holds ``max_events`` events, before an event that would make its body larger than ``max_bytes``
(commas between events counted; as soon as the body is that large there is nothing to wait for), or when its first event has
waited ``max_age_s``. An event larger than ``max_bytes`` is sealed alone.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pipeline.model.batch import SealReason


class SealLimits(Protocol):
    """The limits of a lane's windows: events, seconds and bytes."""

    @property
    def max_events(self) -> int:
        """Events in a window, at least 1."""
        ...

    @property
    def max_age_s(self) -> float:
        """Seconds from a window's first event until it is sealed."""
        ...

    @property
    def max_bytes(self) -> int:
        """Bytes of a window's events and the commas between them, at least 1."""
        ...


class Cut(NamedTuple):
    """A window ends before event ``upto`` of the run that is appended."""

    upto: int
    reason: SealReason


def is_full(count: int, size_bytes: int, limits: SealLimits) -> bool:
    """Whether a window of ``count`` events and ``size_bytes`` takes no further event, whatever its size."""
    return count >= limits.max_events or size_bytes >= limits.max_bytes


def cuts(count: int, size_bytes: int, ends: Sequence[int], limits: SealLimits) -> list[Cut]:
    """Where windows end when a run of events is appended to a window that is not full.

    ``count`` and ``size_bytes`` are what the window holds; ``ends`` are the run's (see ``EventRun``). What follows the last
    cut stays open. The first cut may be at 0: the window is sealed as it is.
    """
    found: list[Cut] = []
    events = len(ends)
    position = start = 0
    while position < events:
        upto = min(events, position + limits.max_events - count)
        furthest_end = start + limits.max_bytes - size_bytes - (count > 0)
        if ends[upto - 1] > furthest_end:
            upto = bisect_right(ends, furthest_end, position, upto)
            if upto == position and not count:
                upto += 1
        if upto > position:
            size_bytes += ends[upto - 1] - start + (count > 0)
            count += upto - position
        if upto == events and not is_full(count, size_bytes, limits):
            break
        found.append(Cut(upto, SealReason.COUNT if count >= limits.max_events else SealReason.BYTES))
        position, count, size_bytes = upto, 0, 0
        start = ends[upto - 1] + 1 if upto else 0
    return found


def due_s(opened_at: float, limits: SealLimits) -> float:
    """When a window that took its first event at ``opened_at`` is sealed by age."""
    return opened_at + limits.max_age_s
