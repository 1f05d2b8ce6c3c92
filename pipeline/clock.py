"""Time as an argument: rules take ``now``, services take a ``Clock``."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time from."""

    def wall_s(self) -> float:
        """UNIX time in seconds: for what is stored, shown or sent."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back: for time-outs, pauses and rates."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_s(self) -> float:
        """UNIX time in seconds."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, wall_s: float = 1_700_000_000.0) -> None:
        self._wall_s = wall_s
        self._monotonic_s = 0.0

    def wall_s(self) -> float:
        """UNIX time in seconds, as set."""
        return self._wall_s

    def monotonic_s(self) -> float:
        """Seconds moved so far."""
        return self._monotonic_s

    def move(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks."""
        self._wall_s += seconds
        self._monotonic_s += seconds
