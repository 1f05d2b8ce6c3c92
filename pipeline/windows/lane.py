"""One lane's numbered sequence, as far as the window stage knows it."""

import math
from typing import NamedTuple

from pipeline.windows.bodies import Piece


class LaneWindow:
    """A lane and its open window: events ``[first, next)`` of the lane's sequence; empty when they are equal.

    ``pieces`` are the window's rows in slots 0, 1, ...; ``tail`` is what was appended since rows were last taken; ``rows`` is
    how many slots the table holds by then. ``size_bytes`` counts the events and the commas between them. ``timer_s`` is when
    the age timer looks at the lane next (infinity: never).
    """

    __slots__ = (
        "applied_offset",
        "first",
        "is_touched",
        "name",
        "next",
        "opened_at",
        "pieces",
        "rows",
        "size_bytes",
        "tail",
        "timer_s",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.first = 0
        self.next = 0
        self.size_bytes = 0
        self.opened_at = 0.0
        self.applied_offset = -1
        self.pieces: list[Piece] = []
        self.tail: list[Piece] = []
        self.rows = 0
        self.is_touched = False
        self.timer_s = math.inf

    def view(self) -> "LaneView":
        """The lane as others may see it."""
        is_open = self.next > self.first
        return LaneView(self.name, self.first, self.next, self.size_bytes, self.opened_at if is_open else None)


class LaneView(NamedTuple):
    """What the views and the ledger show of a lane.

    ``next`` events were appended so far, ``first`` of them are sealed, the others are open. ``opened_at`` is UNIX seconds
    of the open window's first event, ``None`` where there is none.
    """

    lane: str
    first: int
    next: int
    size_bytes: int
    opened_at: float | None

    @property
    def open_events(self) -> int:
        """Events in the open window."""
        return self.next - self.first
