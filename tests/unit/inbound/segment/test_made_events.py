import json
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.segment.made_events import MadeEvent, MadeEvents, make_events
from pipeline.inbound.segment.post_events import PostedEvents, read_post_events
from pipeline.inbound.segment.reasons import Reason
from pipeline.ingest.decode import EventDecoder

SEEN: dict[str, Any] = {
    "user_id": "jana-17",
    "device_id": "5C0E8AD1",
    "device_platform": "ANDROID",
    "name": "Bike Rented",
    "timestamp": "2026-11-22T10:15:30.250Z",
    "attributes": {"station": 12, "tariff": {"name": "day", "cents": [100, 250]}},
}
DECODER = EventDecoder("inbound", 0)


def made(*events: Any, application: str = "32E5A-9B411", **facts: Any) -> MadeEvents:
    posted = read_post_events(json.dumps({"events": list(events)}).encode())
    assert isinstance(posted, PostedEvents)
    facts = {"request_id": "r-1", "at_s": 1795350000.75} | facts
    return make_events(posted, application=application, **facts)


def keys(*events: Any, **facts: Any) -> list[str]:
    return [event.event.key for event in made(*events, **facts).events]


def uuids(*events: Any, **facts: Any) -> list[str]:
    return [event.event.uuid for event in made(*events, **facts).events]


def content(event: MadeEvent) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(bytes(event.event.event))
    return fields


def test_an_event_goes_on_in_the_shape_of_every_other_event() -> None:
    (event,) = made(SEEN).events
    assert content(event) == {
        "event_name": "Bike Rented",
        "application_code": "32E5A-9B411",
        "platform": "Android",
        "timestamp": 1795342530,
        "hwid": "5C0E8AD1",
        "user_id": "jana-17",
        "uuid": event.event.uuid,
        "attributes": SEEN["attributes"],
    }
    DECODER.decode(bytes(event.event.event), 1)


def test_it_says_whose_it_is() -> None:
    (event,) = made(SEEN).events
    assert (event.user_id, event.device_id) == ("jana-17", "5C0E8AD1")


def test_a_user_or_device_that_is_not_known_is_left_out() -> None:
    (event,) = made(SEEN | {"device_id": ""}).events
    assert "hwid" not in content(event)


def test_the_application_of_the_header_counts_whatever_the_event_says() -> None:
    (event,) = made(SEEN | {"app_code": "OTHER-00000"}).events
    assert content(event)["application_code"] == "32E5A-9B411"


def test_an_event_without_timestamp_happened_when_it_came() -> None:
    (event,) = made(SEEN | {"timestamp": None}).events
    assert content(event)["timestamp"] == 1795350000


def test_an_event_that_is_sent_again_in_another_batch_has_the_same_key_and_uuid() -> None:
    other = SEEN | {"user_id": "omar-3"}
    again = dict(reversed(SEEN.items())) | {"app_id": "32E5A-9B411", "timestamp": "2026-11-22T11:15:30.25+01:00"}
    first, second = made(SEEN, other, request_id="r-1"), made(other, again, request_id="r-2")
    assert first.events[0].event.key == second.events[1].event.key
    assert first.events[0].event.uuid == second.events[1].event.uuid


def test_events_that_differ_in_anything_have_different_keys() -> None:
    changes: list[dict[str, Any]] = [
        {"user_id": "omar-3"}, {"device_id": "5C0E8AD2"}, {"name": "Bike Returned"}, {"attributes": {"station": 13}},
        {"timestamp": "2026-11-22T10:15:30.251Z"},
    ]  # fmt: skip
    found = keys(SEEN, *[SEEN | change for change in changes]) + keys(SEEN, application="A1B2C-D3E4F")
    assert len(set(found)) == len(found)


def test_events_without_timestamp_are_not_taken_for_repetitions() -> None:
    timeless = SEEN | {"timestamp": None}
    assert keys(timeless, timeless) == ["", ""]
    assert len({*uuids(timeless, timeless, request_id="r-1"), *uuids(timeless, request_id="r-2")}) == 3


def test_an_idempotency_key_tells_repetitions_of_events_without_timestamp() -> None:
    timeless = SEEN | {"timestamp": None}
    first = keys(timeless, timeless, idempotency_key="k", request_id="r-1")
    assert first == keys(timeless, timeless, idempotency_key="k", request_id="r-2")
    assert (
        len({*first, *keys(timeless, idempotency_key="l"), *keys(timeless, idempotency_key="k", application="X")}) == 4
    )


def test_what_was_disregarded_is_counted_on() -> None:
    assert made(SEEN, {}, SEEN | {"timestamp": 4}).disregarded == {"identity_missing": 1, "timestamp_wrong": 1}


def test_an_event_that_becomes_too_large_is_counted() -> None:
    name = "n" * (1024 * 1024 - 100)
    result = made({"user_id": "u", "device_platform": "web", "name": name})
    assert (result.events, result.disregarded) == ([], {Reason.TOO_LARGE.value: 1})


attributes = st.dictionaries(
    st.text(max_size=6),
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    max_size=4,
)


@given(attributes=attributes, name=st.text(min_size=1, max_size=9).filter(str.strip))
def test_every_event_that_is_made_passes_the_checks_of_the_source_topic(attributes: dict[str, Any], name: str) -> None:
    result = made(SEEN | {"attributes": attributes, "name": name})
    (event,) = result.events
    decoded, _ = DECODER.decode(bytes(event.event.event), 1)
    assert (decoded.event_name, decoded.uuid) == (name, event.event.uuid)
    assert uuid.UUID(event.event.uuid).variant == uuid.RFC_4122
    assert content(event)["attributes"] == attributes
