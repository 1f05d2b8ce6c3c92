"""Integrations change while events flow, on real Kafka: on all workers, as a whole, and no event is lost or comes twice."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from agents.commands import ledger
from pipeline.errors import ConflictError, InvalidChangeError
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change
from pipeline.integrations.stored import Stored
from pipeline.model.attempt import decode_parked
from pipeline.model.batch import decode_batch, integration_of
from pipeline.receiver.receiver import Receiver
from tests.support.chunk_worker import Broker, fresh_name, until
from tests.support.live_workers import PARTITIONS, Workers

ANA = Actor("ana", "admin", "127.0.0.1")
APPLICATIONS = [f"A{number}" for number in range(5)]
pytestmark = pytest.mark.slow


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    receiver = Receiver(record=tmp_path / "record")
    await receiver.start()
    yield receiver
    await receiver.stop()


def http(name: str, to: str, *applications: str, **keys: Any) -> dict[str, Any]:
    return {
        "id": name,
        "kind": "http",
        "url": to,
        "applications": [*applications],
        "events": ["*"],
        "platforms": ["*"],
        "batch": {"max_events": 20, "max_age": "300ms"},
        **keys,
    }


def event(uuid: str, application: str) -> bytes:
    fields = {"event_name": "Push Sent", "platform": "iOS", "timestamp": int(time.time()), "hwid": uuid[-4:]}
    return json.dumps({**fields, "application_code": application, "uuid": uuid}).encode()


def received(folder: Path) -> Counter[tuple[str, str]]:
    """How often each event came for each integration."""
    lines = (line.split("\t") for line in (folder / "record").read_text().splitlines())
    return Counter((integration_of(batch.split(":")[0]), uuid) for batch, *uuids in lines for uuid in uuids)


class Sent(NamedTuple):
    """An event: where it stands, and when it was sent, at the earliest."""

    uuid: str
    application: str
    partition: int
    offset: int
    sent_at_s: float


class Traffic:
    """Sends events without a pause, and notes by when each was routed for certain: its offset was committed."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.sent: list[Sent] = []
        self._committed: dict[int, list[tuple[int, float]]] = {number: [] for number in range(PARTITIONS)}

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        tasks = [asyncio.ensure_future(self._send()), asyncio.ensure_future(self._look())]
        try:
            yield self
        finally:
            tasks[0].cancel()
            await asyncio.gather(tasks[0], return_exceptions=True)
            ends = Counter(each.partition for each in self.sent)
            await until(lambda: all(self._is_committed(number, end) for number, end in ends.items()), 30)
            tasks[1].cancel()
            await asyncio.gather(tasks[1], return_exceptions=True)

    def _is_committed(self, partition: int, end: int) -> bool:
        seen = self._committed[partition]
        return bool(seen) and seen[-1][0] >= end

    async def _send(self) -> None:
        number = 0
        while True:
            partition, at_s = number % PARTITIONS, time.monotonic()
            made = [(f"{number + step:036d}", APPLICATIONS[step % len(APPLICATIONS)]) for step in range(10)]
            offset = sum(each.partition == partition for each in self.sent)
            self.sent += [
                Sent(uuid, application, partition, offset + step, at_s) for step, (uuid, application) in enumerate(made)
            ]
            values = [event(uuid, application) for uuid, application in made]
            await asyncio.shield(self._workers.broker.put(self._workers.topic, values, partition))
            number += len(made) + 1
            await asyncio.sleep(0.01)

    async def _look(self) -> None:
        group, admin = self._workers.settings.app, self._workers.broker.admin
        tps = [TopicPartition(self._workers.topic, number) for number in range(PARTITIONS)]
        while True:
            offsets = await admin.list_consumer_group_offsets(group, partitions=tps)
            for tp, found in offsets.items():
                self._committed[tp.partition].append((found.offset, time.monotonic()))
            await asyncio.sleep(0.05)

    def routed_by_s(self, sent: Sent) -> float:
        return next(at_s for committed, at_s in self._committed[sent.partition] if committed > sent.offset)


class History:
    """Which applications each integration took when."""

    def __init__(self) -> None:
        self._periods: dict[str, list[tuple[float, float, frozenset[str]]]] = {}

    def changed(self, name: str, began_s: float, ended_s: float, applications: frozenset[str]) -> None:
        """Between the two moments it may have been so or as before; afterwards it is so."""
        self._periods.setdefault(name, [(0.0, 0.0, frozenset())]).append((began_s, ended_s, applications))

    def possible(self, name: str, sent: Sent, routed_by_s: float) -> set[int]:
        """How often the integration may have matched an event."""
        periods = self._periods[name]
        found = set()
        for number, (began_s, _, applications) in enumerate(periods):
            ends_s = periods[number + 1][1] if number + 1 < len(periods) else float("inf")
            if began_s <= routed_by_s and sent.sent_at_s <= ends_s:
                found.add(int(sent.application in applications))
        return found


