"""The small process that stands between a server and the people who use it, so that no server is ever left behind.

Run as a script, with the standard library alone (``python -I -S supervisor.py FOLDER NAME STOP_S COMMAND...``), so that
it starts in a few hundredths of a second and stays small. It detaches itself into a session of its own, where no Ctrl-C
of a terminal reaches it, starts the server, prints ``SUPERVISOR_PID SERVER_PID`` and then sleeps until something happens:

- the server ends: so does the supervisor;
- SIGTERM: the server gets SIGTERM and, if it is still there after ``STOP_S`` seconds, SIGKILL;
- nobody uses the server any more: as for SIGTERM. Every user holds the FIFO ``NAME.users`` open for writing, and the
  operating system closes it when a user's process ends, whichever way. The file ``NAME.keep`` says that the server
  stays nevertheless. The decision is taken under ``lock``, which a new user holds while it joins.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

LOCK_FILE = "lock"
_RECHECK_S = 0.05
_PR_SET_PDEATHSIG = 1


def users_file(name: str) -> str:
    """The FIFO that every user of server ``name`` holds open."""
    return f"{name}.users"


def keep_file(name: str) -> str:
    """The mark that server ``name`` stays although nobody holds it."""
    return f"{name}.keep"


def log_file(name: str) -> str:
    """Where server ``name`` writes, from its last start on."""
    return f"{name}.log"


def _die_with_supervisor() -> None:
    """Ask Linux to end the server should the supervisor itself be killed; elsewhere the next user cleans up."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # only here, so that the other systems do not pay for it

        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Supervisor:
    def __init__(self, folder: Path, name: str, stop_s: float) -> None:
        self.folder = folder
        self.name = name
        self.stop_s = stop_s
        self.is_told_to_stop = False
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)
        self.users = os.open(folder / users_file(name), os.O_RDONLY | os.O_NONBLOCK)

    def run(self, command: list[str], report: int) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        with (self.folder / log_file(self.name)).open("ab") as log:
            server = subprocess.Popen(  # noqa: S603  # the command is the project's own
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_supervisor,  # noqa: PLW1509  # this process has one thread
            )
        os.write(report, f"{os.getpid()} {server.pid}\n".encode())
        os.close(report)
        self._wait_until_over(server)
        return self._stop(server)

    def _on_sigterm(self, *_: object) -> None:
        self.is_told_to_stop = True

    def _wait_until_over(self, server: "subprocess.Popen[bytes]") -> None:
        watched = [self.wake_read, self.users]
        while server.poll() is None and not self.is_told_to_stop:
            if self.users not in watched or self._has_users():
                select.select(watched, [], [])
                self._drain(self.wake_read)
            elif (self.folder / keep_file(self.name)).exists():
                watched.remove(self.users)
            elif self._may_leave():
                return
            else:
                time.sleep(_RECHECK_S)

    def _may_leave(self) -> bool:
        """Whether nobody uses the server, decided while nobody can join; the lock is then held until the end."""
        lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        if self._has_users() or (self.folder / keep_file(self.name)).exists():  # joined while the lock was awaited
            os.close(lock)
            return False
        return True

    def _has_users(self) -> bool:
        try:
            return os.read(self.users, 4096) != b""
        except BlockingIOError:
            return True

    @staticmethod
    def _drain(descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, 4096):
                pass

    def _stop(self, server: "subprocess.Popen[bytes]") -> int:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.send_signal(signal.SIGCONT)
            try:
                server.wait(self.stop_s)
            except subprocess.TimeoutExpired:
                server.kill()
        return server.wait()


def main(arguments: list[str]) -> int:
    """Detach, start the server, and stay until it is over."""
    folder, name, stop_s, *command = arguments
    supervisor = _Supervisor(Path(folder), name, float(stop_s))
    if os.fork():
        return 0
    os.setsid()
    os.chdir(folder)
    report = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return supervisor.run(command, report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
