"""The calls of Segment's and RudderStack's published integrations, played back byte for byte to a worker as operators run it.

The answers are those of the vendor's service, also byte for byte.
"""

import asyncio
import collections
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.inbound.request import InboundRequest, decode
from pipeline.local import ports
from tests.support import segment_calls as calls
from tests.support.chunk_worker import Broker
from tests.support.segment_calls import APPLICATION, TOKEN, RecordedCall
from tests.support.worker_process import PARTITIONS, WorkerProcess

TAKEN = (200, b"", None)
JSON = "application/json"
ALL_TAKEN = {**calls.TRACKS, **calls.IDENTIFIES, **calls.DELETES, **calls.RUDDERSTACK}
EVENT_CALLS = {**calls.TRACKS, **calls.RUDDERSTACK}
TIMELESS = ("omar-3", "Bike Returned")
"""An event without timestamp: it is another one each time."""

pytestmark = pytest.mark.slow

Answer = tuple[int, bytes, str | None]


class SegmentWorker(WorkerProcess):
    """A worker that takes Segment's calls for one application."""

    def __init__(self, kafka: str, redis_url: str, folder: Path, *, is_strict: bool = False) -> None:
        super().__init__("segment", kafka, folder)
        self.inbound_port = ports.choose(besides={self.port})
        self._redis_url = redis_url
        self._is_strict = is_strict

    def settings(self) -> dict[str, Any]:
        return super().settings() | {
            "redis": self._redis_url,
            "inbound": {"port": self.inbound_port},
            "segment_destination": {"applications": {APPLICATION: TOKEN}, "strict": self._is_strict},
            "users": {"tags": ["plan"]},
        }

    def play(self, call: RecordedCall, **headers: str) -> Answer:
        """Send the call's bytes; gives the answer's status, body and content type."""
        return self.send(call.on_the_wire(host=f"127.0.0.1:{self.inbound_port}", **headers))

    def send(self, request: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", self.inbound_port), timeout=20) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answered:
                status = int(answered.readline().split()[1])
                lines = iter(lambda: answered.readline().decode().strip(), "")
                fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                return status, answered.read(int(fields["content-length"])), fields.get("content-type")


def started(worker: SegmentWorker) -> Iterator[SegmentWorker]:
    worker.folder.mkdir(exist_ok=True)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@pytest.fixture(scope="module")
def worker(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SegmentWorker]:
    yield from started(SegmentWorker(kafka, redis_url, tmp_path_factory.mktemp("lenient")))


@pytest.fixture(scope="module")
def strict_worker(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SegmentWorker]:
    yield from started(SegmentWorker(kafka, redis_url, tmp_path_factory.mktemp("strict"), is_strict=True))


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


async def values(broker: Broker, topic: str) -> list[bytes]:
    return [record.value for partition in range(PARTITIONS) for record in await broker.read(topic, partition)]


async def inbound_events(broker: Broker, worker: SegmentWorker) -> list[dict[str, Any]]:
    return [json.loads(value) for value in await values(broker, f"{worker.app}-inbound")]


async def requests(broker: Broker, worker: SegmentWorker) -> list[InboundRequest]:
    return [decode(value) for value in await values(broker, f"{worker.app}-inbound-requests")]


def content_of(event: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in event.items() if key != "uuid"}, sort_keys=True)


def as_event(*facts: Any) -> str:
    user_id, hwid, platform, name, timestamp, attributes = facts
    fields = {
        "event_name": name,
        "application_code": APPLICATION,
        "platform": platform,
        "timestamp": timestamp,
        "user_id": user_id,
        "attributes": attributes,
    }
    return content_of(fields | ({"hwid": hwid} if hwid else {}))


