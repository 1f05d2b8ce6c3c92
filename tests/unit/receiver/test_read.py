import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.ranges import ranges_of
from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError, read_delivery, read_place
from pipeline.sinks.posting import Events

WHOLE = {
    "event_name": "Email Opened",
    "application_code": "32E5A-9B411",
    "platform": "Email",
    "timestamp": 1_700_000_000,
    "hwid": "a@b.example",
    "uuid": "u-1",
}


def headers(**changed: str) -> dict[str, str]:
    return {
        "webhook-id": "crm:1-8~3",
        "webhook-timestamp": "1700000000",
        "distributary-sequence": "crm 1-3,7-8",
        "content-type": "application/json",
    } | {name.replace("_", "-"): value for name, value in changed.items()}


def request_of(content: Any, **changed: str) -> Request:
    body = json.dumps(content).encode()
    return Request("POST", "/", headers(**changed), body, len(body))


def reason_of(request: Request, **how: bool) -> str:
    with pytest.raises(UnacceptableError) as caught:
        read_delivery(request, verify=True, **how)
    return caught.value.reason


@given(st.sets(st.integers(0, 60), min_size=1), st.sampled_from(["crm", "crm~3", "crm~test", "crm~backfill"]))
def test_what_a_sink_says_of_a_part_is_what_is_read(left: set[int], lane: str) -> None:
    run = EventRun.of([b"{}"] * 61)
    part = Batch(lane, 0, 61, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block).only(ranges_of(left))
    place = read_place(Events.of(part).headers(now_s=3.0))
    assert (place.webhook_id, place.lane, place.ranges) == (part.id, lane, ranges_of(left))
    delivery = place.delivery(None, 0)
    assert delivery.numbers == ranges_of(left)
    assert delivery.purpose == {"crm~test": "test", "crm~backfill": "backfill"}.get(lane)


def test_a_part_holds_as_many_events_as_its_ranges() -> None:
    delivery = read_delivery(request_of([{"uuid": "a"}, {"uuid": "b"}, {}]), verify=True)
    assert (delivery.numbers, delivery.uuids) == (((1, 3), (7, 8)), ["a", "b", None])
    assert reason_of(request_of([{}] * 7)) == "count"


def test_a_part_of_too_many_ranges_is_counted_instead() -> None:
    run = EventRun.of([b"{}"] * 9000)
    whole = Batch("crm", 0, 9000, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block)
    part = whole.only(tuple((number, number + 1) for number in range(0, 9000, 3)))
    told = Events.of(part).headers(now_s=3.0)
    assert told["distributary-sequence"] == "crm 0-8998~3000"
    place = read_place(told)
    assert (place.webhook_id, place.ranges, place.event_count) == (part.id, ((0, 8998),), 3000)
    delivery = place.delivery(None, 0)
    assert (delivery.is_numbered, delivery.numbers, delivery.event_count) == (False, (), 3000)


@given(st.sets(st.integers(0, 1200), min_size=1))
def test_the_sequence_header_never_outgrows_what_servers_take(left: set[int]) -> None:
    spread = ranges_of(10**18 + 2 * number for number in left)
    assert len(Events("a name", "crm", spread).headers(now_s=3.0)["distributary-sequence"]) <= 4096


def test_a_counted_part_holds_as_many_events_as_it_says() -> None:
    counted = {"distributary_sequence": "crm 1-8~3"}
    delivery = read_delivery(request_of([{"uuid": "a"}, {"uuid": "b"}, {}], **counted), verify=True)
    assert (delivery.numbers, delivery.uuids, delivery.event_count) == ((), ["a", "b", None], 3)
    assert reason_of(request_of([{}] * 7, **counted)) == "count"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"distributary_sequence": "crm 1-8~4"}, "webhook-id"),
        ({"distributary_sequence": "crm 1-8~7", "webhook_id": "crm:1-8~7"}, "sequence"),
        ({"distributary_sequence": "crm 1-8~1", "webhook_id": "crm:1-8~1"}, "sequence"),
        ({"distributary_sequence": "crm 1-3,7-8~3"}, "sequence"),
        ({"webhook_id": "crm:1-8"}, "webhook-id"),
        ({"webhook_id": "crm:1-8~4"}, "webhook-id"),
        ({"distributary_sequence": "crm 1-3,3-4", "webhook_id": "crm:1-4~3"}, "sequence"),
        ({"distributary_sequence": "crm 7-8,1-3"}, "sequence"),
        ({"distributary_sequence": "crm 1-3,"}, "sequence"),
        ({"distributary_sequence": "crm 1-3, 7-8"}, "sequence"),
        ({"distributary_purpose": "test"}, "purpose"),
        ({"distributary_sequence": "crm~test 0-3", "webhook_id": "crm~test:0-3"}, "purpose"),
    ],
)
def test_headers_that_do_not_agree_are_refused(changed: dict[str, str], reason: str) -> None:
    assert reason_of(request_of([{}] * 3, **changed)) == reason


ONE = {"webhook_id": "crm:1-2", "distributary_sequence": "crm 1-2"}


@pytest.mark.parametrize(
    "content",
    [[WHOLE], WHOLE, {"batch": "crm:1-2", "lane": "crm", "first": 1, "end": 2, "events": [WHOLE]}],
    ids=["array", "object", "envelope"],
)
def test_fields_are_checked_in_every_kind_of_body(content: Any) -> None:
    assert read_delivery(request_of(content, **ONE), verify=True, check_fields=True).uuids == ["u-1"]


@pytest.mark.parametrize(
    "event",
    [
        *({key: value for key, value in WHOLE.items() if key != left_out} for left_out in ("event_name", "timestamp", "hwid")),
        WHOLE | {"timestamp": "1700000000"},
        WHOLE | {"event_name": ""},
        WHOLE | {"campaign_id": "961048"},
        WHOLE | {"hwid": ""},
    ],
)  # fmt: skip
def test_an_event_that_breaks_the_contract_is_refused(event: dict[str, Any]) -> None:
    assert reason_of(request_of([event], **ONE), check_fields=True) == "fields"


@given(st.text())
def test_no_sequence_header_breaks_it(text: str) -> None:
    try:
        read_place({"webhook-id": "crm:0-1", "distributary-sequence": text})
    except UnacceptableError as error:
        assert error.reason in {"sequence", "webhook-id", "purpose"}  # noqa: PT017
