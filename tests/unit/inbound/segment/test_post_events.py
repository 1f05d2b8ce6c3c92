import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import Refusal
from pipeline.inbound.segment.post_events import PostedEvents, read_post_events
from pipeline.inbound.segment.posted_event import PLATFORMS
from pipeline.inbound.segment.reasons import Reason
from pipeline.inbound.segment.rfc3339 import Moment

SEEN: dict[str, Any] = {
    "user_id": "jana-17",
    "device_id": "5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911",
    "device_platform": "ios",
    "app_code": "32E5A-9B411",
    "name": "Bike Rented",
    "timestamp": "2026-11-22T10:15:30.250Z",
    "attributes": {"station": 12, "minutes": 35.5},
}


def body_of(*events: Any) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def taken(body: bytes, **options: Any) -> PostedEvents:
    posted = read_post_events(body, **options)
    assert isinstance(posted, PostedEvents)
    return posted


def refused(body: bytes, **options: Any) -> Refusal:
    refusal = read_post_events(body, **options)
    assert isinstance(refusal, Refusal)
    return refusal


def changed(**fields: Any) -> dict[str, Any]:
    return SEEN | fields


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SEEN.items() if key != name}


def reasons_of(*events: Any, **options: Any) -> Mapping[Reason, int]:
    posted = taken(body_of(SEEN, *events), **options)
    assert len(posted.events) == 1, "the good event is taken"
    return posted.disregarded


def test_an_event_is_taken_with_all_that_it_says() -> None:
    (event,) = taken(body_of(SEEN)).events
    assert event == (
        0, "jana-17", "5C0E8AD1-70C8-4B53-B8A2-1F6E23D0A911", "iOS", "Bike Rented", Moment(1795342530, 250_000_000),
        {"station": 12, "minutes": 35.5},
    )  # fmt: skip


def test_the_application_may_stand_in_either_field_or_in_none() -> None:
    renamed = without("app_code") | {"app_id": "32E5A-9B411"}
    neither = without("app_code")
    numbers = neither | {"app_code": 1, "app_id": {}}
    assert len(taken(body_of(SEEN, renamed, neither, numbers)).events) == 4


@pytest.mark.parametrize("spelled", ["ios", "IOS", "iOS", " ios ", "android", "Android", "web", "WEB"])
def test_a_platform_may_be_written_in_any_case(spelled: str) -> None:
    (event,) = taken(body_of(changed(device_platform=spelled))).events
    assert event.platform == PLATFORMS[spelled.strip().lower()]


@pytest.mark.parametrize("empty", ["", None, "  ", ...])
@pytest.mark.parametrize(("name", "other"), [("user_id", "device_id"), ("device_id", "user_id")])
def test_one_of_user_and_device_is_enough(name: str, other: str, empty: Any) -> None:
    event = without(name) if empty is ... else changed(**{name: empty})
    (posted,) = taken(body_of(event)).events
    assert (getattr(posted, name), getattr(posted, other)) == ("", SEEN[other])


@pytest.mark.parametrize("empty", ["", None, "  ", ...])
def test_an_event_of_nobody_is_disregarded(empty: Any) -> None:
    event = without("user_id") if empty is ... else changed(user_id=empty)
    assert reasons_of(event | {"device_id": empty if empty is not ... else None}) == {Reason.IDENTITY_MISSING: 1}


@pytest.mark.parametrize("empty", ["", None, "  ", ...])
@pytest.mark.parametrize(
    ("name", "reason"), [("device_platform", Reason.PLATFORM_MISSING), ("name", Reason.NAME_MISSING)]
)
def test_an_event_without_platform_or_name_is_disregarded(name: str, reason: Reason, empty: Any) -> None:
    assert reasons_of(without(name) if empty is ... else changed(**{name: empty})) == {reason: 1}


@pytest.mark.parametrize("wrong", ["toaster", "macOS", "Email", "1", "ios,android"])
def test_an_event_of_another_platform_is_disregarded(wrong: str) -> None:
    assert reasons_of(changed(device_platform=wrong)) == {Reason.PLATFORM_WRONG: 1}


