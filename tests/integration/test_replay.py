"""What was parked is sent again, what was missed is sent later, what was given up is tried again: by commands, on real Kafka."""

import asyncio
import json
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agents.changelog import read_rows
from agents.commands.ledger import read as read_ledger
from agents.commands.send import publish
from agents.topology import Names
from pipeline.replay.held import belongs_to, held_lanes
from pipeline.traffic import POISON, events
from tests.support.worker_process import PARTITIONS, WorkerProcess, eventually

WITHIN_S = 40.0
SOON = {"batch": {"max_events": 10, "max_age": "200ms"}}
TRIED_ONCE = {"retry": {"delays": []}, "breaker": {"enabled": False}}


def uuid_of(event: bytes) -> str:
    return json.loads(event)["uuid"]


class Came(NamedTuple):
    """A request that was answered with success."""

    batch: str
    purpose: str | None
    uuids: tuple[str, ...]


class Customers:
    """Endpoints, one for each path: ``answers`` holds the status that each gives, 200 where none is set."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.came: dict[str, list[Came]] = {}
        self.refused: Counter[str] = Counter()
        self._lock = threading.Lock()
        customers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                name = self.path.strip("/")
                status = customers.answers.get(name, 200)
                with customers._lock:
                    if status == 200:
                        uuids = tuple(each["uuid"] for each in json.loads(body))
                        came = Came(self.headers["webhook-id"], self.headers["distributary-purpose"], uuids)
                        customers.came.setdefault(name, []).append(came)
                    else:
                        customers.refused[name] += 1
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def uuids(self, name: str) -> Counter[str]:
        return Counter(uuid for came in self.came.get(name, ()) for uuid in came.uuids)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Flow(WorkerProcess):
    """A worker with the integrations of this file, and a shell beside it."""

    def __init__(self, brokers: str, folder: Path) -> None:
        super().__init__("replay", brokers, folder)
        self.customers = Customers()

    def integrations(self) -> list[dict[str, Any]]:
        anything = {"kind": "http", "platforms": ["*"], "events": ["*"], "live_activities": True, **SOON}
        chosen = {
            "mended": TRIED_ONCE,
            "named": TRIED_ONCE,
            "late": {},
            "hourly": {},
            "gone": {},
            "broken": {
                "retry": {"delays": ["10ms", "10ms", "1h"]},
                "breaker": {"after_tries": 2, "after": "0s", "pause": "1h", "max_pause": "1h"},
            },
        }
        return [
            {"id": name, "url": f"{self.customers.url}{name}", "applications": [name.upper()], **anything, **more}
            for name, more in chosen.items()
        ]

    def publish(self, application: str, seed: int, count: int) -> list[str]:
        """Publish events of one application; gives their uuids."""
        made = list(events(seed, count, applications=[application]))
        asyncio.run(publish(self.brokers, self.topic, PARTITIONS, ((None, each) for each in made)))
        return [uuid_of(each) for each in made]

    def account(self, integration: str) -> dict[str, Any]:
        """The integration's line of a ledger that balances as a whole, and hour by hour."""
        ledger = json.loads(self.run("ledger", "--hours", "--integration", integration, "--json"))
        assert ledger["balanced"] is True
        (account,) = ledger["integrations"]
        return account

    def states(self, integration: str) -> tuple[int, int, int, int]:
        """Events matched, open or waiting, delivered and parked, as they stand."""
        ledger = asyncio.run(read_ledger(self.brokers, Names(self.app)))
        for each in ledger.accounts:
            if each.integration == integration:
                return each.matched, each.open + each.waiting, each.delivered, each.parked
        return 0, 0, 0, 0


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    flow = Flow(kafka, tmp_path_factory.mktemp("replay"))
    flow.start()
    try:
        yield flow
        status = flow.stop()
        assert status == 0, flow.log()[-4000:]
    finally:
        if flow.worker is not None:
            flow.worker.kill()
        flow.customers.close()


