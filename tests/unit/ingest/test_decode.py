import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import PoisonError
from pipeline.ingest.decode import EventDecoder, published
from pipeline.ingest.event import LATEST_TIMESTAMP_S, PUBLISHED_FIELDS
from pipeline.ingest.poison import PoisonReason
from pipeline.model.platforms import PLATFORMS

EVENT: dict[str, Any] = {
    "uuid": "0b7c5c3e-7f0a-5e3b-9b43-3a7b6a0c1d2e",
    "event_name": "Email Opened",
    "message_code": "E682-E6D92B9A-53E24868",
    "campaign_id": 961048,
    "campaign_code": "A1B2C-D3E4F",
    "platform": "Email",
    "payload": "Welcome to Headway! 👋",
    "application_code": "32E5A-9B411",
    "hwid": "reader@mail.example",
    "user_id": "1894410",
    "timestamp": 1723799271,
    "journey_title": "",
}
DECODER = EventDecoder("events", 3)

texts = st.text(max_size=12) | st.sampled_from(
    ['"', '":', ',"event_name":', "\\", "\0", ": ", '{"a":1}', "\u2028", "👋"]
)
filled = st.text(min_size=1, max_size=12)
uint64s = st.integers(0, 2**64 - 1)
codes = texts | st.integers(-(2**63), 2**63 - 1)
numbered = {name: code for name, code in PLATFORMS.items() if code is not None}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
optional = {
    "message_id": uint64s,
    "campaign_id": uint64s,
    "device_type": codes,
    "trigger_id": codes,
    "profile_id": codes,
    "device_id": codes,
    "user_id": texts,
} | dict.fromkeys(
    (
        "uuid", "message_code", "campaign_code", "payload", "journey_title", "journey_point_title", "live_activity_id",
        "error_message", "email",
    ),
    texts,
)  # fmt: skip
events = st.fixed_dictionaries(
    {
        "event_name": filled,
        "application_code": filled,
        "platform": st.sampled_from([*PLATFORMS, *numbered.values(), *map(str, numbered.values())]),
        "timestamp": st.integers(0, LATEST_TIMESTAMP_S),
        "hwid": filled,
    },
    optional={name: values | st.none() for name, values in optional.items()},
)
known = {"event_name", "application_code", "platform", "timestamp", "hwid", *optional}
unknown_fields = st.dictionaries(texts.filter(lambda name: name not in known), json_values, max_size=3)


