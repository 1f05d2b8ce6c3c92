"""Events to try a receiver with. Each looks like a published one, and no customer's data is in it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pipeline.model.units import KIB

Sample = Callable[[int, str, int], bytes]
"""Makes the encoded event of a sequence number, a uuid, and a time in UNIX seconds."""

_LARGE_PAYLOAD_BYTES: Final = 10 * KIB
_NAMES: Final = ("Email Sent", "Email Delivered", "Email Opened", "Email Bounced")
_ODD_TEXTS: Final = (
    "\U0001f389 50 % off, \u201ctoday\u201d \u2014 only",
    "\u05e9\u05dc\u05d5\u05dd, \u0645\u0631\u062d\u0628\u0627, \u4f60\u597d, \u041f\u0440\u0438\u0432\u0435\u0442",
    "a \" quotation mark, a \\ backslash, a / slash, a\ttab and\na line's end",
    "\u2028 \u2029 \ufeff \u0000 \U0010ffff e\u0301 \U0001f469\u200d\U0001f467",
)
_encode: Final = msgspec.json.Encoder().encode


def plain(number: int, uuid: str, now_s: int) -> bytes:
    """An event with all fields that are usual."""
    return _encode(_fields(number, uuid, now_s))


def sparse(number: int, uuid: str, now_s: int) -> bytes:
    """Nothing but the fields that every event has."""
    kept = {"event_name", "platform", "application_code", "hwid", "timestamp", "uuid"}
    return _encode({key: value for key, value in _fields(number, uuid, now_s).items() if key in kept})


def empty(number: int, uuid: str, now_s: int) -> bytes:
    """Texts that are there, and empty: no journey, no subject, no user id."""
    nothing = {"payload": "", "user_id": "", "journey_title": "", "journey_point_title": ""}
    return _encode({**_fields(number, uuid, now_s), **nothing})


def unicode(number: int, uuid: str, now_s: int) -> bytes:
    """Texts beyond ASCII, and characters that JSON escapes."""
    text = _ODD_TEXTS[number % len(_ODD_TEXTS)]
    return _encode(
        {**_fields(number, uuid, now_s), "payload": text, "journey_title": text, "user_id": f"\u00fc-{number}"}
    )


def large_numbers(number: int, uuid: str, now_s: int) -> bytes:
    """Numbers that only 64 bits hold, as ``message_id`` and ``campaign_id`` may be."""
    return _encode({**_fields(number, uuid, now_s), "message_id": 2**64 - 1 - number, "campaign_id": 2**53 + 1})


def unknown(number: int, uuid: str, now_s: int) -> bytes:
    """Fields that no contract names, as a later version may add them."""
    added = {"added_later": "text", "added_object": {"a": [1, 2.5, None, True]}}
    return _encode({**_fields(number, uuid, now_s), **added})


def large(number: int, uuid: str, now_s: int) -> bytes:
    """A payload of 10 KiB."""
    return _encode({**_fields(number, uuid, now_s), "payload": "x" * _LARGE_PAYLOAD_BYTES})


def _fields(number: int, uuid: str, now_s: int) -> Mapping[str, Any]:
    return {
        "event_name": _NAMES[number % len(_NAMES)],
        "message_id": 7_000_000_000 + number,
        "message_code": "E682-E6D92B9A-53E24868",
        "campaign_id": 961_048,
        "platform": "Email",
        "payload": f"Conformance test {number}",
        "application_code": "00000-00000",
        "hwid": f"conformance-{number}@example.invalid",
        "user_id": f"conformance-{number}",
        "timestamp": now_s,
        "journey_title": "Conformance",
        "journey_point_title": "1_conformance",
        "uuid": uuid,
    }