@pytest.mark.parametrize("empty", ["", None, " ", ...])
def test_an_event_may_lack_its_timestamp(empty: Any) -> None:
    (event,) = taken(body_of(without("timestamp") if empty is ... else changed(timestamp=empty))).events
    assert event.moment is None


@pytest.mark.parametrize("empty", [{}, None, ...])
def test_an_event_may_lack_its_attributes(empty: Any) -> None:
    (event,) = taken(body_of(without("attributes") if empty is ... else changed(attributes=empty))).events
    assert event.attributes == {}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (changed(timestamp=1795342530), Reason.TIMESTAMP_WRONG),
        (changed(timestamp=True), Reason.TIMESTAMP_WRONG),
        (changed(timestamp="yesterday"), Reason.TIMESTAMP_WRONG),
        (changed(timestamp="1969-12-31T23:59:59Z"), Reason.TIMESTAMP_OUT_OF_RANGE),
        (changed(user_id=17), Reason.TYPE_WRONG),
        (changed(name=["Bike Rented"]), Reason.TYPE_WRONG),
        (changed(attributes=[1, 2]), Reason.TYPE_WRONG),
        (changed(attributes="station"), Reason.TYPE_WRONG),
        (changed(user_id="u" * 513), Reason.IDENTITY_WRONG),
        (changed(device_id="a\0b"), Reason.IDENTITY_WRONG),
        ("an event", Reason.NOT_AN_OBJECT),
        ([SEEN], Reason.NOT_AN_OBJECT),
        (None, Reason.IDENTITY_MISSING),
        (changed(attributes={"note": "x" * 1024 * 1024}), Reason.TOO_LARGE),
    ],
)
def test_a_bad_event_costs_only_itself(event: Any, reason: Reason) -> None:
    assert reasons_of(event) == {reason: 1}


@pytest.mark.parametrize(
    "content", [b'{"user_id":"\xff"}', b'{"attributes":{"a":1e999}}', b'{"attributes":{"a":"\xc3"}}']
)
def test_bytes_that_are_no_text_cost_only_their_event(content: bytes) -> None:
    posted = taken(b'{"events":[' + body_of(SEEN)[12:-2] + b"," + content + b"]}")
    assert (len(posted.events), posted.disregarded) == (1, {Reason.UNREADABLE: 1})


def test_half_an_emoji_is_replaced_as_the_vendor_does_it() -> None:
    (event,) = taken(body_of(changed(attributes={"note": "cut \ud83d"}))).events
    assert event.attributes == {"note": "cut \ufffd"}


def test_attributes_nested_too_deep_cost_only_their_event() -> None:
    nested: dict[str, Any] = {}
    for _ in range(8):
        nested = {"in": nested}
    assert reasons_of(changed(attributes=nested), max_depth=8) == {Reason.TOO_DEEP: 1}


def test_disregarded_events_are_counted_by_reason_and_the_first_of_each_is_named() -> None:
    posted = taken(body_of(SEEN, without("name"), changed(timestamp=1), without("name")))
    assert posted.disregarded == {Reason.NAME_MISSING: 2, Reason.TIMESTAMP_WRONG: 1}
    assert posted.detail == "events[1] has no name; events[2] Time.UnmarshalJSON: input is not a JSON string"


def test_places_are_those_of_the_call() -> None:
    posted = taken(body_of(without("name"), SEEN, without("name"), SEEN))
    assert [event.place for event in posted.events] == [1, 3]


@pytest.mark.parametrize("body", [b"{}", b'{"events":null}', b'{"events":[]}', b'{"other":1}'])
def test_a_call_without_events_is_taken(body: bytes) -> None:
    assert taken(body) == ([], {}, {})