PHONE = "5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911"
EXPECTED = {
    as_event(
        "jana-17", PHONE, "iOS", "Bike Rented", 1795342530,
        {"station": "Alexanderplatz", "minutes": 35.5, "coupon": None, "extras": ["helmet", "seat"],
         "tariff": {"name": "Tagesticket", "cents": 1250}},
    ),
    as_event("omar-3", "w-88", "Web", "Tariffs", 1795342562, {"path": "/tariffs", "title": "Tariffs"}),
    as_event("mia-9", "a-2", "Android", "Review Written", 1795342620, {"text": "Great ride \ufffd"}),
    as_event("jana-17", PHONE, "iOS", "Bike Returned", 1795344660, {"km": 7.25}),
    as_event("omar-3", "", "Android", "Bike Rented", 1795344731, {}),
    as_event(
        "jana-17", "", "Web", "Bike Rented", 1795345200,
        {"station": "Ostkreuz", "extras": ["helmet"], "tariff": '{"name":"Tagesticket"}'},
    ),
    as_event(
        "jana-17", "", "Web", "Bike Rented", 1795345201,
        {"station": "Ostkreuz", "extras": ["helmet"], "tariff": '{"name":"Tagesticket"}'},
    ),
}  # fmt: skip


def test_a_ping_of_segment_is_answered(worker: SegmentWorker) -> None:
    assert worker.play(calls.PING) == (200, b"{}", JSON)


@pytest.mark.parametrize("name", ALL_TAKEN)
def test_a_call_that_is_taken_is_answered_with_nothing(worker: SegmentWorker, name: str) -> None:
    assert worker.play(ALL_TAKEN[name]) == TAKEN


def test_tags_of_rudderstack_are_answered(worker: SegmentWorker) -> None:
    assert worker.play(calls.SET_TAGS) == (200, b'{"status_code":200,"status_message":"OK","response":{}}', JSON)


@pytest.mark.parametrize("call", [calls.PING, *ALL_TAKEN.values()])
@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"application": ""}, (400, b'{"message":"missing application code"}', JSON)),
        ({"application": "FFFFF-00000"}, (400, b'{"message":"application not found"}', JSON)),
        ({"token": "wrong"}, (401, b'{"message":"unauthorized"}', JSON)),
    ],
    ids=["no application", "unknown application", "wrong token"],
)
def test_a_call_without_the_right_credentials_is_refused(
    worker: SegmentWorker, call: RecordedCall, headers: dict[str, str], answer: Answer
) -> None:
    assert worker.play(call, **headers) == answer


def test_tags_for_an_unknown_application_are_refused(worker: SegmentWorker) -> None:
    call = dataclasses.replace(calls.SET_TAGS, body=calls.SET_TAGS.body.replace(b"32E5A-9B411", b"FFFFF-00000"))
    body = b'{"status_code":210,"status_message":"application code is not valid","response":null}'
    assert worker.play(call) == (400, body, JSON)


@pytest.mark.parametrize("call", [calls.NUMBER_AS_TIMESTAMP, calls.TEXT_AS_TIMESTAMP])
def test_a_wrong_timestamp_costs_only_its_event(worker: SegmentWorker, call: RecordedCall) -> None:
    assert worker.play(call) == TAKEN


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (calls.NUMBER_AS_TIMESTAMP, rb"Time.UnmarshalJSON: input is not a JSON string"),
        (
            calls.TEXT_AS_TIMESTAMP,
            rb"parsing time \"bad\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"bad\" as \"2006\"",
        ),
    ],
    ids=["number", "text"],
)
def test_strict_refuses_the_whole_call_as_the_vendor_does(
    strict_worker: SegmentWorker, call: RecordedCall, message: bytes
) -> None:
    body = b'{"action":"post event","status":"failure","error":{"message":"' + message + b'"}}'
    assert strict_worker.play(call) == (400, body, JSON)


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
def test_nothing_but_post_is_taken(worker: SegmentWorker, method: bytes) -> None:
    request = calls.PING.on_the_wire().replace(b"POST", method, 1)
    assert worker.send(request) == (405, b'{"message":"only POST is taken"}', JSON)


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (calls.TRACKS["a batch"], b"post event"),
        (calls.IDENTIFIES["the smallest identify"], b"track user"),
        (calls.DELETES["a deletion"], b"delete user"),
    ],
    ids=["post-events", "track-user", "delete-user"],
)
def test_a_body_that_is_no_call_is_refused_with_the_vendors_envelope(
    worker: SegmentWorker, call: RecordedCall, action: bytes
) -> None:
    body = b'{"action":"' + action + b'","status":"failure","error":{"message":"the body is empty"}}'
    assert worker.play(dataclasses.replace(call, body=b"")) == (400, body, JSON)


