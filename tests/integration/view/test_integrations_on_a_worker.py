"""The same API on a whole worker: what is made there is kept, takes events, and can be previewed from its own topic."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.doctor.sample import TEST_USER
from tests.support.worker_process import WorkerProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
ROOT = "/api/v1/integrations"


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    worker = WorkerProcess("view-api", kafka, tmp_path_factory.mktemp("worker"))
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def ask(worker: WorkerProcess, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, body and headers."""
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{worker.port}{path}", data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null"), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def events(count: int) -> bytes:
    fields = {"event_name": "Push Sent", "platform": "iOS", "application_code": "A", "hwid": TEST_USER}
    return b"".join(json.dumps({**fields, "timestamp": int(time.time())}).encode() + b"\n" for _ in range(count))


def stored_as_shown(worker: WorkerProcess) -> int:
    """How many records of the stored integrations' topic an admin can look at, none of which shows a secret."""
    topic = f"{worker.app}-integrations-changelog"
    newest = ask(worker, "GET", f"/topics/{topic}.json")[1]["sections"]["records"]["rows"]
    for row in newest:
        record = ask(worker, "GET", f"/topics/{topic}/{row['partition']}/{row['offset']}.json")[1]
        assert "hush" not in json.dumps(record)
    assert "hush" not in json.dumps(newest)
    return len(newest)


def test_an_integration_is_made_changed_previewed_and_removed(worker: WorkerProcess) -> None:
    settings = {"id": "crm", "kind": "http", "url": "https://crm.invalid/", "events": ["Push Sent"], "platforms": ["*"]}
    worker.run("send", "-", stdin=events(40))

    status, made, headers = ask(worker, "POST", ROOT, settings | {"authorization": "Bearer hush"})
    assert (status, made["integration"]["settings"]["authorization"]) == (201, "********")
    assert stored_as_shown(worker) > 0

    began_s = time.monotonic()
    changed, _, newer = ask(
        worker, "PUT", f"{ROOT}/crm", settings | {"events": ["Email Sent"]}, If_Match=headers["ETag"]
    )
    assert (changed, ask(worker, "PUT", f"{ROOT}/crm", settings, If_Match=headers["ETag"])[0]) == (200, 412)
    assert time.monotonic() - began_s < 2

    eventually(lambda: ask(worker, "POST", f"{ROOT}/preview", {"settings": settings})[1]["matching"] == 40, "40 match")
    found = ask(worker, "POST", f"{ROOT}/preview", {"id": "crm"})[1]
    assert (found["matching"], found["kept_away"]["events"], found["read"]["is_whole"]) == (0, 40, True)

    assert ask(worker, "DELETE", f"{ROOT}/crm", If_Match=newer["ETag"])[0] == 204
    assert ask(worker, "GET", f"{ROOT}/crm")[0] == 404