def story(url: str) -> list[Change]:
    """Thirty changes of five integrations, no two of the same one after the other."""
    steps: dict[str, list[tuple[str, tuple[str, ...], dict[str, Any]]]] = {
        "a": [
            ("create", ("A0",), {}),
            ("replace", ("A0",), {"batch": {"max_events": 7, "max_age": "200ms"}}),
            ("disable", (), {}),
            ("enable", (), {}),
            ("delete", (), {}),
            ("create", ("A0", "A1"), {}),
        ],
        "b": [
            ("create", ("A1",), {}),
            ("replace", ("A1", "A2"), {}),
            ("replace", ("A2",), {"url": f"{url}other"}),
            ("replace", ("A1",), {"ordered": True}),
            ("replace", ("A1",), {"max_in_flight": 1, "timeout": "5s"}),
            ("delete", (), {}),
        ],
        "c": [
            ("create", (), {}),
            ("disable", (), {}),
            ("replace", ("A3",), {}),
            ("replace", ("A3",), {"body": "envelope", "authorization": "Bearer secret"}),
            ("replace", ("A3",), {"batch": {"max_events": 1000, "max_age": "50ms"}}),
            ("replace", (), {}),
        ],
        "d": [
            ("create", ("A4",), {"lanes": 3}),
            ("replace", ("A4",), {"lanes": 3, "fields": "all"}),
            ("delete", (), {}),
            ("create", ("A4",), {"lanes": 3}),
            ("disable", (), {}),
            ("enable", (), {}),
        ],
        "e": [
            ("create", ("A2",), {"enabled": False}),
            ("enable", (), {}),
            ("delete", (), {}),
            ("create", ("A2",), {"url": f"{url}other"}),
            ("replace", ("A2",), {"batch": {"max_events": 1}}),
            ("delete", (), {}),
        ],
    }
    changes = []
    for step in range(6):
        for name, of_name in steps.items():
            action, applications, keys = of_name[step]
            settings = http(name, url, *applications, **keys) if action in ("create", "replace") else None
            changes.append(Change(action, name, settings))  # type: ignore[arg-type]
    return changes


def taken(settings: dict[str, Any] | None) -> frozenset[str]:
    if settings is None or not settings.get("enabled", True):
        return frozenset()
    return frozenset(settings["applications"] or APPLICATIONS)


async def parked(broker: Broker, topic: str) -> Counter[tuple[str, str, str]]:
    """How often each event is parked for each integration, and why."""
    found: Counter[tuple[str, str, str]] = Counter()
    for number in range(PARTITIONS):
        for record in await broker.read(topic, number):
            row = decode_parked(record.value)
            batch = decode_batch(row.batch)
            found.update((batch.integration_id, json.loads(each)["uuid"], row.reason) for each in batch.run().events())
    return found


async def test_thirty_changes_through_two_workers_leave_each_event_where_the_integrations_in_force_say(
    broker: Broker, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("live"))
    traffic, history, took_s = Traffic(workers), History(), []
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one"), workers.worker("two"):
        await workers.share()
        async with traffic.flowing():
            for number, change in enumerate(story(receiver.url)):
                began_s = time.monotonic()
                asked = workers.running[number % 2].integrations
                stored: Stored = await asked.apply(change, ANA)
                await workers.everywhere(stored.revision)
                took_s.append(time.monotonic() - began_s)
                settings = None if change.action == "delete" else stored.settings
                history.changed(change.id, began_s, time.monotonic(), taken(settings))
                await asyncio.sleep(0.2)  # so that events flow under each state
        assert max(took_s) < 2.0, "a change is in force on all workers within two seconds"

        async def is_quiet() -> bool:
            total = (await ledger.read(broker.address, workers.names)).total()
            return not total.open and not total.waiting

        async with asyncio.timeout(30):
            while not await is_quiet():  # noqa: ASYNC110  Kafka has no event for it
                await asyncio.sleep(0.2)
        found = await ledger.read(broker.address, workers.names)
        assert found.is_balanced
        assert not any(app.crashed for app in workers.running)
        assert [entry.revision for entry in workers.running[0].integrations.audit()] == [*range(30, 0, -1)]
    came = received(tmp_path)
    gave_up = await parked(broker, workers.names.parked)
    assert {reason for _, _, reason in gave_up} <= {"integration removed"}
    for name, uuid, _ in gave_up:
        came[name, uuid] += 1
    certain: Counter[int] = Counter()
    for name in "abcde":
        for sent in traffic.sent:
            possible = history.possible(name, sent, traffic.routed_by_s(sent))
            assert came[name, sent.uuid] in possible, (name, sent, possible)
            if len(possible) == 1:
                certain.update(possible)
    assert sum(came.values()) == found.total().matched
    assert min(certain[0], certain[1]) > 300, "most events are certain"


