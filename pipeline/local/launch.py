"""Starting a server under its supervisor, and holding it.

A *hold* is an open file descriptor: as long as one process has one, the supervisor keeps the server. The operating
system closes it when its process ends, however it ends. See ``pipeline.local.supervisor``.
"""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local import supervisor
from pipeline.local.process import ProcessMark

_LAUNCH_S = 20.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A server that was just started, and this process' hold on it."""

    supervisor: ProcessMark | None
    server: ProcessMark | None
    hold: int


def launch(folder: Path, name: str, command: list[str], *, stop_deadline_s: float) -> Launched:
    """Start ``command`` in ``folder`` as server ``name``; it lasts as long as the hold that is returned.

    Must be called under the folder's lock. Raises LocalServerError when no process can be started.
    """
    (folder / supervisor.keep_file(name)).unlink(missing_ok=True)
    _begin_log(folder, name)
    fifo = folder / supervisor.users_file(name)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(fifo, 0o600)
    # A FIFO opens for writing only while someone has it open for reading.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        hold = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        try:
            pids = _run_supervisor(folder, name, stop_deadline_s, command)
        except BaseException:  # whatever it is: a supervisor that nobody holds ends
            os.close(hold)
            raise
    finally:
        os.close(reader)
    return Launched(ProcessMark.of(pids[0]), ProcessMark.of(pids[1]), hold)


def _run_supervisor(folder: Path, name: str, stop_deadline_s: float, command: list[str]) -> tuple[int, int]:
    """Start supervisor and server; their process ids, as the supervisor tells them."""
    script = str(Path(supervisor.__file__))
    started = subprocess.run(  # noqa: S603
        [sys.executable, "-I", "-S", script, str(folder), name, str(stop_deadline_s), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=_LAUNCH_S,
        check=False,
    )
    pids = started.stdout.split()
    if len(pids) != 2:  # noqa: PLR2004
        raise LocalServerError(
            f"{folder}: {name} cannot be started, is {command[0]} an executable file? {started.stderr}"
        )
    return int(pids[0]), int(pids[1])


def join(folder: Path, name: str) -> int | None:
    """A hold on a running server, or None when it has no supervisor (any more). Call it under the folder's lock."""
    try:
        return os.open(folder / supervisor.users_file(name), os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # no such file, or nobody reads it
        return None


def is_held(folder: Path, name: str) -> bool:
    """Whether any process has a hold on the server."""
    try:
        reader = os.open(folder / supervisor.users_file(name), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True
    finally:
        os.close(reader)


def is_kept(folder: Path, name: str) -> bool:
    """Whether the server stays without a hold."""
    return (folder / supervisor.keep_file(name)).exists()


def keep(folder: Path, name: str) -> None:
    """Let the server stay when the last hold is gone. Call it under the folder's lock, holding the server."""
    (folder / supervisor.keep_file(name)).touch()


def last_log_lines(folder: Path, name: str, count: int = 12) -> str:
    """The end of what the server wrote since its start."""
    try:
        text = (folder / supervisor.log_file(name)).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(line[:300] for line in text.strip().splitlines()[-count:])


def _begin_log(folder: Path, name: str) -> None:
    """Begin an empty log and keep the one before it, so that logs never pile up."""
    log = folder / supervisor.log_file(name)
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
