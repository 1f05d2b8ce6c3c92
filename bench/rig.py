"""What all end-to-end benchmarks stand on: a local Kafka with loaded topics, a receiver, workers, all on loopback.

The Kafka is one of the project's own, in ``.distributary/bench`` (or ``bench`` under ``DISTRIBUTARY_HOME``), unless
``KAFKA_BROKERS`` names another. Loaded topics stay there for the next run; what workers made is deleted.
"""

import asyncio
import contextlib
import http.client
import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from agents.commands.send import publish
from agents.topology import MAX_RECORD_BYTES
from bench.processes import end, running
from bench.table import console
from pipeline.local import ports
from pipeline.local.servers import LocalServers, addresses_or_start, default_directory

PARTITIONS = 4
START_S = 60.0
STALL_S = 60.0
POLL_S = 0.1
QUIET_S = 1.0


class BenchError(RuntimeError):
    """A benchmark that cannot go on; the message says why and where to look."""


def get(url: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask a process on loopback."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Source:
    """A loaded topic."""

    topic: str
    events: int
    size_bytes: int


@dataclass(slots=True)
class Endpoint:
    """The receiver's process: ``url`` answers how much has come, ``target`` is where integrations send to."""

    url: str
    process: "subprocess.Popen[bytes]"
    target: str = ""

    def stats(self) -> dict[str, Any]:
        """What it has counted."""
        counted: dict[str, Any] = json.loads(get(f"{self.url}stats")[1])
        return counted

    def reset(self) -> None:
        """Count from 0."""
        get(f"{self.url}stats", "DELETE")


@dataclass(slots=True)
class Worker:
    """A worker's process."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path
    started_at: float = field(default_factory=time.time)

    def is_ready(self) -> bool:
        """Whether it says so; raises ``BenchError`` where it has ended."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(
                f"a worker ended with status {self.process.returncode}; its log {self.log} ends with:\n{tail}"
            )
        try:
            return get(f"{self.url}/health/ready")[0] == 200
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples over all other labels; 0 while there are none."""
        return sum(
            sample.value
            for sample in self.samples()
            if sample.name == f"distributary_{name}" and labels.items() <= sample.labels.items()
        )

    def ledger(self) -> Counter[str]:
        """What became of the events of the lanes that it owns; raises ``BenchError`` where it has ended."""
        self.is_ready()
        counted: Counter[str] = Counter()
        for sample in self.samples():
            if sample.name == "distributary_ledger_events":
                counted[sample.labels["state"]] += int(sample.value)
        return counted

    def samples(self) -> list[Any]:
        """All samples of /metrics; none while the worker starts."""
        try:
            text = get(f"{self.url}/metrics")[1].decode()
        except OSError:
            return []
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


class Rig:
    """See the module. Made by :func:`rig`."""

    def __init__(self, brokers: str, broker_pids: list[int], folder: Path) -> None:
        self.brokers = brokers
        self.broker_pids = broker_pids
        self.folder = folder
        self._apps = 0

    # -- topics -----------------------------------------------------------------------------------------------------

    def load(self, topic: str, events: int, make: Callable[[], Iterable[bytes]]) -> Source:
        """Have ``topic`` hold the ``events`` that ``make`` gives, evenly over its partitions; as before, if it does."""
        if self._end(topic) == events:
            size_file = self._size_file(topic)
            if size_file.exists():
                return Source(topic, events, int(size_file.read_text()))
        self.delete_topics(lambda name: name == topic)
        self.create_topic(topic)
        size_bytes = 0

        def keyed() -> Iterator[tuple[None, bytes]]:
            nonlocal size_bytes
            for event in make():
                size_bytes += len(event)
                yield None, event

        with console.status(f"loading {events:,} events"):
            sent = asyncio.run(publish(self.brokers, topic, PARTITIONS, keyed()))
        if sent != events:
            raise BenchError(f"{sent} events were made for {topic} instead of {events}")
        self._size_file(topic).write_text(str(size_bytes))
        return Source(topic, events, size_bytes)

    def _size_file(self, topic: str) -> Path:
        return self.folder.parent / f"{topic}.bytes"

    def _end(self, topic: str) -> int:
        async def ask(admin: AIOKafkaAdminClient) -> int:
            found = [each for each in await admin.describe_topics([topic]) if each.get("partitions")]
            if not found:
                return 0
            consumer = AIOKafkaConsumer(bootstrap_servers=self.brokers)
            await consumer.start()
            try:
                ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
            finally:
                await consumer.stop()
            return sum(ends.values())

        return self.admin(ask)

    def create_topic(self, topic: str, **configs: str) -> None:
        """Make an empty topic."""
        options = {"max.message.bytes": str(MAX_RECORD_BYTES), **configs}
        self.admin(lambda admin: admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=options)]))

    def delete_topics(self, is_wanted: Callable[[str], bool]) -> None:
        """Delete topics by name."""

        async def delete(admin: AIOKafkaAdminClient) -> None:
            names = [name for name in await admin.list_topics() if is_wanted(name)]
            if names:
                await admin.delete_topics(names)

        self.admin(delete)

    def admin(self, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        """Do something as an administrator of the broker."""

        async def run() -> Any:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers)
            await admin.start()
            try:
                return await work(admin)
            finally:
                await admin.close()

        return asyncio.run(run())

    # -- processes --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def receiver(self, module: str = "agents", *arguments: str) -> Iterator[Endpoint]:
        """Run the receiver: the project's own, only counting, or the one of a module with the same interface."""
        log = self.folder / f"{module}-receiver.log"
        port = ports.choose()
        options = arguments or (("receiver", "--count-only") if module == "agents" else ())
        with running(module, *options, "--port", str(port), log=log) as process:
            endpoint = Endpoint(f"http://127.0.0.1:{port}/", process)
            wait_until(lambda: _answers(f"{endpoint.url}stats"), "the receiver does not answer", START_S)
            yield endpoint

    @contextlib.contextmanager
    def receiver_of(self, kind: str) -> Iterator[Endpoint]:
        """Run the project's own receiver for a kind of sink."""
        port = ports.choose()
        stats_port = ports.choose(besides={port}) if kind == "grpc" else port
        options = ["--stats-port", str(stats_port), "--count-only"] if kind == "grpc" else []
        log = self.folder / f"{kind}-receiver.log"
        with running("agents", "receiver", "--kind", kind, *options, "--port", str(port), log=log) as process:
            target = f"{'grpc' if kind == 'grpc' else 'http'}://127.0.0.1:{port}"
            endpoint = Endpoint(f"http://127.0.0.1:{stats_port}/", process, target)
            wait_until(lambda: _answers(f"{endpoint.url}stats"), "the receiver does not answer", START_S)
            yield endpoint

    def app_name(self, name: str) -> str:
        """A name that no run before this one had."""
        self._apps += 1
        return f"bench-{name}-{int(time.time()) % 1_000_000}-{self._apps}"

    @contextlib.contextmanager
    def app(self, name: str) -> Iterator[str]:
        """Name an app; its topics and folders are deleted after the block."""
        app = self.app_name(name)
        try:
            yield app
        finally:
            self.delete_topics(lambda topic: topic.startswith(f"{app}-"))
            for folder in self.folder.glob(f"{app}-*"):
                shutil.rmtree(folder, ignore_errors=True)

    def configure(self, app: str, topic: str, integrations: list[dict[str, Any]], **settings: Any) -> Path:
        """Write a configuration."""
        path = self.folder / f"{app}.yml"
        content = {
            "app": app,
            "topic": topic,
            "partitions": PARTITIONS,
            "outbound": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
            "integrations": integrations,
            **settings,
        }
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    @contextlib.contextmanager
    def worker(self, config: Path, number: int = 0) -> Iterator[Worker]:
        """Run a worker; the same number has the same data folder."""
        port = ports.choose()
        log = self.folder / f"{config.stem}-{number}.log"
        datadir = self.folder / f"{config.stem}-{number}"
        arguments = ("--datadir", str(datadir), "worker", "--web-port", str(port), "--loglevel", "warn")
        environ = {"DISTRIBUTARY_CONFIG": str(config), "KAFKA_BROKERS": self.brokers}
        with running("agents", *arguments, log=log, environ=environ) as process:
            yield Worker(process, f"http://127.0.0.1:{port}", log)


