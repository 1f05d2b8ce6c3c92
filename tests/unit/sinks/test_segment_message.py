import json
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.platforms import PLATFORMS
from pipeline.model.ranges import numbers_in
from pipeline.sinks.segment_message import (
    LONGEST_MESSAGE_ID,
    MESSAGE_TYPES,
    MOST_BYTES_A_CALL,
    MOST_BYTES_AN_EVENT,
    MOST_EVENTS_A_CALL,
    UnusableEventError,
    iso_8601,
    message_of,
    plan_of,
)
from tests.support.events import events


def event(**fields: object) -> bytes:
    usual = {"event_name": "Push Sent", "platform": "iOS", "timestamp": 1_723_799_271, "user_id": "u", "uuid": "id-1"}
    return msgspec.json.encode({key: value for key, value in (usual | fields).items() if value is not None})


def message(**fields: object) -> dict:
    return message_of(event(**fields), lane="seg", sequence=7)


def batch_of(each: list[bytes], first: int = 0) -> Batch:
    run = EventRun.of(each)
    return Batch("seg", first, first + len(each), SealReason.COUNT, 1.0, 1.0, run.packed_ends(), run.block)


def test_a_message_says_what_the_contract_has() -> None:
    told = message(campaign_code="5A1F0-77A10", device_type="iPhone 15", hwid="d", payload="hello")
    assert told == {
        "type": "track",
        "event": "Push Sent",
        "userId": "u",
        "properties": {"message_type": "Push", "campaign_code": "5A1F0-77A10", "device_type": "iPhone 15"},
        "timestamp": "2024-08-16T09:07:51.000Z",
        "messageId": "id-1",
    }


@pytest.mark.parametrize("user_id", [None, ""])
def test_the_device_stands_in_only_where_there_is_no_user(user_id: str | None) -> None:
    told = message(user_id=user_id, hwid="device-1")
    assert "userId" not in told
    assert told["anonymousId"] == "device-1"


def test_the_device_is_left_out_where_there_is_a_user() -> None:
    assert "anonymousId" not in message(hwid="device-1")


@pytest.mark.parametrize("hwid", [None, ""])
def test_an_event_of_nobody_cannot_be_told(hwid: str | None) -> None:
    with pytest.raises(UnusableEventError, match="neither user_id nor hwid"):
        message(user_id=None, hwid=hwid)


def test_every_platform_has_a_message_type_of_the_contract() -> None:
    assert set(MESSAGE_TYPES) == set(PLATFORMS)
    assert set(MESSAGE_TYPES.values()) == {"Push", "Email", "SMS"}


@pytest.mark.parametrize(
    ("platform", "name", "expected"),
    [
        ("iOS", "Push Sent", "Push"),
        ("Email", "Email Sent", "Email"),
        ("SMS", "SMS Sent", "SMS"),
        ("WhatsApp", "WhatsApp Read", "SMS"),
        ("Line", "Line Sent", "SMS"),
        ("Android", "In-App Shown", "In-App"),
    ],
)
def test_the_message_type_follows_from_platform_and_name(platform: str, name: str, expected: str) -> None:
    assert message(platform=platform, event_name=name)["properties"]["message_type"] == expected


def test_an_event_without_campaign_has_no_campaign_code() -> None:
    assert "campaign_code" not in message(campaign_code="")["properties"]


@pytest.mark.parametrize(("given_type", "told"), [(None, "iOS"), ("", "iOS"), (3, 3), (0, 0), ("tablet", "tablet")])
def test_the_device_type_is_the_events_own_or_its_platform(given_type: object, told: object) -> None:
    assert message(device_type=given_type)["properties"]["device_type"] == told


def test_an_event_without_uuid_is_known_by_its_place() -> None:
    assert message(uuid=None)["messageId"] == "seg:7"


def test_a_long_uuid_becomes_a_digest_that_differs_by_uuid() -> None:
    ids = {message(uuid="x" * length)["messageId"] for length in (100, 101, 102, 5000)}
    assert len(ids) == 4
    assert all(len(each) <= LONGEST_MESSAGE_ID for each in ids)
    assert "x" * 100 in ids


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"event_name":"a"}', event(timestamp=-1), event(platform="Pager"), event(event_name="")]
)
def test_what_is_no_event_is_given_up_alone(content: bytes) -> None:
    plan = plan_of(batch_of([event(), content, event()], first=10))
    assert [call.ranges for call in plan.calls] == [((10, 11), (12, 13))]
    assert [(refusal.first, refusal.end) for refusal in plan.refused] == [(11, 12)]
    assert plan.refused[0].detail.startswith("not sent to Segment: ")


@given(st.lists(events(), min_size=1, max_size=20))
def test_whatever_the_events_hold_each_is_told_or_given_up(each: list[bytes]) -> None:
    plan = plan_of(batch_of(each))
    told = {
        number: message
        for call in plan.calls
        for number, message in zip(numbers_in(call.ranges), call.messages, strict=True)
    }
    assert sorted([*told, *(refusal.first for refusal in plan.refused)]) == list(range(len(each)))
    for number, one in told.items():
        source = msgspec.json.decode(each[number])
        assert one["type"] == "track"
        assert one["event"] == source["event_name"]
        assert one.get("userId") == (source.get("user_id") or None)
        assert ("anonymousId" in one) == (not source.get("user_id"))
        assert datetime.fromisoformat(one["timestamp"]).timestamp() == source["timestamp"]
        assert 0 < len(one["messageId"]) <= LONGEST_MESSAGE_ID


SIZES = st.one_of(
    st.integers(1, 300), st.integers(15_000, 25_000), st.integers(MOST_BYTES_AN_EVENT - 400, MOST_BYTES_AN_EVENT + 400)
)


@given(st.lists(st.tuples(SIZES, st.sampled_from(["x", "é", "\U0001f389", '"'])), min_size=1, max_size=60))
def test_no_call_is_over_the_limits_and_every_event_has_one_place(each: list[tuple[int, str]]) -> None:
    batch = batch_of([event(user_id=character * size) for size, character in each], first=5)
    plan = plan_of(batch)
    for call in plan.calls:
        assert 0 < len(call.messages) <= MOST_EVENTS_A_CALL
        assert len(json.dumps(call.messages)) <= MOST_BYTES_A_CALL + 2
        assert all(len(json.dumps(one)) <= MOST_BYTES_AN_EVENT for one in call.messages)
    told = [number for call in plan.calls for number in numbers_in(call.ranges)]
    assert told == sorted(told)
    refused = [refusal.first for refusal in plan.refused]
    assert sorted(told + refused) == list(range(5, 5 + len(each)))
    for number in refused:
        size, character = each[number - 5]
        assert len(json.dumps({"userId": character * size})) > MOST_BYTES_AN_EVENT - 400


def test_calls_are_as_few_as_the_count_allows() -> None:
    plan = plan_of(batch_of([event()] * (2 * MOST_EVENTS_A_CALL + 1)))
    assert [len(call.messages) for call in plan.calls] == [MOST_EVENTS_A_CALL, MOST_EVENTS_A_CALL, 1]


@pytest.mark.parametrize(
    ("moment_s", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1.25, "1970-01-01T00:00:01.250Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(moment_s: float, text: str) -> None:
    assert iso_8601(moment_s) == text
