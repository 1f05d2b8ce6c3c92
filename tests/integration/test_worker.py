"""A whole worker as a process of its own, on real Kafka, with endpoints that behave as badly as they can."""

import asyncio
import json
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import catalogue
from pipeline.model.attempt import Attempt, Verdict, decode_attempt, decode_parked
from pipeline.model.batch import decode_batch
from pipeline.receiver.receiver import Receiver
from pipeline.traffic import events
from tests.support.worker_process import PARTITIONS, WorkerProcess, eventually

WITHIN_S = 30.0
ANSWERED_100_MB = 100 << 20
TRIES = 4

FAILS = {"never": "never", "resets": "reset", "garbage": "garbage", "fails": "fail/500"}
"""Integrations whose endpoint gives no usable answer, with its path: tried four times, then parked."""
BODIES = {
    "gzip": {"compression": "gzip"},
    "envelope": {"body": "envelope"},
    "object": {"body": "object"},
    "raw": {"fields": "all", "body": "envelope", "compression": "gzip"},
}


def uuid_of(event: bytes) -> str:
    return json.loads(event)["uuid"]


class Endpoints:
    """Receivers on a thread of their own: one good at http, one at https with a certificate nobody knows."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        self.record = folder / "record"
        self.http = Receiver(record=self.record)
        self.https = Receiver(record=self.record, tls=tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for each in (self.http, self.https):
            asyncio.run_coroutine_threadsafe(each.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.http, self.https):
            asyncio.run_coroutine_threadsafe(each.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def uuids(self, integration: str) -> Counter[str]:
        """What the integration was sent."""
        lines = (line.split("\t") for line in self.record.read_text().splitlines())
        return Counter(uuid for batch, *uuids in lines if batch.startswith(f"{integration}:") for uuid in uuids)


class Flow(WorkerProcess):
    """A running worker and what surrounds it."""

    def __init__(self, brokers: str, folder: Path, endpoints: Endpoints) -> None:
        super().__init__("whole", brokers, folder)
        self.endpoints = endpoints

    def integrations(self) -> list[dict[str, Any]]:
        http, https = self.endpoints.http.url, self.endpoints.https.url
        quick = {"timeout": "500ms", "retry": {"delays": ["20ms", "30ms", "50ms"]}}
        made: dict[str, dict[str, Any]] = {
            "healthy": {"url": http},
            **{name: {"url": http + path, "applications": ["HURT"], **quick} for name, path in FAILS.items()},
            "unknown-cert": {"url": https, "applications": ["HURT"], **quick},
            "known-cert": {"url": https, "applications": ["HURT"], "tls": {"ca": str(self.endpoints.ca_file)}},
            "redirects": {"url": f"{http}redirect", "applications": ["HURT"], **quick},
            "large": {"url": f"{http}large/{ANSWERED_100_MB}", "applications": ["HURT"], **quick},
            "discards": {
                "url": f"{http}fail/503",
                "applications": ["HURT"],
                "retry": {"delays": [], "on_exhausted": "discard"},
            },
            **{name: {"url": http, "applications": ["BODIES"], **form} for name, form in BODIES.items()},
        }
        common = {"kind": "http", "events": ["*"], "platforms": ["*"], "live_activities": True}
        batch = {"max_events": 50, "max_age": "200ms"}
        return [{"id": name, **common, "batch": batch, **settings} for name, settings in made.items()]

    def figures(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of a metric, by the values of their labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return {
            tuple(sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
            if sample.name == name
        }

    def ledger(self) -> Counter[str]:
        """What became of the events of all integrations, by state."""
        states: Counter[str] = Counter()
        for (_, state), count in self.figures(catalogue.LEDGER_EVENTS.full_name).items():
            states[state] += int(count)
        return states

    def matched(self) -> int:
        """Events times integrations that the window stage has taken."""
        return self.ledger()["matched"]

    def is_quiet(self) -> bool:
        """Whether nothing that the window stage has taken is on its way."""
        states = self.ledger()
        return not states["open"] and not states["waiting"]

    def publish(self, values: list[bytes | None]) -> None:
        """Publish to partition 0 in one record batch, so that the worker reads them as one chunk."""

        async def publish() -> None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.brokers, max_batch_size=12 << 20, max_request_size=12 << 20
            )
            await producer.start()
            try:
                batch = producer.create_batch()
                for number, value in enumerate(values):
                    assert batch.append(timestamp=None, key=b"key-%d" % number, value=value) is not None
                await (await producer.send_batch(batch, self.topic, partition=0))
            finally:
                await producer.stop()

        asyncio.run(publish())

    def records(self, topic: str, is_enough: Callable[[list[ConsumerRecord]], bool]) -> list[ConsumerRecord]:
        """Read a topic from its beginning until there is enough."""

        async def read() -> list[ConsumerRecord]:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.brokers, auto_offset_reset="earliest", fetch_max_wait_ms=50
            )
            await consumer.start()
            try:
                consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
                found: list[ConsumerRecord] = []
                async with asyncio.timeout(WITHIN_S):
                    while not is_enough(found):
                        for records in (await consumer.getmany(timeout_ms=200)).values():
                            found += records
                return found
            finally:
                await consumer.stop()

        return asyncio.run(read())


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    folder = tmp_path_factory.mktemp("worker")
    with Endpoints(folder) as endpoints:
        flow = Flow(kafka, folder, endpoints)
        flow.begin()
        try:
            flow.await_ready()
            yield flow
        finally:
            status = flow.stop()
        assert status == 0, flow.log()[-4000:]
        assert '"level": "error"' not in flow.log()


class Traffic(NamedTuple):
    """What was sent for tests to look at when all of it is done."""

    hurt: list[bytes]
    bodies: list[bytes]
    healthy_after_s: float


@pytest.fixture(scope="module")
def traffic(flow: Flow) -> Traffic:
    hurt = list(events(11, 20, applications=["HURT"]))
    bodies = list(events(12, 60, applications=["BODIES"]))
    wanted = {uuid_of(event) for event in hurt}
    matched_before = flow.matched()
    began_s = time.monotonic()
    flow.publish([*hurt])
    eventually(lambda: wanted <= flow.endpoints.uuids("healthy").keys(), "the healthy endpoint has its events")
    healthy_after_s = time.monotonic() - began_s
    flow.publish([*bodies])
    takers = Counter((each.get("applications") or ["ANY"])[0] for each in flow.integrations())
    pairs = len(hurt) * (takers["HURT"] + takers["ANY"]) + len(bodies) * (takers["BODIES"] + takers["ANY"])
    eventually(lambda: flow.matched() - matched_before == pairs, "all events are in their windows")
    eventually(flow.is_quiet, "every batch is delivered, parked or discarded")
    return Traffic(hurt, bodies, healthy_after_s)


@pytest.fixture(scope="module")
def attempts(flow: Flow, traffic: Traffic) -> dict[str, list[Attempt]]:
    """All tries of the HURT events, by integration."""
    hurt = {each["id"] for each in flow.integrations() if each.get("applications") == ["HURT"]}

    def finals(records: list[ConsumerRecord]) -> int:
        ended = [each for each in map(decode_attempt, (r.value for r in records)) if each.final is not None]
        return sum(each.events for each in ended if each.integration in hurt)

    records = flow.records(f"{flow.app}-attempts", lambda found: finals(found) == len(hurt) * len(traffic.hurt))
    by_integration: dict[str, list[Attempt]] = {name: [] for name in hurt}
    for attempt in map(decode_attempt, (record.value for record in records)):
        if attempt.integration in hurt:
            by_integration[attempt.integration].append(attempt)
    return by_integration


# What happens to bad input.


def _poison(event: bytes) -> list[tuple[str, bytes | None]]:
    """Unusable records with the reason that each is to be counted under."""
    head = event[:-1]
    return [
        ("not_json", b"hello, is this the log?"),
        ("not_json", b""),
        ("not_json", event[:100]),
        ("not_utf8", b"\xff\xfe" + event),
        ("not_utf8", head + b',"note":"caf\xe9"}'),
        ("not_an_object", b"[%b]" % event),
        ("not_an_object", b"null"),
        ("too_large", head + b',"note":"%b"}' % (b"x" * (5 << 20))),
        ("not_json", b"\0" * 64),
        ("not_json", head + b',"note":"a\0b"}'),
        ("nested_too_deep", b"[" * 100_000),
        ("nested_too_deep", head + b',"note":%b%b}' % (b'{"a":' * 500 + b"1", b"}" * 500)),
        ("not_json", head + b',"note":NaN}'),
        ("not_json", head.replace(b'"timestamp":', b'"timestamp":NaN,"was":', 1) + b"}"),
        ("out_of_range", head.replace(b'"timestamp":', b'"timestamp":%b,"was":' % (b"9" * 400), 1) + b"}"),
        ("out_of_range", head.replace(b'"timestamp":', b'"timestamp":-1,"was":', 1) + b"}"),
        ("wrong_type", head.replace(b'"timestamp":', b'"timestamp":"noon","was":', 1) + b"}"),
        ("wrong_type", head.replace(b'"event_name":', b'"event_name":[],"was":', 1) + b"}"),
        ("missing_field", head.replace(b'"application_code":', b'"was":', 1) + b"}"),
        ("missing_field", b"{}"),
        ("duplicate_key", head + b',"hwid":"another"}'),
        ("tombstone", None),
    ]


def test_poison_is_set_aside_with_its_reason_and_its_neighbours_arrive(flow: Flow):
    poison = _poison(next(events(20, 1, applications=["POISON"])))
    good = list(events(21, len(poison) + 1, applications=["GOOD"]))
    values: list[bytes | None] = [good[0]]
    for (_, bad), neighbour in zip(poison, good[1:], strict=True):
        values += [bad, neighbour]
    flow.publish(values)

    wanted = {uuid_of(event) for event in good}
    eventually(lambda: wanted <= flow.endpoints.uuids("healthy").keys(), "the good neighbours have arrived")
    letters = flow.records(f"{flow.app}-dead-letters", lambda found: len(found) >= len(poison))
    letters.sort(key=lambda letter: int(dict(letter.headers)["offset"]))
    headers = [{name: value.decode() for name, value in letter.headers} for letter in letters]
    assert [each["reason"] for each in headers] == [reason for reason, _ in poison]
    assert [letter.value for letter in letters] == [value for _, value in poison]
    assert [letter.key for letter in letters] == [b"key-%d" % (1 + 2 * number) for number in range(len(poison))]
    assert {(each["topic"], each["partition"]) for each in headers} == {(flow.topic, "0")}
    offsets = [int(each["offset"]) for each in headers]
    assert [offset - offsets[0] for offset in offsets] == [2 * number for number in range(len(poison))]
    assert all(each["detail"] and int(each["timestamp_ms"]) > 0 for each in headers)

    counted = flow.figures(catalogue.DEAD_LETTERS.full_name)
    assert {reason: count for (reason,), count in counted.items() if count} == Counter(reason for reason, _ in poison)
    assert flow.get("/health/live")[0] == 200


# What happens to bad endpoints.


def test_a_healthy_endpoint_does_not_wait_for_its_bad_neighbours(flow: Flow, traffic: Traffic):
    assert traffic.healthy_after_s < 5
    sent = flow.endpoints.uuids("healthy")
    assert {sent[uuid_of(event)] for event in traffic.hurt} == {1}


@pytest.mark.parametrize(
    ("integration", "words"),
    [
        ("never", "no answer within 0.5 s"),
        ("resets", "connection"),
        ("garbage", "HTTP"),
        ("fails", "500"),
        ("unknown-cert", "certificate"),
    ],
)
def test_an_endpoint_that_gives_no_answer_is_tried_four_times_and_its_batch_is_parked(
    attempts: dict[str, list[Attempt]], integration: str, words: str
):
    tries = attempts[integration]
    batches = {each.batch for each in tries}
    assert Counter(each.attempt for each in tries) == dict.fromkeys(range(1, 1 + TRIES), len(batches))
    assert {each.verdict for each in tries} == {Verdict.RETRY}
    assert {each.final for each in tries if each.attempt == TRIES} == {"parked"}
    assert all((each.next_at is None) == (each.attempt == TRIES) for each in tries)
    assert all(words.lower() in each.detail.lower() for each in tries), {each.detail for each in tries}


def test_a_redirect_is_not_followed(attempts: dict[str, list[Attempt]]):
    assert {(each.attempt, each.status, each.verdict, each.final) for each in attempts["redirects"]} == {
        (1, 302, Verdict.REFUSED, "parked")
    }


def test_an_answer_of_100_mb_is_neither_read_nor_held_against_the_batch(attempts: dict[str, list[Attempt]]):
    tries = attempts["large"]
    assert {(each.attempt, each.status, each.final) for each in tries} == {(1, 200, "delivered")}
    assert {each.answer_bytes for each in tries} == {ANSWERED_100_MB}
    assert {len(each.answer_head) for each in tries} == {1024}


def test_an_authority_of_the_integration_is_trusted(attempts: dict[str, list[Attempt]]):
    assert {each.final for each in attempts["known-cert"]} == {"delivered"}


def test_parked_batches_are_whole(flow: Flow, traffic: Traffic, attempts: dict[str, list[Attempt]]):
    parked = {name for name, tries in attempts.items() if any(each.final == "parked" for each in tries)}
    assert parked == {*FAILS, "unknown-cert", "redirects"}
    records = flow.records(
        f"{flow.app}-parked", lambda found: len(found) == sum(len({e.batch for e in attempts[name]}) for name in parked)
    )
    uuids: dict[str, Counter[str]] = {name: Counter() for name in parked}
    for letter in (decode_parked(record.value) for record in records):
        batch = decode_batch(letter.batch)
        uuids[batch.integration_id].update(uuid_of(event) for event in batch.run().events())
        assert letter.reason
    whole = Counter(uuid_of(event) for event in traffic.hurt)
    assert {name: found == whole for name, found in uuids.items()} == dict.fromkeys(parked, True)


# What a customer, an operator and an auditor see.


@pytest.mark.parametrize("integration", BODIES)
def test_every_form_of_body_arrives(flow: Flow, traffic: Traffic, integration: str):
    assert flow.endpoints.uuids(integration) == Counter(uuid_of(event) for event in traffic.bodies)
    assert flow.endpoints.http.stats()["problems"] == {}


def test_the_ledger_says_where_each_event_is(flow: Flow, traffic: Traffic):
    done = subprocess.run(
        flow.command("ledger", "--json"),
        cwd=flow.folder,
        env=flow.environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    ledger = json.loads(done.stdout)
    assert ledger["balanced"] is True
    assert ledger["total"]["missing"] == 0
    accounts = {each["integration"]: each for each in ledger["integrations"]}
    ends = {
        **dict.fromkeys([*FAILS, "unknown-cert", "redirects"], ("parked", len(traffic.hurt))),
        **dict.fromkeys(["large", "known-cert"], ("delivered", len(traffic.hurt))),
        "discards": ("discarded", len(traffic.hurt)),
        **dict.fromkeys(BODIES, ("delivered", len(traffic.bodies))),
    }
    assert accounts.keys() == {*ends, "healthy"}
    for name, (state, count) in ends.items():
        assert (accounts[name]["matched"], accounts[name][state]) == (count, count), accounts[name]


def test_every_metric_is_there_and_those_of_the_flow_have_moved(flow: Flow, traffic: Traffic):
    status, page = flow.get("/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(page)}
    named = {metric.full_name.removesuffix("_total"): metric for metric in catalogue.CATALOGUE}
    assert named.keys() <= families.keys()
    moved = {name for name, family in families.items() if any(sample.value for sample in family.samples)}
    sections = dict(catalogue.SECTIONS)
    of_what_comes_in = (*sections["Inbound"], *sections["Users"])
    at_rest = {
        catalogue.SOURCE_RESETS,
        catalogue.DUPLICATE_EVENTS,
        catalogue.DEAD_LETTERS,  # moves in another test
        catalogue.UNMATCHED_EVENTS,
        catalogue.LAG,
        catalogue.OPEN_WINDOWS,
        catalogue.OPEN_EVENTS,
        catalogue.OLDEST_WINDOW_AGE,
        catalogue.RESIDENT_BYTES,
        catalogue.IN_FLIGHT,
        catalogue.WAITING_BATCHES,
        catalogue.WAITING_EVENTS,
        catalogue.OLDEST_WAITING_AGE,
        catalogue.UNCOMMITTED_CHUNKS,
        catalogue.COMMIT_AGE,
        catalogue.BREAKER_CHANGES,
        catalogue.HELD_LANES,
        catalogue.SHARED_RATES_ALONE,
        catalogue.NOTICES_LOST,
        catalogue.REMOVED_RECORDS,
        *of_what_comes_in,
    }
    assert {name for name, metric in named.items() if metric not in at_rest} <= moved


def test_metrics_tell_retries_parked_and_discarded_by_integration(flow: Flow, traffic: Traffic):
    count = float(len(traffic.hurt))
    assert flow.figures(catalogue.DISCARDED_EVENTS.full_name)["discards", "http"] == count
    parked = flow.figures(catalogue.PARKED_EVENTS.full_name)
    assert {name: parked[name, "http"] for name in FAILS} == dict.fromkeys(FAILS, count)
    retries = flow.figures(catalogue.RETRIES.full_name)
    batches = flow.figures(catalogue.PARKED_BATCHES.full_name)
    assert all(retries[name, "http"] == (TRIES - 1) * batches[name, "http"] for name in FAILS)


def test_lag_goes_back_to_nothing(flow: Flow, traffic: Traffic):
    name = catalogue.LAG.full_name
    eventually(lambda: (lag := flow.figures(name)) and not any(lag.values()), "all offsets are committed")


def test_it_is_alive_and_ready(flow: Flow):
    assert flow.get("/health/live") == (200, '{"ok":true}')
    status, body = flow.get("/health/ready")
    assert (status, json.loads(body)) == (200, {"ok": True, "reason": None})