def test_more_events_than_permitted_are_refused(worker: SegmentWorker) -> None:
    call = dataclasses.replace(calls.TRACKS["a batch"], body=b'{"events":[' + b"{}," * 1000 + b"{}]}")
    message = b'{"message":"the request has 1001 events, and at most 1000 are taken"}'
    assert worker.play(call) == (413, message, JSON)


def test_a_larger_body_than_permitted_is_refused_before_it_comes(worker: SegmentWorker) -> None:
    call = dataclasses.replace(calls.TRACKS["a batch"], body=bytes(5 * 1024 * 1024 + 1))
    head = call.on_the_wire()[: -len(call.body)]
    assert worker.send(head) == (413, b'{"message":"the request is too large"}', JSON)


async def test_every_good_event_is_in_the_topic_once_however_often_it_is_sent(
    worker: SegmentWorker, broker: Broker
) -> None:
    for call in EVENT_CALLS.values():
        assert await asyncio.to_thread(worker.play, call) == TAKEN
    await asyncio.to_thread(worker.play, reformed_batch())
    found: collections.Counter[str] = collections.Counter()
    async with asyncio.timeout(30):
        while not found.keys() >= EXPECTED:
            events = await inbound_events(broker, worker)
            found = collections.Counter(content_of(event) for event in events if seen_in_calls(event))
    assert found == dict.fromkeys(EXPECTED, 1)


async def test_every_call_counts_what_it_took_and_what_it_did_not(worker: SegmentWorker, broker: Broker) -> None:
    call = dataclasses.replace(calls.TRACKS["a batch"], body=calls.TRACKS["a batch"].body.replace(b'"km":7', b'"km":8'))
    assert await asyncio.to_thread(worker.play, call) == TAKEN
    records = await requests(broker, worker)
    (first,) = [record for record in records if record.is_first_part and '"km":8' in record.body]
    parts = [record for record in records if record.request_id == first.request_id]
    assert sum(len(part.events) for part in parts) == 2
    assert first.disregarded == {"platform_missing": 2, "platform_wrong": 1}
    assert first.detail == (
        "events[2] has no device_platform; events[4] has a device_platform that is none of ios, android and web"
    )
    assert [part.disregarded for part in parts if not part.is_first_part] == [{}] * (len(parts) - 1)


async def test_a_profile_goes_to_the_directory_of_users(worker: SegmentWorker, broker: Broker) -> None:
    assert await asyncio.to_thread(worker.play, calls.IDENTIFIES["an identify with everything"]) == TAKEN
    updates = [json.loads(value) for value in await values(broker, f"{worker.app}-user-updates")]
    tracked = [update for update in updates if update["what"] == "track" and update.get("hwid") == PHONE]
    assert tracked[0] | {"at_us": 0} == {
        "what": "track",
        "application": APPLICATION,
        "at_us": 0,
        "user_id": "jana-17",
        "hwid": PHONE,
        "email": "jana@mail.example",
        "phone": "+4930901820",
        "device": {
            "platform": "iOS",
            "model": "iPhone17,1",
            "os_version": "19.1",
            "app_version": "4.2.0",
            "token": "b1946ac92492d2347c6235b4d2611184",
            "language": "de",
            "country": "Germany",
            "city": "Berlin",
            "latitude": 52.521918,
            "longitude": 13.413215,
            "timezone": "Europe/Berlin",
            "user_agent": "Bikes/4.2.0 (iPhone; iOS 19.1)",
        },
        "attributes": {
            "plan": "family",
            "phone": "+49 30 901820",
            "children": ["Ada", "Bo"],
            "address": {"city": "Berlin"},
        },
    }


