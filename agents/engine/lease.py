"""Ends a process that was asleep for so long that its partitions may be somebody else's.

A stopped process, a frozen container or a suspended machine does not know that time went by. Its group membership ran out
meanwhile, another worker has taken over, and whatever this one still has in its buffers would be written between the rows
of the new owner. There is no time for good order then: on waking up it must end before it sends anything.
"""

import os
import threading
import time
from collections.abc import Callable

import structlog

EXIT_STATUS = 70

log = structlog.get_logger(__name__)


def _awake_clock_s() -> float:
    """Seconds that also pass while the machine is suspended, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _end_process() -> None:
    os._exit(EXIT_STATUS)


class Lease:
    """Ends the process where it was asleep for more than ``limit_s``: nothing in it ran.

    A thread notes that it is awake, since an event loop that is busy with one thing is no sign of sleep; and so does whoever calls
    :meth:`check`, since a loop that is busy with many things can keep a thread waiting for seconds.
    """

    def __init__(self, limit_s: float, end: Callable[[], None] = _end_process) -> None:
        self.limit_s = limit_s
        self._end = end
        self._awake_at_s = _awake_clock_s()
        self._stops = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        self._awake_at_s = _awake_clock_s()
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stops.set()

    def check(self) -> None:
        """End the process now where it has been asleep, or note that it is awake.

        Whoever is about to send asks, as the thread may wake up later.
        """
        asleep_s = _awake_clock_s() - self._awake_at_s
        if asleep_s > self.limit_s and not self._stops.is_set():
            log.critical(
                "this worker was asleep for longer than its group membership lasts: another one may own its partitions, so it ends "
                "at once, as if killed; nothing is lost. Start it again; give it more CPU if this repeats",
                asleep_s=round(asleep_s, 1),
                limit_s=round(self.limit_s, 1),
            )
            self._end()
        self._awake_at_s = _awake_clock_s()

    def _watch(self) -> None:
        while not self._stops.wait(min(0.2, self.limit_s / 8)):
            self.check()
