"""Why a source record cannot be used: the reasons, and how to find the one that fits.

====================  ====================================================================================
reason                the record
====================  ====================================================================================
``tombstone``         has no value (null)
``too_large``         is larger than the limit (1 MiB unless set otherwise)
``not_utf8``          holds bytes that are not UTF-8
``not_json``          is not JSON: empty, cut off, NaN, raw control characters, a byte order mark, half of a
                      surrogate pair, something behind the object
``nested_too_deep``   nests more than 64 arrays and objects in each other
``not_an_object``     is JSON, but not an object
``duplicate_key``     names one of its fields twice
``missing_field``     lacks a required field
``wrong_type``        has a field of another type; for ``null`` this counts in required fields only
``empty_field``       has an empty text where one is required
``out_of_range``      has a number that is negative, or too large for its field
``unknown_platform``  comes from a platform that is neither one of the names that there are nor one of their numbers
``missing_identity``  has neither a ``hwid`` nor a ``user_id`` that is not empty
``too_many_copies``   matches so many integrations that its copies do not fit in one record of the routed topic
====================  ====================================================================================

Where several hold, the first of them in this order is named (fields: the first field of ``Event``).
"""

import enum
import json
import re
from itertools import accumulate
from typing import Final, NoReturn

import msgspec

from pipeline.errors import PoisonError
from pipeline.ingest.event import LARGEST_UINT64, Event
from pipeline.model.platforms import platform_name

DEEPEST_NESTING: Final = 64
"""How many arrays and objects may be nested in each other, the event's own object counted."""

_SHOWN_CHARACTERS: Final = 40
# An unclosed string runs to the end, as it does for a parser.
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ALL_BUT_BRACKETS: Final = bytes(sorted({*range(256)} - _STEPS.keys()))
_HALF_SURROGATE_PAIR = re.compile(r"[\ud800-\udfff]")
_LONGEST_INTEGER: Final = 20


class PoisonReason(enum.StrEnum):
    """Why a source record cannot be used, as counted and as written into its dead letter."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NESTED_TOO_DEEP = "nested_too_deep"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_FIELD = "empty_field"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_PLATFORM = "unknown_platform"
    MISSING_IDENTITY = "missing_identity"
    TOO_MANY_COPIES = "too_many_copies"


class _Object(list[tuple[str, object]]):
    """A JSON object as its pairs, so that a key that comes twice is seen."""


class _Huge:
    """An integer with more digits than any field takes."""


_Check = tuple[str, bool, msgspec.inspect.Type]


def _checks() -> tuple[_Check, ...]:
    described = msgspec.inspect.type_info(Event)
    assert isinstance(described, msgspec.inspect.StructType)
    return tuple((field.name, field.required, field.type) for field in described.fields)


_CHECKS: Final = _checks()


def is_nested_too_deep(value: bytes, most: int = DEEPEST_NESTING) -> bool:
    """Whether ``value``, JSON or not, nests more than ``most`` (at least 1) arrays and objects."""
    if b"[" not in value and value.find(b"{") == value.rfind(b"{"):
        return False
    if value.count(b"[") + value.count(b"{") <= most:
        return False
    brackets = _STRINGS.sub(b"", value).translate(None, _ALL_BUT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > most


def refuse_encoding(value: bytes) -> None:
    """Raise ``PoisonError`` where ``value`` is not UTF-8, which a decoder does not see in fields that it skips."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        found = f"byte 0x{value[error.start]:02x} at {error.start}"
        raise PoisonError(PoisonReason.NOT_UTF8, f"{found} is not UTF-8 ({error.reason})") from None


def refuse_nesting(value: bytes) -> None:
    """Raise ``PoisonError`` where ``value`` is nested too deep."""
    if is_nested_too_deep(value):
        limit = f"more than {DEEPEST_NESTING} arrays and objects in each other"
        raise PoisonError(PoisonReason.NESTED_TOO_DEEP, limit)


def refuse_duplicates(value: bytes) -> None:
    """Raise ``PoisonError`` where a key of the object ``value`` comes twice. ``value`` must be JSON."""
    _refuse_duplicates(_parse(value.decode()))


