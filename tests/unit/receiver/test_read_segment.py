import base64
import gzip
import json
from typing import Any

import pytest

from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.read_segment import read_segment
from pipeline.receiver.tally import Delivery, Tally

KEY = "wr1te-k3y"


def message(**changed: Any) -> dict[str, Any]:
    usual = {
        "type": "track",
        "event": "Push Sent",
        "userId": "u",
        "properties": {"message_type": "Push", "device_type": "iOS"},
        "timestamp": "2024-08-16T09:07:51.000Z",
        "messageId": "a",
    }
    return {key: value for key, value in (usual | changed).items() if value is not None}


def request(
    *messages: dict[str, Any], body: bytes | None = None, path: str = "/v1/batch", key: str | None = KEY, **headers: str
) -> Request:
    content = {"batch": list(messages), "sentAt": "2024-08-16T09:08:00.000Z", "writeKey": key}
    body = json.dumps(content).encode() if body is None else body
    given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", path, given, body, len(body))


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def reason_of(one: Request, **settings: Any) -> str:
    with pytest.raises(UnacceptableError) as caught:
        read_segment(one, **settings)
    return caught.value.reason


def test_events_are_known_by_their_message_ids() -> None:
    delivery = read_segment(request(message(), message(messageId=None), message(messageId="b")), write_key=KEY)
    assert (delivery.uuids, delivery.event_count, delivery.is_numbered) == (["a", None, "b"], 3, False)
    assert delivery.lane.startswith("segment-")
    assert KEY not in delivery.lane


def test_the_lane_may_be_given() -> None:
    assert read_segment(request(message()), write_key=KEY, lane="seg").lane == "seg"


def test_the_sequence_counts_where_the_request_names_it() -> None:
    named = {"webhook_id": "seg:16-18", "distributary_sequence": "seg 16-18"}
    delivery = read_segment(request(message(), message(messageId="b"), **named), write_key=KEY)
    assert (delivery.webhook_id, delivery.lane, delivery.numbers) == ("seg:16-18", "seg", ((16, 18),))
    assert reason_of(request(message(), **named), write_key=KEY) == "count"


@pytest.mark.parametrize(
    "good",
    [
        request(message()),
        request(message(), key=None, authorization=basic(f"{KEY}:")),
        request(message(), key="another", authorization=basic(f"{KEY}:")),
        request(message(), path="/some/prefix/v1/batch?x=1"),
        request(body=gzip.compress(request(message()).body), content_encoding="gzip"),
        request(message(userId=None, anonymousId="d")),
        request(message(properties={"message_type": "SMS", "device_type": 18, "campaign_code": "c", "more": []})),
    ],
)
def test_what_segment_takes_is_taken(good: Request) -> None:
    assert read_segment(good, write_key=KEY).uuids == ["a"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (request(message(), path="/v1/track"), "path"),
        (request(message(), content_type="text/plain"), "content-type"),
        (request(message(), key="another"), "write-key"),
        (request(message(), key=None), "write-key"),
        (request(message(), authorization=basic("another:")), "write-key"),
        (request(message(), authorization=basic(KEY)), "write-key"),
        (request(message(), authorization="Basic ?"), "write-key"),
        (request(body=b"{"), "json"),
        (request(body=b"[]"), "fields"),
        (request(body=b'{"batch": 1}'), "fields"),
        (request(), "count"),
        (request(message(type="page")), "fields"),
        (request(message(event="")), "fields"),
        (request(message(userId=None)), "fields"),
        (request(message(userId="")), "fields"),
        (request(message(anonymousId="d")), "fields"),
        (request(message(messageId="x" * 101)), "fields"),
        (request(message(properties={"message_type": "Pager", "device_type": "iOS"})), "fields"),
        (request(message(properties={"message_type": "Push"})), "fields"),
        (request(message(timestamp="yesterday")), "timestamp"),
        (request(message(timestamp="2024-08-16T09:07:51")), "timestamp"),
        (request(message(userId="x" * 33_000)), "size"),
        (request(*[message(userId="x" * 30_000)] * 17), "size"),
        (request(*[message()] * 2501), "size"),
    ],
)
def test_anything_else_is_refused(bad: Request, reason: str) -> None:
    assert reason_of(bad, write_key=KEY) == reason


def test_any_key_will_do_where_none_is_given() -> None:
    first, second = (read_segment(request(message(), key=key)) for key in ("one", "two"))
    assert first.lane != second.lane


def unnumbered(*uuids: str | None, lane: str = "segment") -> Delivery:
    return Delivery(f"{lane}:{uuids}", lane, 0, 0, list(uuids), 100)


def test_deliveries_without_numbers_are_counted_by_their_uuids() -> None:
    tally = Tally()
    for one in (unnumbered("a", "b", None), unnumbered("b", "c"), unnumbered("b", "c"), unnumbered("a", lane="other")):
        tally.accept(one, now_s=1.0)
    stats = tally.stats()
    assert (stats["batches"], stats["duplicate_batches"], stats["events"]) == (4, 1, 8)
    assert (stats["unique_events"], stats["unique_uuids"], stats["repeated_uuids"]) == (4, 4, 3)
    assert (stats["events_without_uuid"], stats["missing_events"], stats["repeated_events"]) == (1, 0, 0)


def test_a_uuid_twice_in_one_delivery_is_a_repeat() -> None:
    tally = Tally()
    tally.accept(unnumbered("a", "a"), now_s=1.0)
    assert (tally.stats()["unique_events"], tally.stats()["repeated_uuids"]) == (1, 1)