def compact(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def plain_projection(fields: dict[str, Any]) -> dict[str, Any]:
    """What is published, by a reading of the contract that shares nothing with the code."""
    wanted = (
        "event_name", "message_id", "message_code", "campaign_id", "platform", "payload", "application_code", "hwid",
        "user_id", "timestamp", "journey_title", "journey_point_title", "uuid", "live_activity_id",
    )  # fmt: skip
    projected = {name: fields[name] for name in wanted if fields.get(name) is not None}
    by_number = {str(code): name for name, code in numbered.items()}
    projected["platform"] = by_number.get(str(fields["platform"]), fields["platform"])
    return projected


def poison_of(value: bytes) -> PoisonError | None:
    try:
        DECODER.decode(value, 1)
    except PoisonError as poison:
        return poison
    return None


def reason_of(value: bytes | None) -> str:
    with pytest.raises(PoisonError) as caught:
        DECODER.decode(value, 1)
    return caught.value.reason


@st.composite
def renderings(draw: st.DrawFn, pairs: list[tuple[str, Any]]) -> bytes:
    """The pairs as JSON, with white space and escapes as a producer may choose them."""
    space = st.sampled_from(["", "", " ", "\n\t"])
    ascii_only = draw(st.booleans())
    hides_quotes = draw(st.booleans())

    def scalar(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=ascii_only)
        return (
            re.sub(r"\\(.)", lambda escape: r"\u0022" if escape[1] == '"' else escape[0], text)
            if hides_quotes
            else text
        )

    parts = [
        f"{draw(space)}{scalar(name)}{draw(space)}:{draw(space)}{scalar(value)}{draw(space)}" for name, value in pairs
    ]
    return f"{draw(space)}{{{','.join(parts)}}}{draw(space)}".encode()


@given(fields=events)
def test_the_published_form_is_the_projection_of_the_contract(fields: dict[str, Any]) -> None:
    event, encoded = DECODER.decode(compact(fields), 42)
    assert json.loads(published(encoded)) == plain_projection(fields | {"uuid": fields.get("uuid") or event.uuid})


def test_the_published_fields_are_those_of_the_contract() -> None:
    everything = dict.fromkeys((*known, "campaign_code"), "x") | {"platform": "SMS"}
    assert set(PUBLISHED_FIELDS) == set(plain_projection(everything))


@given(data=st.data(), fields=events, unknown=unknown_fields)
def test_unknown_fields_white_space_and_escapes_change_nothing(
    data: st.DataObject, fields: dict[str, Any], unknown: dict[str, Any]
) -> None:
    pairs = data.draw(st.permutations([*fields.items(), *unknown.items()]))
    assert DECODER.decode(data.draw(renderings(pairs)), 1) == DECODER.decode(compact(fields), 1)


@given(data=st.data(), fields=events, unknown=unknown_fields)
def test_a_key_that_comes_twice_is_found_however_it_is_written(
    data: st.DataObject, fields: dict[str, Any], unknown: dict[str, Any]
) -> None:
    pairs = [*fields.items(), *unknown.items()]
    twice = data.draw(st.permutations([*pairs, data.draw(st.sampled_from(pairs))]))
    assert reason_of(data.draw(renderings(twice))) == PoisonReason.DUPLICATE_KEY


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None
    timestamp: int = 0
    key: bytes | None = None


@given(data=st.data(), drawn=st.lists(events, max_size=8), unknown=unknown_fields)
def test_a_run_of_records_gives_what_its_records_give_one_by_one(
    data: st.DataObject, drawn: list[dict[str, Any]], unknown: dict[str, Any]
) -> None:
    ways = st.sampled_from(["compact", "rendered", "with unknown fields", "twice", "damaged", "absent"])
    values: list[bytes | None] = []
    for fields in drawn:
        match data.draw(ways):
            case "compact":
                values.append(compact(fields))
            case "rendered":
                values.append(data.draw(renderings([*fields.items()])))
            case "with unknown fields":
                values.append(compact(fields | unknown))
            case "twice":
                values.append(data.draw(renderings([*fields.items(), data.draw(st.sampled_from([*fields.items()]))])))
            case "damaged":
                values.append(compact(fields)[1:])
            case _:
                values.append(None)
    run = DECODER.decode_run([Record(offset, value) for offset, value in enumerate(values, 7)])
    starts = [1, *(end + 1 for end in run.ends)]
    found = {
        record.offset: (event, run.encoded[start:end])
        for record, event, start, end in zip(run.records, run.events, starts, run.ends, strict=False)
    }
    assert [record.value for record in run.records] == run.values
    refused = {record.offset: poison.reason for record, poison in run.dead}
    expected, poisons = {}, {}
    for offset, value in enumerate(values, 7):
        try:
            expected[offset] = DECODER.decode(value, offset)
        except PoisonError as poison:
            poisons[offset] = poison.reason
    assert found == expected
    assert refused == poisons


@given(data=st.data(), fields=events)
def test_an_event_is_encoded_in_no_more_bytes_than_its_record_says(data: st.DataObject, fields: dict[str, Any]) -> None:
    value = data.draw(renderings([*fields.items()]))
    _, added_bytes, _ = DECODER._read(value, 1)
    assert len(DECODER.decode(value, 1)[1]) <= len(value) + added_bytes


def test_what_one_record_of_a_run_has_too_much_no_other_makes_up_for() -> None:
    twice = compact(EVENT)[:-1] + b',"hwid":"reader@mail.example"}'
    values = [compact(EVENT), twice, compact({**EVENT, "uuid": None}), compact(EVENT | {"platform": 1})]
    run = DECODER.decode_run([Record(offset, value) for offset, value in enumerate(values)])
    assert [(record.offset, poison.reason) for record, poison in run.dead] == [(1, PoisonReason.DUPLICATE_KEY)]
    assert [record.offset for record in run.records] == [0, 2, 3]


@pytest.mark.parametrize(
    "value",
    [
        # Each hides the second key from one of the cheap comparisons.
        compact(EVENT)[:-1].replace(b"Welcome", rb"\u0022:\u0022:") + b',"hwid":1}',
        compact(EVENT).replace(b'"hwid":', b'"hwid" :"first","hwid":'),
        compact(EVENT)[:-1] + rb',"\u0068wid":"x"}',
        compact(EVENT)[:-1] + b',"new":{"a":1},"new":{"a":1}}',
        compact(EVENT)[:-1] + rb',"new":1,"n\u0065w":2}',
    ],
)
def test_a_key_that_comes_twice_cannot_hide(value: bytes) -> None:
    assert reason_of(value) in (PoisonReason.DUPLICATE_KEY, PoisonReason.WRONG_TYPE)


def test_a_made_uuid_hides_no_second_key() -> None:
    fields = {name: value for name, value in EVENT.items() if name != "uuid"}
    # As long as the uuid that is made, and then as many quotation marks.
    assert reason_of(compact(fields)[:-1] + b',"hwid":"%b"}' % (b"x" * 36)) == PoisonReason.DUPLICATE_KEY
    assert reason_of(compact(fields)[:-1] + b', "hwid":"x"}') == PoisonReason.DUPLICATE_KEY
    assert reason_of(compact(fields | {"platform": 1})[:-1] + b',"timestamp":1723799271}') == PoisonReason.DUPLICATE_KEY


def test_an_object_in_an_unknown_field_may_repeat_the_names_of_known_ones() -> None:
    DECODER.decode(compact(EVENT | {"original": {"hwid": "x", "uuid": "y"}}), 1)


@given(value=st.binary(max_size=60))
@example(b"")
@example(b'{"a":')
def test_any_bytes_are_an_event_or_poison(value: bytes) -> None:
    assert reason_of(value) in set(PoisonReason)


@given(value=json_values)
def test_any_json_is_an_event_or_poison(value: Any) -> None:
    expected = set(PoisonReason) - {PoisonReason.NOT_JSON, PoisonReason.NOT_UTF8}
    assert reason_of(compact(value)) in expected


@given(fields=events, spoilt=st.sampled_from(sorted(known)), value=json_values)
def test_any_value_in_a_known_field_is_taken_or_poison(fields: dict[str, Any], spoilt: str, value: Any) -> None:
    poison = poison_of(compact(fields | {spoilt: value}))
    assert poison is None or poison.detail.startswith((f"{spoilt}: ", "neither hwid"))


@given(fields=events, data=st.data())
def test_a_damaged_event_is_an_event_or_poison(fields: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(compact(fields))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    poison = poison_of(bytes(value))
    assert poison is None or poison.reason in set(PoisonReason)
    if poison is None:
        json.loads(bytes(value).decode())
        json.loads(published(DECODER.decode(bytes(value), 1)[1]).decode())


def test_a_missing_uuid_is_made_of_topic_partition_and_offset() -> None:
    value = compact({name: value for name, value in EVENT.items() if name != "uuid"})

    def made(topic: str, partition: int, offset: int, epoch: int = 1) -> str:
        event, encoded = EventDecoder(topic, partition, epoch).decode(value, offset)
        assert json.loads(published(encoded))["uuid"] == event.uuid
        assert event.uuid is not None
        return event.uuid

    first = made("events", 0, 7)
    assert made("events", 0, 7) == first == "9df2cd4c-e584-89e6-b58d-000000000007"
    others = [made("events", 0, 8), made("events", 1, 7), made("other", 0, 7), made("events", 0, 7, 2)]
    assert len({first, *others}) == 5
    parsed = uuid.UUID(made("events", 0, 2**48 - 1))
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)


@pytest.mark.parametrize("absent", [None, ""])
def test_an_empty_uuid_counts_as_missing(absent: str | None) -> None:
    event, _ = DECODER.decode(compact(EVENT | {"uuid": absent}), 7)
    assert event.uuid is not None
    assert event.uuid.endswith("-000000000007")


@pytest.mark.parametrize("spelled", [1, "1", "iOS"])
def test_a_platform_is_known_by_name_and_by_number(spelled: str | int) -> None:
    assert DECODER.decode(compact(EVENT | {"platform": spelled}), 1)[0].platform == "iOS"


def test_null_in_an_optional_field_counts_as_absent() -> None:
    _, encoded = DECODER.decode(compact(EVENT | {"campaign_id": None, "email": None, "user_id": None}), 1)
    assert not {"campaign_id", "email", "user_id"} & set(json.loads(encoded))


def test_either_of_hwid_and_user_id_is_enough() -> None:
    for absent in ("hwid", "user_id"):
        DECODER.decode(compact(EVENT | {absent: ""}), 1)
        DECODER.decode(compact({name: value for name, value in EVENT.items() if name != absent}), 1)
