"""The view of a whole worker, a process of its own on real Kafka."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.local import ports

ROOT = Path(__file__).parents[3]
WITHIN_S = 60.0
TOKEN = "ana-token-0123456789"


class Worker:
    """A worker with a `view` section, reached by plain requests."""

    def __init__(self, folder: Path, brokers: str, view: dict[str, Any], *options: str) -> None:
        self.port = ports.choose()
        app = f"view-{secrets.token_hex(4)}"
        settings = {"app": app, "topic": f"{app}-events", "broker": f"kafka://{brokers}", "partitions": 2, "view": view}
        (folder / "faust.yml").write_text(yaml.safe_dump(settings))
        command = [
            sys.executable,
            "-m",
            "agents",
            "--datadir",
            "data",
            "worker",
            "--web-port",
            str(self.port),
            *options,
        ]
        self.log = folder / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), "DISTRIBUTARY_HOME": str(folder)},
            )

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()
        except OSError:
            return 0, {}, b""

    def await_ready(self) -> None:
        deadline_s = time.monotonic() + WITHIN_S
        while self.get("/health/ready")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline_s, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One with a token for a viewer."""
    folder = tmp_path_factory.mktemp("worker-view")
    running = Worker(folder, kafka, {"tokens": [{"name": "ana", "role": "viewer", "token": TOKEN}]})
    try:
        running.await_ready()
        yield running
    finally:
        running.stop()


def test_health_and_metrics_need_no_sign_in(worker: Worker) -> None:
    assert worker.get("/health/live")[0] == 200
    status, headers, body = worker.get("/metrics")
    assert status == 200
    assert body.startswith(b"# HELP")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_pages_need_a_token(worker: Worker) -> None:
    assert worker.get("/about.json")[0] == 401
    status, _, body = worker.get("/about.json", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert json.loads(body)["facts"]["partitions"] == 2


def test_no_secret_is_told(worker: Worker) -> None:
    for extension in ("", ".json", ".csv"):
        _, _, body = worker.get(f"/about{extension}", Authorization=f"Bearer {TOKEN}")
        assert body
        assert TOKEN.encode() not in body


@pytest.mark.parametrize(
    "path", ["/router", "/router/", "/table", "/table/", "/graph", "/stats", "/performance/", "/docs"]
)
def test_fausts_own_pages_are_off(worker: Worker, path: str) -> None:
    assert worker.get(path, Authorization=f"Bearer {TOKEN}", Accept="application/json")[0] == 404


def test_calls_between_workers_take_their_signature(worker: Worker) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{worker.port}/-/gather", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.code == 401


@pytest.mark.parametrize("view", [{}, {"proxy": {"networks": ["10.0.0.0/8"]}}])
def test_a_worker_that_would_be_open_to_everybody_does_not_start(tmp_path: Path, view: dict[str, Any]) -> None:
    refused = Worker(tmp_path, "127.0.0.1:9", view, "--web-bind", "0.0.0.0")
    try:
        assert refused.process.wait(WITHIN_S) == 1
    finally:
        refused.stop()
    assert "nobody would have to sign in; add view.tokens" in refused.log.read_text()
