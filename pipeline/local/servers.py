"""The local Apache Kafka and Redis of a folder: start, find again, stop, start afresh.

Two ways to live. ``LocalServers.up`` starts servers that stay until ``down``, whoever started them. ``scoped_servers``
starts servers that go when their last user goes, whichever way that is; where they already run, it joins them and
leaves them as it found them.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local import launch, ports
from pipeline.local.kafka import KafkaServer
from pipeline.local.lock import locked
from pipeline.local.process import ProcessMark, wait_until
from pipeline.local.redis import RedisServer
from pipeline.local.server import Progress, Server
from pipeline.local.state import ServerState, State
from pipeline.local.supervisor import LOCK_FILE, log_file

SERVERS: tuple[Server, ...] = (KafkaServer(), RedisServer())
ALL = ("kafka", "redis")
_LOCK_S = 240.0
_PAUSES_WITHIN_S = 5.0
_PORT_TRIES = 3
_PORT_TAKEN = "already in use"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where clients find the servers; empty for one that was not asked for."""

    kafka: str = ""  # host:port, or a comma-separated list of them
    redis: str = ""  # redis://host:port/0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as ``status`` found it."""

    name: str
    title: str
    address: str  # empty when it has never been started
    pid: int | None  # None when it does not run
    is_ready: bool
    is_kept: bool  # whether it stays when nobody uses it
    log: Path


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """``$DISTRIBUTARY_HOME``, or ``.distributary`` in the current folder."""
    return Path(environ.get("DISTRIBUTARY_HOME") or ".distributary")


def _quiet(_: str) -> None:
    pass


