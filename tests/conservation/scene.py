"""Broker, receiver and workers of one run, and how each of them is brought down and up again."""

import itertools
import signal
import time
from pathlib import Path
from typing import Any

import yaml

from pipeline.local import ports
from pipeline.local.servers import LocalServers
from tests.conservation.arrivals import Arrivals
from tests.conservation.integrations import OTHER_KINDS, integrations
from tests.conservation.journal import Journal
from tests.conservation.processes import Process

APP = "conservation"
TOPIC = "channels-tracking-log"
PARTITIONS = 4
SESSION_TIMEOUT_S = 6.0
STOP_DEADLINE_S = 40.0
LANDS_WITHIN_S = 0.3
"""What arrives sooner after a kill had been sent before it."""


class Worker:
    """A worker's place on the machine: its data directory and port outlive its processes."""

    def __init__(self, name: str, folder: Path, port: int) -> None:
        self.name = name
        self.datadir = folder / f"{name}-data"
        self.log = folder / f"{name}.log"
        self.port = port
        self.process: Process | None = None

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive

    @property
    def is_starting(self) -> bool:
        """Whether it has not said yet that it starts: until then SIGTERM ends it as it ends any program."""
        return self.process is not None and "worker starting" not in self.process.output()


class Scene:
    """All of a run. Signals and starts are written into the journal, which the oracle reads."""

    def __init__(self, folder: Path, servers: LocalServers, integration_count: int) -> None:
        self.folder = folder
        self.servers = servers
        self.brokers = servers.addresses.kafka
        self.journal = Journal()
        self.workers: list[Worker] = []
        self._names = itertools.count(1)
        self._config = folder / "faust.yml"
        self._environment = {"KAFKA_BROKERS": self.brokers, "DISTRIBUTARY_HOME": str(folder / "home")}
        record = folder / "received.tsv"
        self._receivers = {kind: self._receiver(kind, record) for kind in ("http", *OTHER_KINDS)}
        lines = {kind: each.wait_for_output("receiving at", 30.0) for kind, each in self._receivers.items()}
        urls = {kind: line.split("receiving at ")[1].split(",")[0] for kind, line in lines.items()}
        self.integrations: list[dict[str, Any]] = integrations(integration_count, urls)
        self._config.write_text(yaml.safe_dump(self._settings(), allow_unicode=True), encoding="utf-8")
        self.arrivals = Arrivals(record, PARTITIONS)
        self.arrivals.start()

    def _receiver(self, kind: str, record: Path) -> Process:
        options = {
            "grpc": ["--stats-port", "0", "--partial", "0.2"],
            "xtremepush": ["--secret", "conservation-secret"],
            "segment": ["--write-key", "conservation-key"],
        }
        arguments = ["receiver", "--kind", kind, "--port", "0", "--record", str(record), "--seed", "1"]
        log = self.folder / f"receiver-{kind}.log"
        return Process(f"receiver-{kind}", [*arguments, *options.get(kind, [])], log, {})

    def _settings(self) -> dict[str, Any]:
        return {
            "app": APP,
            "topic": TOPIC,
            "partitions": PARTITIONS,
            "outbound": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
            "worker": {"session_timeout": f"{SESSION_TIMEOUT_S:g}s"},
            "integrations": self.integrations,
        }

    def close(self) -> None:
        """End everything but the broker."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()
        for receiver in self._receivers.values():
            receiver.signal(signal.SIGTERM)
        for receiver in self._receivers.values():
            if receiver.wait(5.0) is None:
                receiver.kill()
        self.arrivals.stop()

    def run(self, *arguments: str, timeout_s: float = 60.0) -> tuple[int | None, str]:
        """Run a command to its end; gives its exit status and what it wrote."""
        process = Process(
            arguments[0],
            ["--config", str(self._config), *arguments],
            self.folder / f"{arguments[0]}.log",
            self._environment,
        )
        status = process.wait(timeout_s)
        process.kill()
        return status, process.output()

    # workers

    @property
    def alive(self) -> list[Worker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.is_alive]

    def add_worker(self) -> Worker:
        """Start one more worker, in the place of one that was removed if there is one."""
        for worker in self.workers:
            if worker.process is None:
                break
        else:
            worker = Worker(
                f"worker-{next(self._names)}",
                self.folder,
                ports.choose(besides={worker.port for worker in self.workers}),
            )
            self.workers.append(worker)
        self.start(worker)
        return worker

    def start(self, worker: Worker) -> None:
        """Start a worker in its place."""
        arguments = [
            "--config",
            str(self._config),
            "--datadir",
            str(worker.datadir),
            "worker",
            "--web-port",
            str(worker.port),
        ]
        worker.process = Process(worker.name, arguments, worker.log, self._environment)
        self.journal.note("start", worker.name)

    def kill(self, worker: Worker) -> None:
        """``kill -9``."""
        assert worker.process is not None
        self.journal.note("kill worker", worker.name)
        worker.process.kill()

    def terminate(self, worker: Worker, *, may_fail: bool = False) -> None:
        """SIGTERM, and wait until it has ended: with status 0, unless it ``may_fail`` to hand over what it has."""
        assert worker.process is not None
        self.journal.note("stop worker", worker.name)
        asked_at_s = time.monotonic()
        worker.process.signal(signal.SIGTERM)
        while worker.is_alive and time.monotonic() < asked_at_s + STOP_DEADLINE_S:
            self.watch_over(besides=worker)
            worker.process.wait(0.1)
        status = worker.process.status
        took_s = time.monotonic() - asked_at_s
        self.journal.stops_s.append(took_s)
        if status is None:
            self.journal.fault(f"{worker.name} still ran {STOP_DEADLINE_S:g} s after SIGTERM:\n{worker.process.tail()}")
            self.kill(worker)
        elif status not in (0, *([-signal.SIGTERM] if worker.is_starting else [])) and not may_fail:
            self.journal.fault(f"{worker.name} ended with status {status} after SIGTERM:\n{worker.process.tail()}")

    def pause(self, worker: Worker) -> None:
        """SIGSTOP: it is there and does nothing, not even know that time goes by."""
        assert worker.process is not None
        self.journal.note("pause worker", worker.name)
        worker.process.signal(signal.SIGSTOP)

    def resume(self, worker: Worker) -> None:
        """SIGCONT."""
        assert worker.process is not None
        self.journal.note("resume worker", worker.name)
        worker.process.signal(signal.SIGCONT)

    def watch_over(self, *, besides: Worker | None = None) -> None:
        """Start workers again that ended by themselves, as a service manager does, and note it."""
        for worker in self.workers:
            if worker is not besides and worker.process is not None and not worker.process.is_alive:
                self.journal.ended(worker.name, worker.process.status, worker.process.output())
                self.start(worker)

    def wait(self, duration_s: float) -> None:
        """Let time go by and look after the workers."""
        ends_at_s = time.monotonic() + duration_s
        while (left_s := ends_at_s - time.monotonic()) > 0:
            self.watch_over()
            time.sleep(min(0.1, left_s))

    def wait_for_delivery(self, timeout_s: float) -> bool:
        """Wait until a batch comes that had not come before."""
        began_at_s = time.monotonic()
        while time.monotonic() < began_at_s + timeout_s:
            if self.arrivals.last_new_at_s > began_at_s:
                return True
            self.wait(0.1)
        return False

    def wait_for_all_partitions(self, timeout_s: float) -> bool:
        """Wait until all partitions that were busy before the last upset have delivered something new."""
        ends_at_s = time.monotonic() + timeout_s
        while self.arrivals.all_partitions_after(self.journal.last_upset_at_s + LANDS_WITHIN_S) is None:
            if time.monotonic() > ends_at_s:
                return False
            self.wait(0.1)
        return True

    # broker

    def kill_broker(self, *, stalled_s: float = 0.0) -> None:
        """``kill -9``, after it stood still for ``stalled_s``."""
        if stalled_s:
            self.journal.note("stall broker", "broker")
            self.servers.pause_kafka()
            self.wait(stalled_s)
        self.journal.note("kill broker", "broker")
        self.servers.kill_kafka()

    def stop_broker(self) -> None:
        """Let it end in good order."""
        self.journal.note("stop broker", "broker")
        self.servers.stop_kafka()

    def start_broker(self) -> None:
        """Start it again, with what it had."""
        self.servers.start_kafka()
        self.journal.note("broker is back", "broker")
