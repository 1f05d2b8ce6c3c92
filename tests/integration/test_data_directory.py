"""A worker keeps to a data directory of its own app and its own Kafka cluster."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.local import ports
from tests.support.worker_process import WorkerProcess


@pytest.fixture
def worker(kafka: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that has run once, on the directory ``data``."""
    process = WorkerProcess("datadir", kafka, tmp_path)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def cluster_of(brokers: str) -> str:
    async def ask() -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        try:
            return (await admin.describe_cluster())["cluster_id"]
        finally:
            await admin.close()

    return asyncio.run(ask())


def refused(worker: WorkerProcess, **settings: str) -> str:
    """The one line with which a worker of these settings ends on the same directory."""
    file = worker.folder / "other.yml"
    file.write_text(yaml.safe_dump({**worker.settings(), **settings}))
    done = worker.ran("--config", str(file), "--datadir", "data", "worker", "--web-port", str(ports.choose()))
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    return line


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_directory_is_refused_to_another_app_and_on_another_cluster_before_anything_is_written(
    worker: WorkerProcess,
):
    assert "in use by a worker" in refused(worker)
    worker.stop()
    data, note = worker.folder / "data", worker.folder / "data" / "owner.json"
    assert json.loads(note.read_bytes()) == {"version": 1, "app": worker.app, "cluster": cluster_of(worker.brokers)}
    before = tree(data)
    assert f"of app {worker.app}, and this is app other-app" in refused(worker, app="other-app")
    assert tree(data) == before
    note.write_text(json.dumps({"version": 1, "app": worker.app, "cluster": "gone"}))
    before = tree(data)
    assert "on the Kafka cluster gone" in refused(worker)
    assert tree(data) == before


def test_a_directory_of_a_version_that_left_no_note_goes_on_being_used(worker: WorkerProcess):
    worker.stop()
    (worker.folder / "data" / "owner.json").unlink()
    worker.start()
    assert json.loads((worker.folder / "data" / "owner.json").read_bytes())["app"] == worker.app
