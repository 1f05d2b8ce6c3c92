"""Processes under test: started with their output in a file, ended with the test whatever happens to it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("distributary")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One run of ``distributary ARGUMENTS``. Start it in the main thread: it dies with the thread that started it."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._log_starts_at = output.tell()
            self._popen = subprocess.Popen(
                [str(PROGRAM), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=log.parent,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 only a system call is made
            )

    @property
    def status(self) -> int | None:
        """Exit status, ``None`` while it runs."""
        return self._popen.poll()

    @property
    def is_alive(self) -> bool:
        return self.status is None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; the exit status, or ``None`` where it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)
        return self.status

    def output(self) -> str:
        """What this run has written."""
        with self.log.open("rb") as file:
            file.seek(self._log_starts_at)
            return file.read().decode(errors="replace")

    def wait_for_output(self, text: str, timeout_s: float) -> str:
        """Wait until ``text`` was written; gives the line that holds it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.is_alive:
            for line in self.output().splitlines():
                if text in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"{self.name} did not write {text!r} (status {self.status}):\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])
