"""Apache Kafka's jars: fetched once per user account, each one checked against the lock file on every start.

The lock file names every jar with its version and SHA-256. They are fetched by these exact coordinates, so no
dependency resolution on a user's machine can bring in another version; ``python -m pipeline.local.fetch_jars --lock FILE``
resolves anew and writes the lock when Kafka's version is raised.
"""

import contextlib
import hashlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.lock import locked

KAFKA_VERSION = "4.3.1"
KAFKA_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
LOCK = Path(__file__).with_name("kafka-jars.lock")
INSTEAD = "or set KAFKA_BROKERS=host:port to use another Kafka"
# One jar has at most 7 MB; a minute and a half without a finished one means that no one is answering.
STALL_S = 90.0


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The jar's name in the folder."""
        return f"{self.artifact}-{self.version}.jar"

    def is_in(self, folder: Path) -> bool:
        """Whether ``folder`` has the jar, and it is the one that the lock means."""
        try:
            with (folder / self.file_name).open("rb") as jar:
                return hashlib.file_digest(jar, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def read_lock(text: str) -> list[LockedJar]:
    """The jars of a lock file: ``group:artifact:version sha256`` a line, ``#`` begins a comment.

    Raises LocalServerError for a line of another form, and for a part of Kafka that has not KAFKA_VERSION.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].split()
        if not content:
            continue
        coordinates = content[0].split(":")
        if len(content) != 2 or len(coordinates) != 3 or len(content[1]) != 64:  # noqa: PLR2004
            raise LocalServerError(f"{LOCK.name}:{number}: not `group:artifact:version sha256`: {line!r}; reinstall")
        jar = LockedJar(coordinates[0], coordinates[1], coordinates[2], content[1])
        if jar.group == "org.apache.kafka" and jar.version != KAFKA_VERSION:
            raise LocalServerError(
                f"{LOCK.name}:{number}: {jar.artifact} has version {jar.version}, "
                f"but all parts of Kafka must have {KAFKA_VERSION}; write the lock anew"
            )
        jars.append(jar)
    return jars


def cache_folder() -> Path:
    """Where this user account keeps the jars: under ``XDG_CACHE_HOME``, else ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    home = os.environ.get("HOME")
    if base:
        return Path(base) / "distributary"
    return (Path(home) if home else Path.cwd()) / ".cache" / "distributary"


def kafka_jars(on_progress: Callable[[str], None], *, folder: Path | None = None) -> list[Path]:
    """The locked jars, after fetching those that are missing or damaged, in the order of the class path.

    Raises LocalServerError when they cannot be had.
    """
    folder = folder or cache_folder() / f"kafka-{KAFKA_VERSION}"
    jars = read_lock(LOCK.read_text(encoding="utf-8"))
    try:
        _complete(folder, jars, on_progress)
    except OSError as error:
        raise LocalServerError(
            f"{folder}: cannot keep Kafka's jars here ({error.strerror}); set XDG_CACHE_HOME, {INSTEAD}"
        ) from None
    return [folder / jar.file_name for jar in jars]


def _complete(folder: Path, jars: list[LockedJar], on_progress: Callable[[str], None]) -> None:
    if all(jar.is_in(folder) for jar in jars):
        return
    if find_spec("jgo") is None:
        raise LocalServerError(f"the local Kafka is not installed: pip install 'distributary[local]', {INSTEAD}")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", timeout_s=600.0):
        missing = [jar for jar in jars if not jar.is_in(folder)]
        if missing:
            on_progress(f"fetching Apache Kafka {KAFKA_VERSION}: {len(missing)} jars, once per user account")
            _fetch(folder, missing, on_progress)


def _fetch(folder: Path, jars: list[LockedJar], on_progress: Callable[[str], None]) -> None:
    """Have a child fetch ``jars`` into ``folder``: a child can be ended whatever the network does."""
    expected = {jar.file_name: jar for jar in jars}
    # The child writes each jar under a draft's name; only one that the lock knows gets its real name.
    for done, fetched in enumerate(_fetched(folder, jars), start=1):
        jar = expected[fetched.name]
        if not jar.is_in(fetched.parent):
            raise LocalServerError(
                f"{jar.file_name}: the fetched jar has not the SHA-256 of {LOCK.name}, so it is not used; "
                f"check what serves jars to this machine, {INSTEAD}"
            )
        fetched.replace(folder / jar.file_name)
        if done % 10 == 0 or done == len(jars):
            on_progress(f"fetched {done} of {len(jars)} jars")


def _fetched(folder: Path, jars: list[LockedJar]) -> Iterator[Path]:
    command = [sys.executable, "-P", "-m", "pipeline.local.fetch_jars", str(folder / "drafts")]
    command += [f"{jar.group}:{jar.artifact}:{jar.version}" for jar in jars]
    project = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([project, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    child = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    with child:
        try:
            for line in _lines(child):
                word, _, rest = line.partition(" ")
                if word == "error":
                    raise LocalServerError(
                        f"Apache Kafka's jars cannot be fetched ({rest}); try again later, {INSTEAD}"
                    )
                yield Path(rest)
            if child.wait() != 0:
                raise LocalServerError(
                    f"Apache Kafka's jars cannot be fetched (the fetching process ended with {child.returncode}); "
                    f"try again, {INSTEAD}"
                )
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()


def _lines(child: "subprocess.Popen[bytes]") -> Iterator[str]:
    """The child's lines as they come. Raises LocalServerError after STALL_S seconds without one."""
    assert child.stdout is not None
    pending = b""
    deadline = time.monotonic() + STALL_S
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise LocalServerError(
                    f"Apache Kafka's jars cannot be fetched (nothing came for {STALL_S:g} s); try again later, {INSTEAD}"
                )
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                return
            *complete, pending = (pending + data).split(b"\n")
            if complete:
                deadline = time.monotonic() + STALL_S
            for line in complete:
                yield line.decode(errors="replace")
