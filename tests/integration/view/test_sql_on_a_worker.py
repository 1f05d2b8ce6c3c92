"""SQL on a whole worker, on real Kafka: every table that it offers can be asked, and its ledger adds up."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from agents.view.sql_reference import EVERY_TABLE, documented
from pipeline.traffic import events
from tests.support.worker_process import WorkerProcess, eventually

EVENTS = 200


class Deployment(WorkerProcess):
    """A worker with one integration that opens windows and never fills them."""

    def integrations(self) -> list[dict[str, Any]]:
        return [
            {
                "id": "crm",
                "kind": "http",
                "url": "http://127.0.0.1:9/events",
                "authorization": "Bearer a-secret-of-crm",
                "events": ["*"],
                "platforms": ["*"],
                "batch": {"max_events": 100_000, "max_age": "10h"},
            }
        ]

    def answer(self, query: str) -> dict[str, Any]:
        status, text = self.get("/sql.json?" + urlencode({"q": query}))
        assert status == 200, text
        return json.loads(text)

    def rows(self, query: str) -> list[dict[str, Any]]:
        return self.answer(query)["sections"]["result"]["rows"]


@pytest.fixture(scope="module")
def worker(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment("sql", kafka, tmp_path_factory.mktemp("sql"))
    deployment.start()
    try:
        lines = b"".join(event + b"\n" for event in events(1, EVENTS))
        deployment.run("send", "-", stdin=lines)
        eventually(
            lambda: deployment.rows("SELECT coalesce(sum(matched), 0) AS n FROM ledger")[0]["n"] == EVENTS,
            "all events are matched",
        )
        yield deployment
    finally:
        deployment.stop()


def test_the_ledger_adds_up_in_sql(worker):
    query = "SELECT matched, open + waiting + delivered + parked + discarded AS placed, open FROM ledger WHERE integration = 'crm'"
    assert worker.rows(query) == [{"matched": EVENTS, "placed": EVENTS, "open": EVENTS}]
    assert worker.answer(query)["coverage"]["complete"] is True


def test_every_table_can_be_asked(worker):
    tables = [row["name"] for row in worker.rows("SHOW TABLES")]
    assert {"ledger", "hours", "lanes", "table_windows", "table_pending_http"} <= set(tables)
    for table in tables:
        worker.rows(f"SELECT * FROM {table}")


def test_every_table_is_documented(worker):
    tables = {row["name"] for row in worker.rows("SHOW TABLES")}
    known = {table.name for table in documented()}
    assert {each for each in tables if not each.startswith(EVERY_TABLE.removesuffix("NAME"))} <= known


def test_no_table_gives_a_secret_away(worker):
    for row in worker.rows("SHOW TABLES"):
        assert "a-secret-of-crm" not in json.dumps(worker.answer(f"SELECT * FROM {row['name']}")), row["name"]


def test_the_rows_of_a_faust_table_can_be_taken_apart(worker):
    found = worker.rows("SELECT count(DISTINCT integration) AS n FROM table_windows WHERE integration IS NOT NULL")
    assert found == [{"n": 1}]