async def test_a_worker_that_comes_later_knows_what_was_stored_and_takes_over_the_lead(
    broker: Broker, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file = http("in-file", receiver.url, "A0")
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("live"), integrations=[in_file])
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one") as one:
        await workers.share()
        made = await one.integrations.apply(Change("create", "crm", http("crm", receiver.url, "A1")), ANA)
        with pytest.raises(ConflictError, match=r"read-only"):
            await one.integrations.apply(Change("replace", "in-file", in_file), ANA)
    async with workers.worker("two") as two:
        await workers.share()
        snapshot = two.integrations.snapshot
        assert [(entry.integration.id, entry.origin) for entry in snapshot] == [("in-file", "file"), ("crm", "stored")]
        changed = await two.integrations.apply(Change("disable", "crm", None, made.revision), ANA)
        assert changed.revision == made.revision + 1
        with pytest.raises(ConflictError, match=r"revision 2, not 1"):
            await two.integrations.apply(Change("enable", "crm", None, made.revision), ANA)
        await two.integrations.apply(Change("delete", "crm"), ANA)
        wrong = {"id": "crm", "kind": "grpc", "url": "grpcs://g.example", "events": ["*"], "platforms": ["*"]}
        with pytest.raises(InvalidChangeError, match=r"kind: must be http"):
            await two.integrations.apply(Change("create", "crm", wrong), ANA)
        assert [entry.what for entry in two.integrations.audit()] == [
            "integration deleted",
            "integration disabled",
            "integration created",
        ]


async def test_a_worker_that_hears_of_an_integration_late_catches_up_before_it_treats_its_events_as_nobodys(
    broker: Broker, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("live"))
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one") as one, workers.worker("two") as two:
        await workers.share()
        prompt, late = (one, two) if workers.leader() is one else (two, one)
        may_go_on, put_to_work = asyncio.Event(), late.integrations._follower._put_to_work
        assert put_to_work is not None

        async def put_to_work_late(*arguments: Any) -> None:
            await may_go_on.wait()
            await put_to_work(*arguments)

        late.integrations._follower._put_to_work = put_to_work_late
        lanes = [f"crm-{number}" for number in range(8)]
        for name in lanes:
            await prompt.integrations.apply(Change("create", name, http(name, receiver.url, "A0")), ANA)
        assert not late.integrations.snapshot.entries
        routed_by_prompt = min(tp.partition for tp in prompt.assignment() if tp.topic == workers.topic)
        uuids = {f"{number:036d}" for number in range(50)}
        await broker.put(workers.topic, [event(uuid, "A0") for uuid in sorted(uuids)], routed_by_prompt)
        await until(lambda: (tmp_path / "record").exists() and len(received(tmp_path)) >= 50)
        assert len(received(tmp_path)) < 8 * 50, "some lanes are those of the late worker"
        may_go_on.set()
        await until(lambda: len(received(tmp_path)) == 8 * 50, 20)
        assert set(received(tmp_path).values()) == {1}
        assert not await parked(broker, workers.names.parked)


async def test_an_integration_that_is_deleted_leaves_what_it_holds_parked_and_not_waiting_in_a_window(
    broker: Broker, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Workers(broker, tmp_path, monkeypatch, fresh_name("live"))
    await broker.create(workers.topic, PARTITIONS)
    async with workers.worker("one") as one:
        await workers.share()
        slow = {**http("crm", receiver.url), "batch": {"max_events": 1000, "max_age": "1h"}}
        await one.integrations.apply(Change("create", "crm", slow), ANA)
        await broker.put(workers.topic, [event(f"{number:036d}", "A0") for number in range(5)])
        async with asyncio.timeout(20):
            while (await ledger.read(broker.address, workers.names)).total().open != 5:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.1)
        await one.integrations.apply(Change("delete", "crm"), ANA)
        async with asyncio.timeout(20):
            while (await ledger.read(broker.address, workers.names)).total().parked != 5:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.1)
    assert {reason for _, _, reason in await parked(broker, workers.names.parked)} == {"integration removed"}
    assert not (tmp_path / "record").exists() or not received(tmp_path)
