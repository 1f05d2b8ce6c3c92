"""Several workers of one app as processes of their own, with events to match, looked at through their view."""

import asyncio
import csv
import io
import json
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import yaml
from aiokafka import AIOKafkaProducer

from agents.kafka_topics import ensure_topic
from pipeline.local import ports
from tests.support.worker_process import LOOPBACK, ROOT, eventually

PARTITIONS = 4
ADMIN = "admin-token-of-this-test"
VIEWER = "viewer-token-of-this-test"


class Answer(NamedTuple):
    """What a page said as JSON."""

    status: int
    body: dict[str, Any]
    took_s: float

    def rows(self, section: str) -> list[dict[str, Any]]:
        return self.body["sections"][section]["rows"]

    @property
    def is_complete(self) -> bool:
        return bool(self.body["coverage"]["complete"])


class Worker:
    """One of them."""

    def __init__(self, deployment: "Deployment", number: int) -> None:
        self._deployment = deployment
        self.name = f"worker-{number}"
        self.port = ports.choose()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        folder = self._deployment.folder
        with (folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agents", "--datadir", self.name, "worker", "--web-port", str(self.port)],
                cwd=folder,
                env=self._deployment.environment,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return (self._deployment.folder / f"{self.name}.log").read_text()

    def fetch(self, path: str, token: str = ADMIN) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()[-4000:]
        try:
            return self.fetch("/health/ready")[0] == 200
        except OSError:
            return False

    def page(self, path: str, *, token: str = ADMIN, **parameters: Any) -> Answer:
        """A page as JSON."""
        query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
        began_s = time.monotonic()
        status, text = self.fetch(f"{path}.json{query}", token)
        return Answer(status, json.loads(text), time.monotonic() - began_s)

    def csv(self, path: str, **parameters: Any) -> list[dict[str, str]]:
        query = f"?{urlencode(parameters)}" if parameters else ""
        return list(csv.DictReader(io.StringIO(self.fetch(f"{path}.csv{query}")[1])))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Deployment:
    """An app with its workers, for the length of a ``with``."""

    def __init__(self, brokers: str, folder: Path, integrations: list[dict[str, Any]], **settings: Any) -> None:
        self.brokers = brokers
        self.folder = folder
        self.app = f"pair-{secrets.token_hex(4)}"
        self.topic = f"{self.app}-events"
        own = {"PYTHONPATH": str(ROOT), "DISTRIBUTARY_HOME": str(folder / "home"), "PATH": "/usr/bin:/bin"}
        self.environment = own
        self.workers: list[Worker] = []
        self._settings = {
            "app": self.app,
            "topic": self.topic,
            "broker": f"kafka://{brokers}",
            "partitions": PARTITIONS,
            "outbound": LOOPBACK,
            "worker": {"session_timeout": "6s"},
            "view": {
                "tokens": [
                    {"name": "ada", "role": "admin", "token": ADMIN},
                    {"name": "vera", "role": "viewer", "token": VIEWER},
                ]
            },
            "integrations": integrations,
            **settings,
        }

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "faust.yml").write_text(yaml.safe_dump(self._settings))
        asyncio.run(ensure_topic(self.brokers, self.topic, PARTITIONS))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.process.wait(20)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait(10)

    def add(self, count: int = 1) -> list[Worker]:
        """Start more workers, without waiting for them."""
        added = [Worker(self, len(self.workers) + number) for number in range(count)]
        for worker in added:
            worker.start()
        self.workers += added
        return added

    def share(self) -> None:
        """Wait until all are ready and each owns partitions, as all of them see it."""

        def is_shared() -> bool:
            if not all(worker.is_ready() for worker in self.workers):
                return False
            answers = [worker.page("/workers") for worker in self.workers]
            return all(
                answer.status == 200
                and answer.is_complete
                and len(answer.rows("workers")) == len(self.workers)
                and sum(row["partitions"] for row in answer.rows("workers")) == PARTITIONS
                for answer in answers
            )

        eventually(is_shared, "each worker owns a part of the partitions", 60)

    def publish(self, events: Iterable[bytes]) -> None:
        """Send events to all partitions of the source topic in turn."""

        async def publish() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.brokers)
            await producer.start()
            try:
                for number, event in enumerate(events):
                    await producer.send(self.topic, event, partition=number % PARTITIONS)
                await producer.flush()
            finally:
                await producer.stop()

        asyncio.run(publish())
