"""Reading a batch of track calls as Segment does, and more strictly: Segment answers 200 also to what it then drops."""

import base64
import hashlib
import hmac
import re
from typing import Annotated, Any, Final, Literal

import msgspec

from pipeline.receiver.http_server import Request, response
from pipeline.receiver.read import UnacceptableError, read_place, unpacked
from pipeline.receiver.tally import Delivery

THANKS: Final = response(200, b'{"success": true}', content_type="application/json")
"""Segment's answer to a batch that it takes."""

MOST_EVENTS: Final = 2500
MOST_BYTES: Final = 500_000
MOST_BYTES_AN_EVENT: Final = 32 * 1024
_PATH: Final = "/v1/batch"
_ISO_8601: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_LANE_DIGITS: Final = 12

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Properties(msgspec.Struct):
    message_type: Literal["Push", "Email", "In-App", "SMS"]
    device_type: _Text | int
    campaign_code: _Text | None = None


class _Message(msgspec.Struct, rename="camel"):
    """A track call of the contract, with what must be in it."""

    type: Literal["track"]
    event: _Text
    properties: _Properties
    timestamp: str
    user_id: _Text | None = None
    anonymous_id: _Text | None = None
    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


class _Body(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: str
    write_key: str | None = None


_body_decoder: Final = msgspec.json.Decoder(_Body)
_message_decoder: Final = msgspec.json.Decoder(_Message)


def read_segment(request: Request, *, write_key: str | None = None, lane: str | None = None) -> Delivery:
    """What ``request`` tells Segment, every message checked; raises ``UnacceptableError``.

    ``write_key`` is the one that it must show, in its body or as the user of its ``Authorization``; where it is not given,
    any will do. Events are known by their ``messageId``. Where the request does not say which of a lane's sequence they
    are, they count under ``lane``, or a name made from the write key.
    """
    if not request.path.partition("?")[0].endswith(_PATH):
        raise UnacceptableError("path", f"expected a path that ends in {_PATH}")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnacceptableError("content-type", "expected content-type: application/json")
    body = unpacked(request)
    content: _Body = _decoded(_body_decoder, body)
    shown = _basic_user(request.headers.get("authorization", "")) or content.write_key or ""
    if write_key is not None and not hmac.compare_digest(shown.encode(), write_key.encode()):
        raise UnacceptableError("write-key", "the write key is not the one of this source")
    if len(body) > MOST_BYTES or len(content.batch) > MOST_EVENTS:
        raise UnacceptableError("size", f"{len(content.batch)} events in {len(body)} bytes; Segment takes less")
    _check_time(content.sent_at)
    uuids = [_message_id(raw) for raw in content.batch]
    if not uuids:
        raise UnacceptableError("count", "the batch is empty")
    if "distributary-sequence" in request.headers:
        place = read_place(request.headers)
        if place.event_count != len(uuids):
            raise UnacceptableError("count", f"{len(uuids)} events came, the sequence says {place.event_count}")
        return place.delivery(uuids, request.body_bytes)
    lane = lane or _lane_of(shown)
    digest = hashlib.sha256("\0".join(uuid or "" for uuid in uuids).encode()).hexdigest()
    return Delivery(f"{lane}:{digest}", lane, 0, 0, uuids, request.body_bytes)


def _message_id(raw: msgspec.Raw) -> str | None:
    size_bytes = len(bytes(raw))
    if size_bytes > MOST_BYTES_AN_EVENT:
        raise UnacceptableError(
            "size", f"a message has {size_bytes} bytes; Segment takes {MOST_BYTES_AN_EVENT} for one"
        )
    message: _Message = _decoded(_message_decoder, raw)
    if (message.user_id is None) == (message.anonymous_id is None):
        raise UnacceptableError("fields", "a message needs userId, or anonymousId where there is no user, and not both")
    _check_time(message.timestamp)
    return message.message_id


def _decoded(decoder: "msgspec.json.Decoder[Any]", content: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise UnacceptableError("fields", f"the body is not as the contract has it: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnacceptableError("json", f"the body cannot be read: {error}") from error


def _check_time(text: str) -> None:
    if not _ISO_8601.fullmatch(text):
        raise UnacceptableError("timestamp", "timestamp and sentAt must be ISO 8601 with a zone")


def _basic_user(authorization: str) -> str | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, _ = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise UnacceptableError("write-key", "the Authorization header is not Basic base64(KEY:)") from None
    if not colon:
        raise UnacceptableError("write-key", "the colon is missing behind the write key in the Authorization header")
    return user


def _lane_of(write_key: str) -> str:
    return f"segment-{hashlib.sha256(write_key.encode()).hexdigest()[:_LANE_DIGITS]}"
