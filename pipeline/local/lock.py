"""A lock between processes, which the operating system releases when its holder ends, whichever way."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.process import wait_until


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock ``path`` (made when absent) for the length of the block.

    Raises LocalServerError when another process holds it for longer than ``timeout_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _has_taken(descriptor), timeout_s, pause_s=0.05):
            raise LocalServerError(
                f"{path}: another process has held this lock for {timeout_s:g} s; "
                "wait until it has finished, or end it, and try again"
            )
        yield
    finally:
        os.close(descriptor)


def _has_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
