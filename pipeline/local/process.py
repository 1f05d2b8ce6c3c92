"""Processes named so that a recycled process id is never taken for the one that had it before."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process: its id and when it started, in the words of the operating system."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessMark | None":
        """The mark of the process that has ``pid`` now, or None when there is none (or only its remains)."""
        started = _started_linux(pid) if sys.platform == "linux" else _started_elsewhere(pid)
        return None if started is None else cls(pid, started)

    @property
    def is_alive(self) -> bool:
        """Whether this very process is still running."""
        return ProcessMark.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process is gone; False when it is still there after ``timeout_s`` seconds."""
        return wait_until(lambda: not self.is_alive, timeout_s)

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait until SIGSTOP has reached every thread; nobody but Linux tells, so elsewhere it is taken as read."""
        return sys.platform != "linux" or wait_until(lambda: _are_threads_stopped(self.pid), timeout_s)

    def stop(self, timeout_s: float) -> None:
        """End the process: SIGTERM, and SIGKILL once ``timeout_s`` seconds are over."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self.wait(timeout_s):
            self.signal(signal.SIGKILL)
            self.wait(timeout_s)


def wait_until(is_done: Callable[[], bool], timeout_s: float, *, pause_s: float = _POLL_S) -> bool:
    """Ask every ``pause_s`` seconds until the answer is yes; False when ``timeout_s`` seconds were not enough."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


def _are_threads_stopped(pid: int) -> bool:
    """Whether no thread of the process runs: their state is the field after the name, which stands in parentheses."""
    stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] in "TZX" for stat in stats)


def _started_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, even brackets
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}/{start_ticks}"


def _started_elsewhere(pid: int) -> str | None:
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
