"""One event of ``post-events``: what it must have, and what is wrong with one that has it not."""

from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.inbound.segment.profile_values import LONGEST_IDENTIFIER, identifier_of
from pipeline.inbound.segment.reading import UnreadableError, decode_fields, is_null, kind_of, read
from pipeline.inbound.segment.reasons import Reason
from pipeline.inbound.segment.rfc3339 import NOT_A_STRING, Moment, TimestampError, read_rfc3339
from pipeline.ingest.decode import DEFAULT_MAX_EVENT_BYTES
from pipeline.ingest.event import LATEST_TIMESTAMP_S
from pipeline.ingest.poison import is_nested_too_deep

PLATFORMS: Final = MappingProxyType({"ios": "iOS", "android": "Android", "web": "Web"})
"""The platforms that the call takes, in any case, and how events name them."""


class PostedEvent(NamedTuple):
    """An event that is taken.

    ``place`` is where it stands in the call, from 0. One of ``user_id`` and ``device_id`` is not empty. ``platform`` is a display
    name. ``moment`` is ``None`` where the event does not say when it happened.
    """

    place: int
    user_id: str
    device_id: str
    platform: str
    name: str
    moment: Moment | None
    attributes: dict[str, Any]


class DisregardedError(ValueError):
    """An event that is not taken, while others of its call are.

    ``is_undecodable`` tells those that the vendor's service cannot decode, and refuses the whole call for.
    """

    def __init__(self, reason: Reason, detail: str, *, is_undecodable: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.is_undecodable = is_undecodable


class _Event(msgspec.Struct, gc=False):
    user_id: str | None = None
    device_id: str | None = None
    device_platform: str | None = None
    name: str | None = None
    timestamp: str | None = None
    attributes: dict[str, Any] | None = None


_decoder: Final = msgspec.json.Decoder(_Event)
_TEXTS: Final = ("user_id", "device_id", "device_platform", "name")
_NOTHING: Final = _Event()


def read_posted_event(place: int, content: bytes, *, max_depth: int, is_strict: bool = False) -> PostedEvent:
    """Read the event at ``place`` of a call; raises ``DisregardedError``.

    Absent, null, empty and blank are the same, but for a timestamp that is empty: the vendor's service does not decode it,
    and with ``is_strict`` neither does this. ``app_code`` and ``app_id`` are not looked at: the call's header says which
    application it is for. What cannot be decoded comes first, and of that the timestamp, as with the vendor's service.
    """
    if len(content) > DEFAULT_MAX_EVENT_BYTES:
        raise DisregardedError(
            Reason.TOO_LARGE, f"has {len(content)} bytes; at most {DEFAULT_MAX_EVENT_BYTES} are taken"
        )
    event = _decoded(content)
    moment = _moment(event.timestamp, is_strict=is_strict)
    if is_nested_too_deep(content, max_depth):
        raise DisregardedError(Reason.TOO_DEEP, f"nests more than {max_depth} objects and lists in each other")
    user_id, device_id = _filled(event.user_id), _filled(event.device_id)
    if not user_id and not device_id:
        raise DisregardedError(Reason.IDENTITY_MISSING, "has neither user_id nor device_id")
    if identifier_of(user_id) is None or identifier_of(device_id) is None:
        detail = f"has a user_id or device_id with NUL or more than {LONGEST_IDENTIFIER} characters"
        raise DisregardedError(Reason.IDENTITY_WRONG, detail)
    platform = _platform(event.device_platform)
    name = _filled(event.name)
    if not name:
        raise DisregardedError(Reason.NAME_MISSING, "has no name")
    if moment is not None and not 0 <= moment.seconds <= LATEST_TIMESTAMP_S:
        raise DisregardedError(Reason.TIMESTAMP_OUT_OF_RANGE, "has a timestamp before 1970 or after 9999")
    return PostedEvent(place, user_id, device_id, platform, name, moment, event.attributes or {})


def _platform(value: str | None) -> str:
    spelled = _filled(value).strip()
    if not spelled:
        raise DisregardedError(Reason.PLATFORM_MISSING, "has no device_platform")
    platform = PLATFORMS.get(spelled.lower())
    if platform is None:
        raise DisregardedError(Reason.PLATFORM_WRONG, "has a device_platform that is none of ios, android and web")
    return platform


def _filled(value: str | None) -> str:
    return "" if value is None or not value.strip() else value


def _moment(timestamp: str | None, *, is_strict: bool) -> Moment | None:
    if timestamp is None or not (is_strict or timestamp.strip()):
        return None
    try:
        return read_rfc3339(timestamp)
    except TimestampError as error:
        raise DisregardedError(Reason.TIMESTAMP_WRONG, str(error), is_undecodable=True) from None


def _decoded(content: bytes) -> _Event:
    try:
        return read(_decoder, content)
    except UnreadableError as error:
        if is_null(content):
            return _NOTHING
        raise _diagnosis(content, error) from None


def _diagnosis(content: bytes, error: UnreadableError) -> DisregardedError:
    """Why ``content`` is none of the events that the call takes: of several reasons the one that the vendor's service names."""
    try:
        fields = read(decode_fields, content)
    except UnreadableError:
        if kind_of(content) != "an object":
            return DisregardedError(Reason.NOT_AN_OBJECT, f"is {kind_of(content)}, not an object", is_undecodable=True)
        return DisregardedError(Reason.UNREADABLE, f"cannot be read: {error}", is_undecodable=True)
    timestamp = fields.get("timestamp")
    if timestamp is not None and not is_null(timestamp) and kind_of(timestamp) != "a text":
        return DisregardedError(Reason.TIMESTAMP_WRONG, NOT_A_STRING, is_undecodable=True)
    for name, expected in (*((text, "a text") for text in _TEXTS), ("attributes", "an object")):
        value = fields.get(name)
        if value is not None and not is_null(value) and kind_of(value) != expected:
            detail = f"has {kind_of(value)} as {name}, not {expected}"
            return DisregardedError(Reason.TYPE_WRONG, detail, is_undecodable=True)
    return DisregardedError(Reason.UNREADABLE, f"cannot be read: {error}", is_undecodable=True)