def diagnose(value: bytes, error: Exception) -> NoReturn:
    """Raise ``PoisonError`` with the reason why ``value`` could not be decoded.

    This is the slow path, for records that are refused already; ``error`` is what the decoder said.
    """
    refuse_encoding(value)
    refuse_nesting(value)
    try:
        parsed = _parse(value.decode())
    except ValueError as found:
        raise PoisonError(PoisonReason.NOT_JSON, _not_json(value, found)) from None
    if not isinstance(parsed, _Object):
        raise PoisonError(PoisonReason.NOT_AN_OBJECT, f"expected an object, found {_described(parsed)}")
    _refuse_half_characters(parsed)
    _refuse_duplicates(parsed)
    fields = dict(parsed)
    for name, required, expected in _CHECKS:
        if name in fields:
            _refuse_value(name, fields[name], expected)
        elif required:
            raise PoisonError(PoisonReason.MISSING_FIELD, f"{name}: required, but absent")
    # Both read the same description of the fields; should they ever disagree, the decoder's word stands.
    reason = PoisonReason.WRONG_TYPE if isinstance(error, msgspec.ValidationError) else PoisonReason.NOT_JSON
    raise PoisonError(reason, str(error)) from None


def refuse_platform(platform: str | int) -> NoReturn:
    """Raise ``PoisonError`` for ``platform``, which is not a known one."""
    try:
        platform_name(platform if isinstance(platform, int) else _cut(platform))
    except ValueError as error:
        raise PoisonError(PoisonReason.UNKNOWN_PLATFORM, f"platform: {error}") from None
    raise AssertionError(f"{platform!r} is a known platform")


def refuse_range(name: str, number: int) -> NoReturn:
    """Raise ``PoisonError`` for ``number``, which does not fit in the field ``name``."""
    raise PoisonError(PoisonReason.OUT_OF_RANGE, f"{name}: {_described(number)} is more than {LARGEST_UINT64}")


def _parse(text: str) -> object:
    return json.loads(text, object_pairs_hook=_Object, parse_int=_integer, parse_constant=_refuse_constant)


def _integer(digits: str) -> object:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _Huge()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _not_json(value: bytes, error: ValueError) -> str:
    if not value.strip():
        return "the record is empty"
    if value.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark; UTF-8 JSON needs none"
    return str(error)


def _refuse_half_characters(found: object) -> None:
    if isinstance(found, str):
        if _HALF_SURROGATE_PAIR.search(found):
            raise PoisonError(PoisonReason.NOT_JSON, f"half of a surrogate pair is not a character: {_cut(found)!a}")
    elif isinstance(found, list | tuple):
        for part in found:
            _refuse_half_characters(part)


def _refuse_duplicates(parsed: object) -> None:
    assert isinstance(parsed, _Object)
    seen: set[str] = set()
    for name, _ in parsed:
        if name in seen:
            raise PoisonError(PoisonReason.DUPLICATE_KEY, f"{_cut(name)!r} comes more than once")
        seen.add(name)


def _refuse_value(name: str, found: object, expected: msgspec.inspect.Type) -> None:
    kinds = expected.types if isinstance(expected, msgspec.inspect.UnionType) else (expected,)
    for kind in kinds:
        match kind:
            case msgspec.inspect.NoneType() if found is None:
                return
            case msgspec.inspect.StrType(min_length=shortest) if isinstance(found, str):
                if shortest and not found:
                    raise PoisonError(PoisonReason.EMPTY_FIELD, f"{name}: required, but empty")
                return
            case msgspec.inspect.IntType(ge=least, le=most) if type(found) in (int, _Huge):
                assert isinstance(found, int | _Huge)
                _refuse_number(name, found, least, LARGEST_UINT64 if most is None else most)
                return
            case _:
                pass
    wanted = " or ".join(_KIND_NAMES[type(kind)] for kind in kinds if not isinstance(kind, msgspec.inspect.NoneType))
    raise PoisonError(PoisonReason.WRONG_TYPE, f"{name}: expected {wanted}, found {_described(found)}")


def _refuse_number(name: str, found: "int | _Huge", least: int | None, most: int) -> None:
    smallest = 0 if least is None else least
    if isinstance(found, _Huge) or not smallest <= found <= most:
        hint = "; is it in milliseconds?" if name == "timestamp" and isinstance(found, int) and found > most else ""
        detail = f"{name}: {_described(found)} is not between {smallest} and {most}{hint}"
        raise PoisonError(PoisonReason.OUT_OF_RANGE, detail)


_KIND_NAMES: Final[dict[type, str]] = {msgspec.inspect.StrType: "text", msgspec.inspect.IntType: "a whole number"}


def _described(found: object) -> str:
    if isinstance(found, str):
        return f"text {_cut(found)!r}"
    if isinstance(found, int | float) and not isinstance(found, bool):
        return f"number {found}"
    return _DESCRIPTIONS[type(found)] if not isinstance(found, bool) else str(found).lower()


_DESCRIPTIONS: Final[dict[type, str]] = {
    type(None): "null",
    _Object: "an object",
    list: "an array",
    _Huge: f"a number of more than {_LONGEST_INTEGER} digits",
}


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