def test_as_many_events_as_permitted_are_taken_and_not_one_more() -> None:
    assert len(taken(body_of(*[SEEN] * 1000)).events) == 1000
    refusal = refused(body_of(*[SEEN] * 1001))
    assert (refusal.outcome, refusal.answer.status) == (Outcome.TOO_LARGE, 413)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", Outcome.MALFORMED_JSON),
        (b"not json", Outcome.MALFORMED_JSON),
        (b'{"events":[{}', Outcome.MALFORMED_JSON),
        (b'{"events":[]} more', Outcome.MALFORMED_JSON),
        (b"[]", Outcome.UNDECODABLE),
        (b"null", Outcome.UNDECODABLE),
        (b'{"events":{}}', Outcome.UNDECODABLE),
        (b'{"events":"none"}', Outcome.UNDECODABLE),
        (b'{"events":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", Outcome.TOO_DEEP),
    ],
)
@pytest.mark.parametrize("is_strict", [False, True])
def test_what_is_no_call_is_refused_whole(body: bytes, outcome: Outcome, is_strict: bool) -> None:  # noqa: FBT001
    refusal = refused(body, is_strict=is_strict)
    answer = json.loads(refusal.answer.body)
    assert refusal.outcome is outcome
    assert refusal.answer.status == 400
    assert answer == {"action": "post event", "status": "failure", "error": {"message": refusal.detail}}


@pytest.mark.parametrize(
    ("timestamp", "answer"),
    [
        (
            1795342530,
            (
                b'{"action":"post event","status":"failure",'
                b'"error":{"message":"Time.UnmarshalJSON: input is not a JSON string"}}'
            ),
        ),
        (
            "bad",
            (
                b'{"action":"post event","status":"failure","error":{"message":"parsing time \\"bad\\" as '
                b'\\"2006-01-02T15:04:05Z07:00\\": cannot parse \\"bad\\" as \\"2006\\""}}'
            ),
        ),
    ],
)
def test_strict_refuses_the_whole_call_for_a_timestamp_as_the_vendor_does(timestamp: Any, answer: bytes) -> None:
    refusal = refused(body_of(SEEN, changed(timestamp=timestamp), SEEN), is_strict=True)
    assert refusal.answer == (400, answer, "application/json")


def test_strict_refuses_an_empty_timestamp_as_the_vendor_does() -> None:
    refusal = refused(body_of(changed(timestamp="")), is_strict=True)
    assert refusal.detail == 'parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006"'


def test_strict_names_the_timestamp_before_any_other_mistake() -> None:
    refusal = refused(body_of(changed(name=5), SEEN, changed(user_id=5, timestamp=5)), is_strict=True)
    assert refusal.detail == "Time.UnmarshalJSON: input is not a JSON string"


def test_strict_refuses_the_whole_call_for_a_wrong_type() -> None:
    refusal = refused(body_of(SEEN, changed(name=5)), is_strict=True)
    assert refusal.detail == "events[1] has a number as name, not a text"


@pytest.mark.parametrize(
    "event", [without("name"), without("device_platform"), changed(device_platform="fridge"), {}, None]
)
def test_strict_disregards_what_the_vendor_disregards(event: Any) -> None:
    assert sum(reasons_of(event, is_strict=True).values()) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
wild_events = json_values | st.fixed_dictionaries(
    {},
    optional={name: json_values | st.just(value) for name, value in {**SEEN, "app_id": "32E5A-9B411"}.items()},
)
bodies = (
    st.binary(max_size=60)
    | json_values.map(msgspec.json.encode)
    | st.lists(wild_events, max_size=6).map(lambda events: msgspec.json.encode({"events": events}))
)


@given(body=bodies, is_strict=st.booleans())
@example(body=b'{"events":[' + b"9" * 5000 + b"]}", is_strict=True)
@example(body=b'{"events":[{"attributes":{"a":"\\ud800"}}]}', is_strict=True)
@example(body=b"\xef\xbb\xbf{}", is_strict=False)
@settings(max_examples=300)
def test_any_body_is_taken_or_refused_as_documented(body: bytes, is_strict: bool) -> None:  # noqa: FBT001
    posted = read_post_events(body, is_strict=is_strict)
    if isinstance(posted, Refusal):
        assert posted.answer.status in (400, 413)
        assert json.loads(posted.answer.body)["error"]["message"]
    else:
        assert all(event.user_id or event.device_id for event in posted.events)


@given(st.lists(wild_events, max_size=12))
def test_every_event_is_taken_or_counted(events: list[Any]) -> None:
    posted = taken(msgspec.json.encode({"events": events}))
    assert len(posted.events) + sum(posted.disregarded.values()) == len(events)
