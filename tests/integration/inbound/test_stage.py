"""The inbound stage on real Kafka: killed at the worst moment, killed under load, and on the way to a customer's endpoint."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.inbound.event import make_event
from pipeline.inbound.keys import request_key, uuid_of
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest, encode
from pipeline.inbound.rows import COUNTS, CountsRow, SubjectRow, counted_in, decode_counts, decode_subject, subject_key
from pipeline.local import ports
from pipeline.model.placement import partition_of
from pipeline.notices.notice import Cause, decode_notice
from pipeline.receiver.receiver import Receiver
from tests.support.called_worker import APPLICATION, ORDER, SECRET, CalledWorker, webhook
from tests.support.whole_topic import read_topic
from tests.support.worker_process import PARTITIONS, WorkerProcess, eventually

CALLERS = 16
IS_FULL = os.environ.get("INBOUND_LOAD") == "full"
KEYS = 900 if IS_FULL else 300
KILLS_AT = (200, 450, 700) if IS_FULL else (120,)
"""After so many requests were taken, a worker is killed."""


class StagedWorker(CalledWorker):
    """A worker whose stage is looked at through what it leaves in Kafka."""

    dies = False
    integration_url = ""

    def integrations(self) -> list[dict[str, Any]]:
        if not self.integration_url:
            return []
        batch = {"max_events": 50, "max_age": "200ms"}
        return [
            {
                "id": "crm",
                "kind": "http",
                "url": self.integration_url,
                "events": ["OrderPaid"],
                "platforms": ["*"],
                "batch": batch,
            }
        ]

    def command(self, *arguments: str) -> list[str]:
        module = "tests.support.dying_worker" if self.dies else "agents"
        return [sys.executable, "-m", module, *arguments]

    def put(self, requests: list[InboundRequest]) -> None:
        """Publish requests as the listener does."""

        async def put() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.brokers)
            await producer.start()
            try:
                for request in requests:
                    partition = partition_of(request.webhook_id, PARTITIONS)
                    await producer.send(self.names.inbound_requests, encode(request), partition=partition)
                await producer.flush()
            finally:
                await producer.stop()

        asyncio.run(put())

    def rows(self) -> dict[bytes, bytes]:
        """The rows of table ``inbound``, as its changelog has them."""
        return {key: value for key, value in self.keyed_records(f"{self.names.inbound}-changelog") if value is not None}

    def subject(self, name: str) -> SubjectRow:
        value = self.rows().get(subject_key(name))
        return SubjectRow() if value is None else decode_subject(value)

    def counts(self, name: str) -> CountsRow:
        """All counts of a subject together."""
        total = CountsRow()
        for key, value in self.rows().items():
            if key.startswith(COUNTS) and counted_in(key)[0] == name:
                total = total.plus(decode_counts(value))
        return total

    def keyed_records(self, topic: str) -> list[tuple[bytes, bytes | None]]:
        found: dict[bytes, bytes | None] = {}
        found.update((record.key, record.value) for record in read_topic(self.brokers, topic, PARTITIONS))
        return [*found.items()]


def accepted(key: str = "", *, at_s: float | None = None, name: str = "orders") -> InboundRequest:
    """An accepted request, as the listener writes it."""
    request_id = str(uuid.uuid4())
    at_s = time.time() if at_s is None else at_s
    event_key = request_key(name, key)
    made, event = make_event(
        event_key or request_id,
        name="OrderPaid",
        application=APPLICATION,
        platform="Web",
        timestamp_s=int(at_s),
        user_id="jane",
        attributes={"__webhook": name},
    )
    return InboundRequest(
        at_s=at_s,
        request_id=request_id,
        source="webhook",
        outcome=Outcome.ACCEPTED,
        status=200,
        webhook_id=name,
        application=APPLICATION,
        user_key="jane",
        events=[InboundEvent(key=event_key, uuid=made, event=msgspec.Raw(event))],
    )


def refused(outcome: Outcome, name: str = "orders") -> InboundRequest:
    """A request that came to nothing."""
    return InboundRequest(
        at_s=time.time(),
        request_id=str(uuid.uuid4()),
        source="webhook",
        outcome=outcome,
        status=outcome.status,
        webhook_id=name,
        application=APPLICATION,
    )


@pytest.fixture
def staged(kafka: str, redis_url: str, tmp_path: Path) -> Iterator[StagedWorker]:
    worker = StagedWorker(kafka, redis_url, tmp_path, [webhook("orders"), webhook("leads")], route_inbound=True)
    yield worker
    if worker.worker is not None and worker.worker.poll() is None:
        assert worker.stop() == 0, worker.log()[-4000:]


def test_a_worker_that_dies_between_event_and_row_fires_nothing_twice(staged: StagedWorker):
    staged.start()
    assert staged.stop() == 0
    requests = [accepted(f"key-{number % 40}") for number in range(60)] + [accepted() for _ in range(20)]
    expected = [*dict.fromkeys(request.events[0].uuid for request in requests)]
    staged.put(requests[:30])
    staged.dies = True
    staged.begin()
    assert staged.worker is not None
    staged.worker.wait(40)
    assert [event["uuid"] for event in staged.events()] == expected[:30], "it was to die when the events were there"
    assert staged.rows().keys().isdisjoint({subject_key("orders")}), "and no rows"

    staged.put(requests[30:])
    staged.begin()  # again: now some events are known from the topic, others are new
    staged.worker.wait(40)
    staged.dies = False
    staged.start()
    eventually(lambda: staged.subject("orders").received == len(requests), "all requests are counted")
    assert [event["uuid"] for event in staged.events()] == expected
    counts = staged.counts("orders")
    assert (counts.requests, counts.events) == ({"accepted": 60, "duplicate": 20}, len(expected))
    assert "inbound events were written before a crash" in staged.log()


def test_an_idempotency_key_is_known_after_the_data_directory_is_lost(staged: StagedWorker):
    staged.start()
    staged.put([accepted("one"), accepted("two")])
    eventually(lambda: staged.subject("orders").events == 2, "both are taken")
    assert staged.stop() == 0
    for path in sorted((staged.folder / "data").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    staged.start()
    staged.put([accepted("two"), accepted("three")])
    eventually(lambda: staged.subject("orders").received == 4, "all are counted")
    assert len(staged.events()) == 3


def test_a_key_may_be_used_again_after_a_day(staged: StagedWorker):
    staged.start()
    now_s = time.time()
    staged.put([accepted("one", at_s=now_s - 86_500), accepted("one", at_s=now_s - 200), accepted("one", at_s=now_s)])
    eventually(lambda: staged.subject("orders").received == 3, "all are counted")
    assert len(staged.events()) == 2


def test_five_wrong_secrets_in_a_row_are_told_once_and_the_webhook_goes_on(staged: StagedWorker):
    staged.start()
    wrong = [refused(Outcome.AUTH_REJECTED) for _ in range(4)]
    staged.put([*wrong, accepted(), *wrong, refused(Outcome.BUSY), refused(Outcome.AUTH_REJECTED), *wrong, accepted()])
    staged.put([refused(Outcome.AUTH_REJECTED, "leads") for _ in range(4)])
    eventually(lambda: staged.subject("leads").received == 4, "the other webhook's are counted")
    eventually(lambda: staged.subject("orders").received == 16, "all are counted")
    eventually(lambda: staged.records(staged.names.notices), "somebody is told")
    notices = [decode_notice(value) for _, value in staged.records(staged.names.notices)]
    assert [(each.cause, each.webhook, each.integration) for each in notices] == [(Cause.AUTH_REJECTED, "orders", None)]
    assert notices[0].text.startswith("webhook orders: callers do not have its secret: the last 5 requests")
    assert len(staged.events()) == 2


def test_nothing_of_it_is_there_without_its_section(kafka: str, tmp_path: Path):
    worker = WorkerProcess("plain", kafka, tmp_path)
    worker.start()
    try:
        topics = asyncio.run(_topics(kafka))
        assert not [topic for topic in topics if topic.startswith(f"{worker.app}-inbound")]
        assert not [topic for topic in topics if topic.startswith(f"{worker.app}-user")]
    finally:
        assert worker.stop() == 0


async def _topics(brokers: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


class Endpoint:
    """A customer's endpoint on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"
        self._receiver = Receiver(record=self.record)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._receiver.start(), self._loop).result(10)
        try:
            yield self._receiver.url
        finally:
            asyncio.run_coroutine_threadsafe(self._receiver.stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def uuids(self) -> set[str]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return {uuid for line in lines for uuid in line.split("\t")[1:]}


class Load:
    """Callers who send each request, with its key, until it is taken; and some who do not have the secret."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._random = random.Random(5)
        self.taken: set[str] = set()
        self.answered: Counter[int] = Counter()
        self.unanswered = 0
        self._number = 0

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=8)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(self._call(session) for _ in range(CALLERS)))

    async def _call(self, session: aiohttp.ClientSession) -> None:
        while len(self.taken) < KEYS:
            if self._random.random() < 0.1:
                await self._post(session, {"Authorization": "Bearer wrong"})
                continue
            if self.taken and self._random.random() < 0.1:
                key = self._random.choice([*self.taken][:50])
            else:
                self._number += 1
                key = f"key-{self._number}"
            headers = {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": key}
            while await self._post(session, headers) != 200:  # noqa: ASYNC110 it is the caller who waits
                await asyncio.sleep(0.02)
            self.taken.add(key)

    async def _post(self, session: aiohttp.ClientSession, headers: dict[str, str]) -> int:
        try:
            async with session.post(self._url, data=json.dumps(ORDER), headers=headers) as answer:
                self.answered[answer.status] += 1
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            self.unanswered += 1
            return 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_request_that_got_2xx_fires_once_however_often_workers_are_killed(
    kafka: str, redis_url: str, tmp_path: Path
):
    endpoint = Endpoint(tmp_path)
    with endpoint.running() as url:
        worker = StagedWorker(kafka, redis_url, tmp_path, [webhook("orders")], route_inbound=True)
        worker.integration_url = url
        worker.start()
        other = _Other(worker)
        try:
            worker.know_jane()
            worker.knows("orders")
            other.start()
            load = _run_load(worker, other)
            _check_load(worker, load, endpoint)
        finally:
            other.stop()
            status = worker.stop()
        assert status == 0, worker.log()[-4000:]


class _Other:
    """A second worker of the same deployment, on the same inbound port."""

    def __init__(self, first: StagedWorker) -> None:
        self._first = first
        self._port = ports.choose(besides={first.port, first.inbound_port})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        first = self._first
        with (first.folder / "other.log").open("ab") as log:
            self.process = subprocess.Popen(
                first.command("--datadir", "other", "worker", "--web-port", str(self._port)),
                cwd=first.folder,
                env=first.environment,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def _run_load(worker: StagedWorker, other: _Other) -> Load:
    load = Load(f"http://127.0.0.1:{worker.inbound_port}/webhooks/orders")
    calling = threading.Thread(target=lambda: asyncio.run(load.run()))
    calling.start()
    for number, count in enumerate(KILLS_AT):
        eventually(lambda count=count: len(load.taken) >= count, f"{count} requests are taken", 90)
        victim = (worker.worker, other.process)[number % 2]
        assert victim is not None
        victim.kill()
        victim.wait(10)
        if number % 2 == 0:
            worker.begin()
        else:
            other.start()
    calling.join(90)
    assert not calling.is_alive(), "the last requests are taken"
    worker.await_ready()
    return load


def _check_load(worker: StagedWorker, load: Load, endpoint: Endpoint) -> None:
    requests = [each for each in worker.requests() if each.webhook_id == "orders"]
    eventually(lambda: worker.subject("orders").received == len(requests), "every request is counted", 60)
    expected = {uuid_of(request_key("orders", key)) for key in load.taken}
    keyless = {each.events[0].uuid for each in requests if each.events and not each.events[0].key}
    written = Counter(event["uuid"] for event in worker.events())
    assert {uuid for uuid, times in written.items() if times > 1} == set(), "an event is there twice"
    assert written.keys() - keyless == expected, "exactly what was answered with 200 is there"

    counts = worker.counts("orders")
    outcomes = Counter(each.outcome.value for each in requests)
    repeated = outcomes["accepted"] - len(written)
    assert counts.requests == {**outcomes, "accepted": len(written), "duplicate": repeated}
    assert load.answered[401] <= counts.requests["auth_rejected"] <= load.answered[401] + load.unanswered
    assert load.answered[200] <= outcomes["accepted"]
    assert counts.events == len(written)
    assert load.unanswered > 0, "nobody noticed the kills, so this proves nothing"
    assert len(expected) >= KEYS

    eventually(lambda: endpoint.uuids() >= written.keys(), "the customer has all of them", 60)
    eventually(lambda: _ledger(worker)["balanced"], "the ledger balances", 60)
    crm = next(each for each in _ledger(worker)["integrations"] if each["integration"] == "crm")
    assert (crm["matched"], crm["delivered"]) == (len(written), len(written))


def _ledger(worker: StagedWorker) -> Any:
    done = subprocess.run(
        worker.command("ledger", "--json"),
        cwd=worker.folder,
        env=worker.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return json.loads(done.stdout)
