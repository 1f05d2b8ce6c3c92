"""Every kind of bad record, each with the reason that its dead letter names."""

import json
import re
from typing import Any

import pytest

from pipeline.errors import PoisonError
from pipeline.ingest import poison
from pipeline.ingest.decode import DEFAULT_MAX_EVENT_BYTES, EventDecoder
from pipeline.ingest.poison import DEEPEST_NESTING, PoisonReason
from pipeline.traffic import POISON
from pipeline.traffic import events as traffic

EVENT: dict[str, Any] = {
    "event_name": "Push Sent",
    "application_code": "32E5A-9B411",
    "platform": "iOS",
    "timestamp": 1723799271,
    "hwid": "device",
    "user_id": "1894410",
}


def changed(**fields: Any) -> bytes:
    return json.dumps(EVENT | fields).encode()


def without(*names: str) -> bytes:
    return json.dumps({name: value for name, value in EVENT.items() if name not in names}).encode()


def extended(text: str | bytes) -> bytes:
    return changed()[:-1] + b', "note": ' + (text.encode() if isinstance(text, str) else text) + b"}"


def nested(depth: int) -> bytes:
    """An event of this many levels, its own object counted."""
    return extended("[" * (depth - 1) + "]" * (depth - 1))


R = PoisonReason
CASES: dict[str, tuple[bytes | None, PoisonReason, str]] = {
    "tombstone": (None, R.TOMBSTONE, "no value"),
    "5 MB": (extended(f'"{"x" * 5_000_000}"'), R.TOO_LARGE, f"5000158 bytes, and at most {DEFAULT_MAX_EVENT_BYTES}"),
    "not UTF-8 in a known field": (changed(user_id="@").replace(b"@", b"\xff"), R.NOT_UTF8, "byte 0xff at 137"),
    "not UTF-8 in an unknown field": (extended(b'"\xe9"'), R.NOT_UTF8, "byte 0xe9 at"),
    "not UTF-8 in an unknown key": (changed()[:-1] + b',"\xe9":1}', R.NOT_UTF8, "byte 0xe9 at"),
    "a surrogate as UTF-8": (extended(b'"\xed\xa0\x80"'), R.NOT_UTF8, "byte 0xed at"),
    "UTF-16": ("{}".encode("utf-16"), R.NOT_UTF8, "byte 0xff at 0"),
    "empty": (b"", R.NOT_JSON, "the record is empty"),
    "white space": (b" \n", R.NOT_JSON, "the record is empty"),
    "cut off": (changed()[:50], R.NOT_JSON, "line 1 column"),
    "plain text": (b"hello", R.NOT_JSON, "line 1 column 1"),
    "protobuf": (b"\x08\x96\x01", R.NOT_UTF8, "byte 0x96 at 1"),
    "two objects": (changed() + changed(), R.NOT_JSON, "Extra data"),
    "a byte order mark": (b"\xef\xbb\xbf" + changed(), R.NOT_JSON, "byte order mark"),
    "single quotes": (b"{'a': 1}", R.NOT_JSON, "line 1 column 2"),
    "a trailing comma": (changed()[:-1] + b",}", R.NOT_JSON, "line 1 column"),
    "NaN": (changed().replace(b"1723799271", b"NaN"), R.NOT_JSON, "NaN is not JSON"),
    "NaN in an unknown field": (extended("NaN"), R.NOT_JSON, "NaN is not JSON"),
    "Infinity": (extended("-Infinity"), R.NOT_JSON, "-Infinity is not JSON"),
    "a NUL byte in a text": (changed(user_id="@").replace(b"@", b"\0"), R.NOT_JSON, "Invalid control character"),
    "a NUL byte in an unknown text": (extended(b'"a\0b"'), R.NOT_JSON, "Invalid control character"),
    "a NUL byte behind the object": (changed() + b"\0", R.NOT_JSON, "Extra data"),
    "a line break in a text": (extended(b'"a\nb"'), R.NOT_JSON, "Invalid control character"),
    "half of a surrogate pair": (extended(r'"\ud83d"'), R.NOT_JSON, "half of a surrogate pair"),
    "half a pair, deep inside": (extended(r'[{"a": "\udc00"}]'), R.NOT_JSON, "half of a surrogate pair"),
    "an array": (b"[" + changed() + b"]", R.NOT_AN_OBJECT, "expected an object, found an array"),
    "a text": (json.dumps(changed().decode()).encode(), R.NOT_AN_OBJECT, "found text"),
    "a number": (b"17", R.NOT_AN_OBJECT, "found number 17"),
    "null": (b"null", R.NOT_AN_OBJECT, "found null"),
    "a level too deep": (nested(DEEPEST_NESTING + 1), R.NESTED_TOO_DEEP, f"more than {DEEPEST_NESTING}"),
    "100,000 arrays": (nested(100_000), R.NESTED_TOO_DEEP, f"more than {DEEPEST_NESTING}"),
    "100,000 objects": (extended('{"a":' * 100_000 + "1" + "}" * 100_000), R.NESTED_TOO_DEEP, "more than"),
    "100,000 arrays, never closed": (b"[" * 100_000, R.NESTED_TOO_DEEP, "more than"),
    "a field twice": (changed()[:-1] + b', "hwid": "other"}', R.DUPLICATE_KEY, "'hwid' comes more than once"),
    "an unknown field twice": (extended('1, "note": 1'), R.DUPLICATE_KEY, "'note' comes more than once"),
    "no event name": (without("event_name"), R.MISSING_FIELD, "event_name: required"),
    "no application": (without("application_code"), R.MISSING_FIELD, "application_code: required"),
    "no platform": (without("platform"), R.MISSING_FIELD, "platform: required"),
    "no timestamp": (without("timestamp"), R.MISSING_FIELD, "timestamp: required"),
    "nothing": (b"{}", R.MISSING_FIELD, "event_name: required"),
    "a number as a text": (changed(user_id=5), R.WRONG_TYPE, "user_id: expected text, found number 5"),
    "a text as a number": (changed(timestamp="now"), R.WRONG_TYPE, "timestamp: expected a whole number, found text 'now'"),
    "a fraction": (changed(timestamp=1.5), R.WRONG_TYPE, "timestamp: expected a whole number, found number 1.5"),
    "a whole number as a fraction": (changed(timestamp=5.0), R.WRONG_TYPE, "found number 5.0"),
    "true as a number": (changed(timestamp=True), R.WRONG_TYPE, "timestamp: expected a whole number, found true"),
    "true as a platform": (changed(platform=True), R.WRONG_TYPE, "platform: expected text or a whole number, found true"),
    "an object as a text": (changed(payload={"a": 1}), R.WRONG_TYPE, "payload: expected text, found an object"),
    "null where required": (changed(event_name=None), R.WRONG_TYPE, "event_name: expected text, found null"),
    "a text as an id": (changed(campaign_id="7"), R.WRONG_TYPE, "campaign_id: expected a whole number, found text '7'"),
    "a long wrong text": (changed(timestamp="x" * 99), R.WRONG_TYPE, f"found text '{'x' * 39}…'"),
    "an empty name": (changed(event_name=""), R.EMPTY_FIELD, "event_name: required, but empty"),
    "a negative time": (changed(timestamp=-1), R.OUT_OF_RANGE, "timestamp: number -1 is not between 0 and"),
    "milliseconds": (changed(timestamp=1723799271000), R.OUT_OF_RANGE, "is it in milliseconds?"),
    "a huge time": (changed(timestamp=10**30), R.OUT_OF_RANGE, "timestamp: a number of more than 20 digits"),
    "a time of 100,000 digits": (
        changed(timestamp=0).replace(b'"timestamp": 0', b'"timestamp": ' + b"9" * 100_000),
        R.OUT_OF_RANGE,
        "timestamp: a number of more than 20 digits",
    ),
    "an id beyond 64 bits": (changed(campaign_id=2**64), R.OUT_OF_RANGE, "campaign_id: number 18446744073709551616"),
    "a message id beyond 64 bits": (changed(message_id=2**64), R.OUT_OF_RANGE, "message_id: number 18446744073709551616"),
    "a negative id": (changed(message_id=-5), R.OUT_OF_RANGE, "message_id: number -5 is not between 0"),
    "a huge code": (changed(device_id=2**63), R.OUT_OF_RANGE, "device_id: number 9223372036854775808"),
    "a platform in lower case": (changed(platform="ios"), R.UNKNOWN_PLATFORM, "did you mean iOS?"),
    "a platform nobody knows": (changed(platform="Pager"), R.UNKNOWN_PLATFORM, "'Pager' is not a platform"),
    "a retired platform": (changed(platform=2), R.UNKNOWN_PLATFORM, "2 is not a platform"),
    "neither hwid nor user id": (without("hwid", "user_id"), R.MISSING_IDENTITY, "neither hwid nor user_id"),
    "both empty": (changed(hwid="", user_id=None), R.MISSING_IDENTITY, "neither hwid nor user_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_bad_record_is_refused_with_its_reason(name: str) -> None:
    value, reason, detail = CASES[name]
    with pytest.raises(PoisonError) as caught:
        EventDecoder("events", 0).decode(value, 1)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize(
    "value",
    [
        changed(payload="a\0b"),  # an escaped NUL is a character like any other
        changed(message_id=2**64 - 1, campaign_id=0),
        changed(device_id=-1, device_type="3"),
        nested(DEEPEST_NESTING),
        extended("[" + "[]," * 1000 + "[]]"),
        extended("9" * 6000),
        extended("1e999"),
        extended(r'"\ud83d\udc4b"'),
        b"\r\n\t " + changed() + b" \n",
    ],
    ids=str,
)
def test_what_is_unusual_but_right_is_taken(value: bytes) -> None:
    EventDecoder("events", 0).decode(value, 1)


def test_the_size_limit_is_the_last_size_that_is_taken() -> None:
    value = changed()
    EventDecoder("events", 0, max_event_bytes=len(value)).decode(value, 1)
    with pytest.raises(PoisonError, match="too_large"):
        EventDecoder("events", 0, max_event_bytes=len(value) - 1).decode(value, 1)


def test_every_reason_is_documented_and_tried() -> None:
    assert poison.__doc__ is not None
    assert re.findall(r"^``(\w+)``", poison.__doc__, re.MULTILINE) == list(PoisonReason)
    tried = {reason for _, reason, _ in CASES.values()} | {PoisonReason.TOO_MANY_COPIES}  # tried with the router
    assert tried == set(PoisonReason)


@pytest.mark.parametrize("reason", POISON)
def test_the_traffics_poison_is_refused_for_the_reason_that_it_names(reason: PoisonReason) -> None:
    for event in traffic(1, 50):
        with pytest.raises(PoisonError) as caught:
            EventDecoder("events", 0).decode(POISON[reason](event), 1)
        assert caught.value.reason == reason