async def test_the_directory_learns_from_events_whose_a_device_is(worker: SegmentWorker, broker: Broker) -> None:
    call = calls.TRACKS["a page, with device"]
    assert await asyncio.to_thread(worker.play, call) == TAKEN
    async with asyncio.timeout(20):
        seen: list[Any] = []
        while not seen:
            updates = [json.loads(value) for value in await values(broker, f"{worker.app}-user-updates")]
            seen = [update for update in updates if update["what"] == "seen" and update.get("hwid") == "w-88"]
    assert (seen[0]["user_id"], seen[0]["platform"]) == ("omar-3", "Web")


async def test_the_directory_learns_from_every_event_however_many_come_at_once(
    worker: SegmentWorker, broker: Broker
) -> None:
    for number in range(3):
        assert await asyncio.to_thread(worker.play, batch_of_new_users(number)) == TAKEN
    wanted = {f"device-{number}-{place}" for number in range(3) for place in range(1000)}
    async with asyncio.timeout(30):
        learned: set[str] = set()
        while not wanted <= learned:
            updates = [json.loads(value) for value in await values(broker, f"{worker.app}-user-updates")]
            learned = {update.get("hwid") for update in updates if update["what"] == "seen"}


@pytest.mark.parametrize("users", [1, 1000], ids=["one user", "a thousand users"])
async def test_the_largest_batch_of_segment_is_taken_whole(worker: SegmentWorker, broker: Broker, users: int) -> None:
    name = f"Largest of {users}"
    call = largest_batch(name, users)
    assert 3_900_000 < len(call.body) < 4_000_000
    assert await asyncio.to_thread(worker.play, call) == TAKEN
    assert await asyncio.to_thread(worker.play, call) == TAKEN
    async with asyncio.timeout(30):
        found: list[dict[str, Any]] = []
        while len(found) < 1000:
            found = [event for event in await inbound_events(broker, worker) if event["event_name"] == name]
    assert sorted(event["attributes"]["place"] for event in found) == list(range(1000))


def reformed_batch() -> RecordedCall:
    """Events of several calls in one, the last first, as Segment forms batches anew between tries."""
    events = [event for call in calls.TRACKS.values() for event in json.loads(call.body)["events"]]
    body = json.dumps({"events": events[::-1]}, separators=(",", ":")).encode()
    return dataclasses.replace(calls.TRACKS["a batch"], body=body)


def batch_of_new_users(number: int) -> RecordedCall:
    """1,000 events, each of a user and a device of its own."""
    events = [
        {
            "user_id": f"new-{number}-{place}",
            "device_id": f"device-{number}-{place}",
            "device_platform": "ios",
            "app_id": APPLICATION,
            "name": "Opened",
        }
        for place in range(1000)
    ]
    return dataclasses.replace(calls.TRACKS["a batch"], body=json.dumps({"events": events}).encode())


def largest_batch(name: str, users: int) -> RecordedCall:
    """1,000 events in nearly 4 MB, as much as Segment puts into one call."""
    events = [
        {
            "user_id": f"user-{place % users}",
            "device_id": None,
            "device_platform": "ios",
            "app_id": APPLICATION,
            "name": name,
            "timestamp": "2026-11-22T12:30:00.000Z",
            "attributes": {"place": place, "note": f"{place:04d}".rjust(3_750, ".")},
        }
        for place in range(1000)
    ]
    body = json.dumps({"events": events}, separators=(",", ":")).encode()
    return dataclasses.replace(calls.TRACKS["a batch"], body=body)


def seen_in_calls(event: dict[str, Any]) -> bool:
    """Whether this test looks at the event: not the one without timestamp, nor those of other tests."""
    is_timeless = (event["user_id"], event["event_name"]) == TIMELESS
    is_of_another_test = (
        event.get("hwid") == "i-1"
        or event["attributes"].get("km") == 8.25
        or event["event_name"].startswith("Largest of")
        or (event["user_id"] or "").startswith("new-")
    )
    return not is_timeless and not is_of_another_test