def end_now(worker: Worker) -> None:
    """End a worker with SIGKILL."""
    worker.process.kill()
    end(worker.process)


def wait_until(is_so: Callable[[], bool], otherwise: str, deadline_s: float, poll_s: float = POLL_S) -> float:
    """Wait; gives the moment (UNIX seconds). Raises ``BenchError`` after ``deadline_s``."""
    until_s = time.monotonic() + deadline_s
    while not is_so():
        if time.monotonic() > until_s:
            raise BenchError(f"{otherwise} (after {deadline_s:g} s)")
        time.sleep(poll_s)
    return time.time()


def wait_quiet(endpoint: Endpoint, is_done: Callable[[dict[str, Any]], bool], poll_s: float = 0.25) -> dict[str, Any]:
    """Wait until nothing more comes and ``is_done`` holds for what has; raises ``BenchError`` where it stalls before."""
    stats, changed_s = endpoint.stats(), time.monotonic()
    while True:
        time.sleep(poll_s)
        now = endpoint.stats()
        if now["events"] != stats["events"]:
            changed_s = time.monotonic()
        stats = now
        quiet_s = time.monotonic() - changed_s
        if quiet_s > QUIET_S and is_done(stats):
            return stats
        if quiet_s > STALL_S:
            raise BenchError(f"nothing came for {STALL_S:g} s, after {stats['events']:,} events; is something lost?")


def _answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:
        return False


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Start, or join, the Kafka of the benchmarks."""
    home = (default_directory() / "bench").absolute()
    home.mkdir(parents=True, exist_ok=True)
    with addresses_or_start(home, names=["kafka"], on_progress=console.print) as addresses:
        status = LocalServers(home, names=["kafka"]).status()[0]
        pids = [status.pid] if status.pid and status.address == addresses.kafka else []
        with tempfile.TemporaryDirectory(prefix="run-", dir=home) as folder:
            try:
                yield Rig(addresses.kafka, pids, Path(folder))
            except BaseException:
                logs = home / "failed"
                shutil.rmtree(logs, ignore_errors=True)
                shutil.copytree(
                    folder, logs, ignore=lambda _, names: [name for name in names if not name.endswith(".log")]
                )
                console.print(f"the logs of this run are in {logs}")
                raise
