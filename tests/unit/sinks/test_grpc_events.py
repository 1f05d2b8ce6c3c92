"""From JSON to the wire: golden bytes, and what holds for every batch."""

import json

import hypothesis.strategies as st
from hypothesis import given

from pipeline.ingest.event import Event as IngestedEvent
from pipeline.model.attempt import Refusal
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.ranges import numbers_in, ranges_of
from pipeline.sinks.grpc_events import Framing, messages_of
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest, Event

ONE = Framing(1, 4 << 20)


def batch_of(events: list[bytes], ranges=()) -> Batch:
    run = EventRun.of(events)
    first, end = (ranges[0][0], ranges[-1][1]) if ranges else (0, len(events))
    rest = ranges if len(ranges) > 1 else ()
    return Batch("crm", first, end, SealReason.COUNT, 0.0, 0.0, run.packed_ends(), run.block, rest)


def sent(batch: Batch, framing: Framing = ONE) -> tuple[list[Event], list[Refusal]]:
    given_up: list[Refusal] = []
    messages = [*messages_of(batch, framing, given_up)]
    return [event for message in messages for event in DeliverRequest.FromString(message.content).events], given_up


# The vendor's example, with a uuid.
EXAMPLE = (
    b'{"event_name":"Email Opened","message_code":"E682-E6D92B9A-53E24868","campaign_id":961048,"platform":"Email",'
    b'"payload":"Welcome to Headway! \xf0\x9f\x91\x8b","application_code":"32E5A-9B411","hwid":"irun4716@gmail.com",'
    b'"user_id":"1894410","timestamp":1723799271,"journey_title":"","journey_point_title":"5_Welcome_ID_new","uuid":"u-1"}'
)
EXAMPLE_ON_THE_WIRE = bytes.fromhex(
    "0a9601"  # events, 150 bytes
    "0a03" + b"u-1".hex() + "1007"  # uuid, sequence
    "1a0c" + b"Email Opened".hex() + "20e7adfcb506"  # event_name, timestamp
    "2a0b" + b"32E5A-9B411".hex() + "3205" + b"Email".hex()  # application_code, platform
    + "3a12" + b"irun4716@gmail.com".hex() + "4207" + b"1894410".hex()  # hwid, user_id
    + "5216" + b"E682-E6D92B9A-53E24868".hex() + "5898d43a"  # message_code, campaign_id
    + "6218" + "Welcome to Headway! 👋".encode().hex()  # payload
    + "6a00" + "7210" + b"5_Welcome_ID_new".hex()  # journey_title, there but empty; journey_point_title
)  # fmt: skip


def test_the_vendors_example_is_these_bytes() -> None:
    (message,) = messages_of(batch_of([EXAMPLE], ((7, 8),)), ONE, [])
    assert message.content == EXAMPLE_ON_THE_WIRE
    assert message.events == [("u-1", 7)]


def test_every_field_that_an_event_may_have_arrives() -> None:
    fields = {name: f"of {name}" for name in IngestedEvent.__struct_fields__}
    numbers = {"timestamp": 2**40, "message_id": 2**64 - 1, "campaign_id": 0}
    (event,), given_up = sent(batch_of([json.dumps(fields | numbers).encode()]))
    for name, value in (fields | numbers).items():
        assert getattr(event, name) == value
    assert given_up == []


def test_the_proto_has_every_field_that_an_event_may_have() -> None:
    assert {field.name for field in Event.DESCRIPTOR.fields} == {*IngestedEvent.__struct_fields__, "sequence"}


def test_codes_that_are_numbers_travel_as_text() -> None:
    codes = '"device_type":1,"trigger_id":-2,"profile_id":3,"device_id":9223372036854775807'
    (event,), _ = sent(batch_of([EXAMPLE[:-1] + b"," + codes.encode() + b"}"]))
    assert (event.device_type, event.trigger_id, event.profile_id) == ("1", "-2", "3")
    assert event.device_id == "9223372036854775807"


def test_what_is_absent_and_what_is_null_is_not_there() -> None:
    (event,), _ = sent(batch_of([EXAMPLE[:-1] + b',"email":null}']))
    assert not event.HasField("email")
    assert not event.HasField("message_id")
    assert event.HasField("journey_title")


def test_unknown_fields_do_no_harm() -> None:
    events, given_up = sent(batch_of([EXAMPLE[:-1] + b',"new":{"deep":[1]}}']))
    assert (len(events), given_up) == (1, [])


def test_an_unusable_event_takes_none_with_it() -> None:
    bad = [b'{"uuid":"u"}', EXAMPLE.replace(b"961048", b"-1"), EXAMPLE.replace(b"961048", b"18446744073709551616")]
    events, given_up = sent(batch_of([EXAMPLE, *bad, EXAMPLE]))
    assert [event.sequence for event in events] == [0, 4]
    assert [(refusal.first, refusal.end) for refusal in given_up] == [(1, 2), (2, 3), (3, 4)]
    assert all(refusal.detail.startswith("the event does not fit the proto: ") for refusal in given_up)


def sized(payload_bytes: int) -> bytes:
    return EXAMPLE.replace("Welcome to Headway! 👋".encode(), b"x" * payload_bytes)


@given(
    st.lists(st.sampled_from([0, 10, 127, 128, 300, 2000, 70_000]), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from([400, 1000, 5000, 1 << 20]),
    st.integers(0, 2**40),
    st.randoms(use_true_random=False),
)
def test_messages_hold_each_event_once_in_order_within_bounds(payloads, max_events, max_bytes, first, random) -> None:
    numbers = sorted(random.sample(range(first, first + 2 * len(payloads)), len(payloads)))
    batch = batch_of([sized(payload) for payload in payloads], ranges_of(numbers))
    given_up: list[Refusal] = []
    messages = [*messages_of(batch, Framing(max_events, max_bytes), given_up)]

    travelling = [number for message in messages for _, number in message.events]
    assert sorted(travelling + [refusal.first for refusal in given_up]) == [*numbers_in(batch.ranges)]
    assert travelling == sorted(travelling)
    for message in messages:
        events = DeliverRequest.FromString(message.content).events
        assert [(event.uuid, event.sequence) for event in events] == message.events
        assert len(events) <= max_events
        assert len(message.content) <= max_bytes
    for refusal in given_up:
        payload = payloads[numbers.index(refusal.first)]
        ((alone),) = messages_of(batch_of([sized(payload)], ((refusal.first, refusal.end),)), Framing(1, 1 << 30), [])
        assert len(alone.content) > max_bytes
    assert messages == [*messages_of(batch, Framing(max_events, max_bytes), [])]