def test_a_mended_endpoint_gets_what_was_parked_once_although_it_is_asked_for_again_and_again(flow: Flow):
    flow.customers.answers["mended"] = 500
    uuids = flow.publish("MENDED", 1, 95)
    eventually(lambda: flow.states("mended") == (95, 0, 0, 95), "all is parked")

    dry = json.loads(flow.run("replay", "--integration", "mended", "--dry-run", "--json"))
    assert (dry["events"], dry["replayed"]) == (95, None)
    assert dry["batches"] == sum(group["batches"] for group in dry["groups"]) >= 10
    assert {group["reason"].partition(":")[0] for group in dry["groups"]} == {"retries exhausted"}
    assert "nothing that is parked fits" in flow.run("replay", "--integration", "mended", "--until", "1h")
    assert flow.account("mended")["parked"] == 95

    flow.customers.answers["mended"] = 200
    assert interrupted(flow, "replay", "--integration", "mended", "--rate", "4", "--yes", after=2) == 130
    between = flow.account("mended")
    assert 0 < between["delivered"] < 95
    assert between["matched"] == between["waiting"] + between["delivered"] + between["parked"] == 95
    flow.run("replay", "--integration", "mended", "--yes", "--rate", "1000")
    flow.run("replay", "--integration", "mended", "--yes", "--rate", "1000")
    eventually(lambda: flow.states("mended") == (95, 0, 95, 0), "all is delivered")
    assert flow.account("mended")["delivered"] == 95

    assert flow.customers.uuids("mended") == Counter(uuids)
    assert {came.purpose for came in flow.customers.came["mended"]} == {None}
    assert all(count == 1 for count in Counter(came.batch for came in flow.customers.came["mended"]).values())
    assert "nothing that is parked fits" in flow.run("replay", "--integration", "mended", "--reason", "500")