class LocalServers:
    """The local servers of one folder, of which ``names`` are used: ``kafka``, ``redis``, or both.

    Not for two threads at once; any number of processes may have one for the same folder. The methods block, up to a
    minute and a half for a start on a busy machine.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        names: Sequence[str] = ALL,
        on_progress: Progress = _quiet,
    ) -> None:
        self.directory = (directory or default_directory()).absolute()
        self._servers = [server for server in SERVERS if server.name in names]
        self._on_progress = on_progress
        self._holds: dict[str, int] = {}

    def up(self) -> Addresses:
        """Have the servers run until ``down``, also after this process. Those that run already are left as they are.

        Raises LocalServerError when one cannot be installed or started.
        """
        self.acquire()
        with self._locked():
            for server in self._servers:
                launch.keep(self.directory, server.name)
        self._drop_holds()
        return self.addresses

    def acquire(self) -> Addresses:
        """Have the servers run for as long as this process uses them; ``release`` ends that before its own end.

        Raises LocalServerError when one cannot be installed or started.
        """
        with self._locked():
            try:
                for server in self._servers:
                    self._ensure(server)
            except OSError as error:
                self._drop_holds()
                raise LocalServerError(
                    f"{self.directory}: {error}; make room or set DISTRIBUTARY_HOME to a folder on another disk"
                ) from None
            except BaseException:  # whatever it is, what was started for nothing must not stay
                self._drop_holds()
                raise
        return self.addresses

    def release(self) -> None:
        """Use the servers no longer, and wait for those to end that nobody else uses and nobody keeps."""
        self._drop_holds()
        for server in self._servers:
            state = self._state_of(server.name)

            def is_over(state: ServerState = state, name: str = server.name) -> bool:
                is_wanted = launch.is_kept(self.directory, name) or launch.is_held(self.directory, name)
                return is_wanted or not (state.supervisor and state.supervisor.is_alive)

            wait_until(is_over, server.stop_deadline_s + 5)

    @property
    def addresses(self) -> Addresses:
        """Where the servers are, or were when they ran last."""
        known = {
            server.name: server.address(state.ports)
            for server in self._servers
            if (state := self._state_of(server.name)).ports
        }
        return Addresses(**known)

    def down(self) -> None:
        """Stop the servers, whoever uses them: SIGTERM first, SIGKILL for what has not ended in time."""
        if not self.directory.exists():
            return
        with self._locked():
            for server in reversed(self._servers):
                self._stop(server)
        self._drop_holds()

    def reset(self) -> None:
        """Stop the servers and delete their data and logs. Ports are kept."""
        if not self.directory.exists():
            return
        self.down()
        with self._locked():
            for server in self._servers:
                if (folder := self.directory / server.name).exists():
                    shutil.rmtree(folder)
                log = self.directory / log_file(server.name)
                log.unlink(missing_ok=True)
                log.with_name(f"{log.name}.1").unlink(missing_ok=True)

    def status(self) -> list[ServerStatus]:
        """How the servers are now; starts, stops and waits for nothing but their answers."""
        found = []
        for server in self._servers:
            state = self._state_of(server.name)
            pid = state.server.pid if state.server and state.server.is_alive else None
            found.append(
                ServerStatus(
                    name=server.name,
                    title=server.title,
                    address=server.address(state.ports) if state.ports else "",
                    pid=pid,
                    is_ready=pid is not None and server.is_ready(state.ports),
                    is_kept=pid is not None and launch.is_kept(self.directory, server.name),
                    log=self.directory / log_file(server.name),
                )
            )
        return found

    def start_kafka(self) -> None:
        """Start Kafka again after ``stop_kafka`` or ``kill_kafka``: same data, same port, for this process to use."""
        with self._locked():
            self._ensure(_server_named("kafka"))

    def stop_kafka(self) -> None:
        """End Kafka alone in good order."""
        with self._locked():
            self._stop(_server_named("kafka"))

    def kill_kafka(self) -> None:
        """End Kafka with SIGKILL, as a crash would, and return when it is gone."""
        state = self._state_of("kafka")
        if state.server and state.supervisor:
            state.server.signal(signal.SIGKILL)
            state.server.wait(10.0)
            state.supervisor.wait(10.0)

    def pause_kafka(self) -> None:
        """Stop Kafka's clock with SIGSTOP: connections stay open and nothing answers, from when this returns."""
        self._signal_kafka(signal.SIGSTOP)
        self._kafka().wait_until_stopped(_PAUSES_WITHIN_S)

    def resume_kafka(self) -> None:
        """Let Kafka go on after ``pause_kafka``."""
        self._signal_kafka(signal.SIGCONT)

    def _signal_kafka(self, number: signal.Signals) -> None:
        self._kafka().signal(number)

    def _kafka(self) -> ProcessMark:
        process = self._state_of("kafka").server
        if process is None or not process.is_alive:
            raise LocalServerError(f"{self.directory}: the local Kafka does not run; start it first")
        return process

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalServerError(
                f"{self.directory}: cannot be made ({error.strerror}); set DISTRIBUTARY_HOME to a folder that can"
            ) from None
        return locked(self.directory / LOCK_FILE, timeout_s=_LOCK_S)

    def _state_of(self, name: str) -> ServerState:
        return State.load(self.directory).of(name)

    def _save(self, name: str, server_state: ServerState) -> None:
        state = State.load(self.directory)
        state.servers[name] = server_state
        state.save(self.directory)

    def _drop_holds(self) -> None:
        while self._holds:
            os.close(self._holds.popitem()[1])

    def _ensure(self, server: Server) -> None:
        """Have the server run and hold it. Called under the lock."""
        state = self._state_of(server.name)
        if state.is_running and self._hold(server.name, launch.join(self.directory, server.name)):
            self._await_ready(server, state)
            return
        self._stop(server)  # clears away what a crash may have left
        state = self._state_of(server.name)
        for tries_left in reversed(range(_PORT_TRIES)):
            state = replace(state, ports=self._ports_for(server, state.ports))
            self._save(server.name, state)
            try:
                state = self._start(server, state)
                self._await_ready(server, state)
            except LocalServerError as error:
                if tries_left and _PORT_TAKEN in str(error).lower():
                    state = ServerState()  # someone was faster: other ports
                    continue
                raise
            return

    def _start(self, server: Server, state: ServerState) -> ServerState:
        command = server.command(self.directory, state.ports, self._on_progress)
        self._on_progress(f"starting {server.title} on {server.address(state.ports)}")
        launched = launch.launch(self.directory, server.name, command, stop_deadline_s=server.stop_deadline_s)
        self._hold(server.name, launched.hold)
        state = ServerState(state.ports, launched.supervisor, launched.server)
        self._save(server.name, state)
        return state

    def _hold(self, name: str, descriptor: int | None) -> bool:
        if descriptor is None:
            return False
        if (former := self._holds.pop(name, None)) is not None:
            os.close(former)
        self._holds[name] = descriptor
        return True

    def _await_ready(self, server: Server, state: ServerState) -> None:
        deadline = time.monotonic() + server.start_deadline_s
        while not server.is_ready(state.ports):
            is_late = time.monotonic() > deadline
            if is_late or not state.is_running:
                what = f"is not ready after {server.start_deadline_s:g} s" if is_late else "ended while starting"
                raise LocalServerError(
                    f"{server.title} on {server.address(state.ports)} {what}; "
                    f"its log {self.directory / log_file(server.name)} ends with:\n"
                    f"{launch.last_log_lines(self.directory, server.name) or '(nothing)'}"
                )
            time.sleep(0.05)

    def _ports_for(self, server: Server, remembered: tuple[int, ...]) -> tuple[int, ...]:
        if len(remembered) == server.port_count and all(map(ports.is_free, remembered)):
            return remembered
        taken = {port for other in SERVERS for port in self._state_of(other.name).ports}
        chosen: list[int] = []
        for _ in range(server.port_count):
            chosen.append(ports.choose(besides=taken | set(chosen)))
        return tuple(chosen)

    def _stop(self, server: Server) -> None:
        """End what is left of the server. Called under the lock."""
        state = self._state_of(server.name)
        if state.supervisor:
            state.supervisor.stop(server.stop_deadline_s + 5)
        if state.server:  # only if its supervisor was killed
            state.server.stop(server.stop_deadline_s)
        self._save(server.name, state.stopped())


@contextlib.contextmanager
def scoped_servers(
    directory: Path | None = None, *, names: Sequence[str] = ALL, on_progress: Progress = _quiet
) -> Iterator[LocalServers]:
    """Servers for the length of a block: its process may end in any way, they end too, unless others use them.

    Raises LocalServerError when one cannot be installed or started.
    """
    servers = LocalServers(directory, names=names, on_progress=on_progress)
    servers.acquire()
    try:
        yield servers
    finally:
        servers.release()


@contextlib.contextmanager
def addresses_or_start(
    directory: Path | None = None,
    *,
    kafka: str | None = None,
    names: Sequence[str] = ALL,
    on_progress: Progress = _quiet,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Addresses]:
    """The servers to use: ``kafka`` if given, else ``KAFKA_BROKERS`` and ``REDIS_URL``, else local ones for the block.

    Raises LocalServerError when a local one is needed and cannot be installed or started.
    """
    given = {"kafka": kafka or environ.get("KAFKA_BROKERS", ""), "redis": environ.get("REDIS_URL", "")}
    given = {name: address for name, address in given.items() if name in names and address}
    missing = [name for name in names if name not in given]
    if not missing:
        yield Addresses(**given)
        return
    with scoped_servers(directory, names=missing, on_progress=on_progress) as servers:
        yield replace(servers.addresses, **given)


def _server_named(name: str) -> Server:
    return next(server for server in SERVERS if server.name == name)
