"""From a broken endpoint to a delivered batch, as somebody sees it who looks at the overview."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.viewed_integrations import Endpoint, ViewedWorker, ask, page, row, rows
from tests.support.worker_process import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SENT = 40


@pytest.fixture
def worker(kafka: str, tmp_path: Path) -> Iterator[ViewedWorker]:
    endpoint = Endpoint()
    worker = ViewedWorker(kafka, tmp_path, endpoint)
    try:
        worker.start()
        yield worker
    finally:
        if worker.worker is not None:
            worker.stop()
        endpoint.close()


def test_what_is_wrong_is_named_until_it_is_repaired_and_resumed(worker: ViewedWorker) -> None:
    assert rows(worker, "/index.json", "attention") == []
    worker.send(SENT)
    eventually(
        lambda: any(each["where"] == "broken" for each in rows(worker, "/index.json", "attention")), "broken is named"
    )

    worker.endpoint.is_broken = False
    status, text = ask(worker, "/integrations/broken/resume", form={})
    assert status == 200, text
    eventually(lambda: row(worker, "broken")["delivered"] == SENT, "all is delivered")
    eventually(lambda: rows(worker, "/index.json", "attention") == [], "nothing needs attention any more")

    entries = page(worker, "/audit.json")["sections"]["audit"]["rows"]
    assert (entries[0]["what"], entries[0]["target"], entries[0]["who"]) == ("endpoint resumed", "broken", "ana")
    assert page(worker, f"/audit/{entries[0]['revision']}.json")["facts"]["to"] == "broken"


def test_an_endpoint_that_asked_for_a_long_pause_is_named_and_resumed(worker: ViewedWorker) -> None:
    worker.endpoint.pause_s = 7200
    worker.send(SENT)
    eventually(
        lambda: any("asked to be left alone" in each["what"] for each in rows(worker, "/index.json", "attention")),
        "the pause is named",
    )
    text = ask(worker, "/integrations/broken")[1]
    assert "The endpoint asked to be left alone for long" in text
    assert "act-resume" in text

    worker.endpoint.is_broken = False
    status, text = ask(worker, "/integrations/broken/resume", form={})
    assert status == 200, text
    eventually(lambda: row(worker, "broken")["delivered"] == SENT, "all is delivered")
    assert rows(worker, "/index.json", "attention") == []