def interrupted(flow: Flow, *arguments: str, after: int) -> int:
    """Run a command and press Ctrl-C when the customer has so many more requests; gives its exit status."""
    name = arguments[2]
    had = len(flow.customers.came.get(name, ()))
    process = subprocess.Popen(
        flow.command(*arguments),
        cwd=flow.folder,
        env=flow.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        eventually(lambda: len(flow.customers.came.get(name, ())) >= had + after, "the command has begun")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert b"the same command goes on" in output, output.decode()
    return process.returncode


def test_batches_can_be_named(flow: Flow):
    flow.customers.answers["named"] = 404
    flow.publish("NAMED", 2, 40)
    eventually(lambda: flow.states("named") == (40, 0, 0, 40), "all is parked")
    flow.customers.answers["named"] = 200

    output = flow.run("replay", "--batch", "named:40-1000", "--yes", status=1)
    assert "nothing that is parked fits" in output
    plan = json.loads(flow.run("replay", "--batch", "named:0-20", "--json", stdin=b"n\n"))
    assert (plan["events"], plan["replayed"]) == (20, None)
    report = json.loads(flow.run("replay", "--batch", "named:0-20", "--batch", "named:20-40", "--json", "--yes"))
    assert report["replayed"] == {"batches": report["batches"], "events": 40, "gone": [], "stopped": False}
    eventually(lambda: flow.states("named") == (40, 0, 40, 0), "all is delivered")


def test_a_backfill_arrives_once_and_marked_however_often_it_is_given(flow: Flow):
    begin = dict.fromkeys(range(PARTITIONS), 0)
    uuids = flow.publish("LATE", 3, 300)
    asyncio.run(publish(flow.brokers, flow.topic, PARTITIONS, [(None, POISON["not_json"](b"{}"))]))
    eventually(lambda: flow.states("late") == (300, 0, 300, 0), "all has arrived as it happened")
    assert {came.purpose for came in flow.customers.came["late"]} == {None}

    places = [text for partition in begin for text in ("--from-offset", f"{partition}:0")]
    backfill = ["replay", "--backfill", "--integration", "late", *places]
    dry = json.loads(flow.run(*backfill, "--dry-run", "--json"))
    assert (dry["read"]["matched"], dry["sent"], dry["goes_on"]) == (300, False, False)
    assert dry["records"] == dry["read"]["events"] > 300
    assert dry["read"]["poison"]["not_json"] == 1
    assert flow.states("late") == (300, 0, 300, 0)

    assert interrupted_backfill(flow, *backfill, "--rate", "100", "--yes") == 130
    flow.run(*backfill, "--yes")
    eventually(lambda: flow.states("late") == (600, 0, 600, 0), "the backfill has arrived")
    again = json.loads(flow.run(*backfill, "--yes", "--json"))
    assert (again["goes_on"], again["read"] is None or again["read"]["matched"] == 0) == (True, True)

    marked = [came for came in flow.customers.came["late"] if came.purpose is not None]
    assert {came.purpose for came in marked} == {"backfill"}
    assert Counter(uuid for came in marked for uuid in came.uuids) == Counter(uuids)
    assert all(came.batch.startswith("late~backfill:") for came in marked)

    flow.run(*backfill, "--yes", "--again", "2")
    eventually(lambda: flow.states("late") == (900, 0, 900, 0), "another job has sent it all again")


def interrupted_backfill(flow: Flow, *arguments: str) -> int:
    process = subprocess.Popen(
        flow.command(*arguments),
        cwd=flow.folder,
        env=flow.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        eventually(
            lambda: any(came.purpose for came in flow.customers.came.get("late", ())),
            "the backfill has begun to arrive",
        )
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    stopped = re.search(rb"stopped after (\d+) of", output)
    assert stopped, output.decode()
    return process.returncode


@pytest.mark.parametrize(("name", "status", "word"), [("gone", 410, "halted"), ("broken", 500, "breaker open")])
def test_what_was_given_up_is_tried_again_when_somebody_says_so(flow: Flow, name: str, status: int, word: str):
    flow.customers.answers[name] = status
    uuids = flow.publish(name.upper(), 4, 25)
    eventually(lambda: word in held(flow, name), "the lane is held back")
    assert flow.states(name) == (25, 25, 0, 0)

    flow.customers.answers[name] = 200
    report = json.loads(flow.run("resume", name, "--json"))
    (lane,) = report["resumed"]
    assert (lane["lane"], lane["waiting_events"]) == (name, 25)
    eventually(lambda: flow.states(name) == (25, 0, 25, 0), "all is delivered")
    assert flow.customers.uuids(name) == Counter(uuids)
    assert flow.run("resume", name) == f"nothing holds {name} back\n"


def held(flow: Flow, name: str) -> str:
    """What holds the lane back, by its row."""
    changelog = Names(flow.app).pending_changelog("http")
    rows = asyncio.run(read_rows(flow.brokers, changelog, wants=lambda key: belongs_to(name, key)))
    return "; ".join(each.why for each in held_lanes({"http": rows}, now=time.time()) if each.waiting_events == 25)


def test_the_hours_are_shown_and_add_up(flow: Flow):
    flow.publish("HOURLY", 5, 10)
    eventually(lambda: flow.states("hourly") == (10, 0, 10, 0), "all is delivered")
    output = flow.run("ledger", "--hours", "2", "--integration", "hourly")
    assert re.search(r"^hourly +\d{4}-\d\d-\d\d \d\d:00 ", output, re.MULTILINE)
    assert output.rstrip().endswith("balanced")
    (account,) = json.loads(flow.run("ledger", "--hours", "48", "--integration", "hourly", "--json"))["integrations"]
    whole = Counter(
        {name: account[name] for name in ("matched", "open", "waiting", "delivered", "parked", "discarded")}
    )
    parts: Counter[str] = Counter()
    for figures in (account["older"], account["on_the_way"], *account["hours"]):
        parts.update({name: figures[name] for name in whole})
    assert parts == whole
