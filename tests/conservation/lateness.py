"""How late everything on this machine is, as somebody sees who wants to be woken every few milliseconds."""

import threading
import time
from bisect import bisect_left

EVERY_S = 0.01
AROUND_S = 0.5


class Lateness(threading.Thread):
    """Asks to be woken every ``EVERY_S`` seconds and notes how much later that was."""

    def __init__(self) -> None:
        super().__init__(name="lateness", daemon=True)
        self._stops = threading.Event()
        self._at_s: list[float] = []
        self._late_s: list[float] = []

    def run(self) -> None:
        woken_s = time.monotonic()
        while not self._stops.wait(EVERY_S):
            now_s = time.monotonic()
            self.note(now_s, now_s - woken_s - EVERY_S)
            woken_s = now_s

    def stop(self) -> None:
        self._stops.set()
        self.join(5.0)

    def note(self, at_s: float, late_s: float) -> None:
        """Keep that who was woken at ``at_s`` was woken ``late_s`` too late."""
        self._at_s.append(at_s)
        self._late_s.append(late_s)

    def before(self, moment_s: float) -> float:
        """How late the latest was in the last ``AROUND_S`` seconds before ``moment_s``."""
        first, end = (bisect_left(self._at_s, at_s) for at_s in (moment_s - AROUND_S, moment_s))
        return max(self._late_s[first:end], default=0.0)
