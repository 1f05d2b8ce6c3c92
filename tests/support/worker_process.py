"""A worker as a process of its own, as an operator starts it, and commands beside it."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from agents.kafka_topics import ensure_topic
from pipeline.local import ports

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
LOOPBACK = {"allow_http": True, "allow_networks": ["127.0.0.0/8"]}


def eventually(is_so: Callable[[], Any], what: str, within_s: float = 40.0) -> None:
    """Wait until ``is_so()``; fails with ``what`` after ``within_s`` seconds."""
    deadline_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        time.sleep(0.05)


class WorkerProcess:
    """One deployment with one worker; ``name`` begins the names of its topics."""

    def __init__(self, name: str, brokers: str, folder: Path) -> None:
        self.brokers = brokers
        self.folder = folder
        self.app = f"{name}-{secrets.token_hex(4)}"
        self.topic = f"{self.app}-events"
        self.port = ports.choose()
        own = {"PYTHONPATH": str(ROOT), "DISTRIBUTARY_HOME": str(folder / "home")}
        self.environment = {**{name: value for name, value in os.environ.items() if name != "KAFKA_BROKERS"}, **own}
        self.worker: subprocess.Popen[bytes] | None = None

    def integrations(self) -> list[dict[str, Any]]:
        """The integrations of ``faust.yml``."""
        return []

    def settings(self) -> dict[str, Any]:
        """All of ``faust.yml``."""
        return {
            "app": self.app,
            "topic": self.topic,
            "broker": f"kafka://{self.brokers}",
            "partitions": PARTITIONS,
            "outbound": LOOPBACK,
            "integrations": self.integrations(),
        }

    def begin(self) -> None:
        """Start the worker, or start it again, without waiting for it."""
        (self.folder / "faust.yml").write_text(yaml.safe_dump(self.settings()))
        asyncio.run(ensure_topic(self.brokers, self.topic, PARTITIONS))
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                self.command("--datadir", "data", "worker", "--web-port", str(self.port)),
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start the worker and wait until it is ready."""
        self.begin()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until the worker says that it is ready."""
        eventually(lambda: self.get("/health/ready")[0] == 200, "the worker is ready")

    def stop(self) -> int:
        """Stop the worker in good order; gives its status."""
        assert self.worker is not None
        self.worker.send_signal(signal.SIGTERM)
        try:
            return self.worker.wait(20)
        finally:
            self.worker.kill()

    def log(self) -> str:
        """What the worker wrote."""
        return (self.folder / "worker.log").read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Ask the worker's web server; status 0 where it does not answer."""
        assert self.worker is not None
        assert self.worker.poll() is None, self.log()[-4000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``distributary`` with these arguments."""
        return [sys.executable, "-m", "agents", *arguments]

    def ran(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """What became of a command, however it ended."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def run(self, *arguments: str, status: int = 0, stdin: bytes = b"") -> str:
        """Run a command that is to end with ``status``; gives its standard output."""
        done = self.ran(*arguments, stdin=stdin)
        assert done.returncode == status, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()
