"""Reading a delivery request as a careful receiver does."""

import re
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from pipeline.model.batch import batch_id, purpose_of
from pipeline.model.ranges import Ranges, count_of
from pipeline.receiver.http_server import Request
from pipeline.receiver.tally import Delivery

_RANGE: Final = r"(\d{1,19})-(\d{1,19})"
_SEQUENCE: Final = re.compile(rf"(\S{{1,80}}) {_RANGE}(?:~(\d{{1,6}})|((?:,\d{{1,19}}-\d{{1,19}})*))")
_MOST_UNPACKED_BYTES: Final = 64 * 1024 * 1024
_GZIP_WINDOW_BITS: Final = 31


class UnacceptableError(ValueError):
    """A request that a careful receiver would not take. ``reason`` is a short word for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Place(NamedTuple):
    """Which events a request says it carries: the name they go by, their lane, and their numbers in its sequence.

    Where ``scattered_count`` is given, ``ranges`` is one range, and so many of its numbers are meant, not told which.
    """

    webhook_id: str
    lane: str
    ranges: Ranges
    scattered_count: int | None = None

    @property
    def event_count(self) -> int:
        """How many events there are to be."""
        return count_of(self.ranges) if self.scattered_count is None else self.scattered_count

    def delivery(self, uuids: list[str | None] | None, body_bytes: int) -> Delivery:
        """A delivery of these events."""
        purpose = purpose_of(self.lane)
        word = purpose and purpose.value
        if self.scattered_count is not None:
            count = self.scattered_count
            return Delivery(self.webhook_id, self.lane, 0, 0, uuids, body_bytes, purpose=word, announced_count=count)
        first, end = self.ranges[0][0], self.ranges[-1][1]
        parts = self.ranges if len(self.ranges) > 1 else ()
        return Delivery(self.webhook_id, self.lane, first, end, uuids, body_bytes, parts, word)


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Event(msgspec.Struct):
    uuid: str | int | None = None


class _WholeEvent(msgspec.Struct):
    """An event as the contract has it: what must be there, and the types of what may be."""

    event_name: _Text
    application_code: _Text
    platform: _Text | int
    timestamp: Annotated[int, msgspec.Meta(ge=0)]
    hwid: str | None = None
    user_id: str | None = None
    message_id: int | None = None
    message_code: str | None = None
    campaign_id: int | None = None
    payload: str | None = None
    journey_title: str | None = None
    journey_point_title: str | None = None
    live_activity_id: str | None = None
    uuid: str | int | None = None


class _Object(msgspec.Struct):
    """An envelope (``events`` is there) or a single event."""

    uuid: str | int | None = None
    events: list[_Event] | None = None
    batch: str | None = None


class _WholeEnvelope(msgspec.Struct):
    batch: str
    events: list[_WholeEvent]


_decoder: Final[msgspec.json.Decoder[list[_Event] | _Object]] = msgspec.json.Decoder(list[_Event] | _Object)
_whole_array_decoder: Final = msgspec.json.Decoder(list[_WholeEvent])
_whole_envelope_decoder: Final = msgspec.json.Decoder(_WholeEnvelope)
_whole_event_decoder: Final = msgspec.json.Decoder(_WholeEvent)


def read_delivery(request: Request, *, verify: bool, check_fields: bool = False) -> Delivery:
    """What ``request`` delivers; with ``verify`` its body is read and everything about it is checked.

    ``check_fields`` also checks that each event has the fields of the contract. Raises ``UnacceptableError``.
    """
    place = read_place(request.headers, verify=verify)
    if not verify:
        return place.delivery(None, request.body_bytes)
    if not request.headers.get("webhook-timestamp", "").isdigit():
        raise UnacceptableError("timestamp", "expected a header webhook-timestamp with UNIX seconds")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnacceptableError("content-type", "expected content-type: application/json")
    uuids = _uuids_in(unpacked(request), place.webhook_id, check_fields=check_fields)
    if len(uuids) != place.event_count:
        raise UnacceptableError("count", f"{len(uuids)} events came, the sequence says {place.event_count}")
    return place.delivery(uuids, request.body_bytes)


def read_place(headers: Mapping[str, str], *, verify: bool = True) -> Place:
    """Which events a request with these ``headers`` (names in lower case) carries.

    With ``verify``, whether the headers agree with each other is checked too. Raises ``UnacceptableError``.
    """
    webhook_id = headers.get("webhook-id", "")
    if not webhook_id:
        raise UnacceptableError("webhook-id", "there is no webhook-id header")
    found = _SEQUENCE.fullmatch(headers.get("distributary-sequence", ""))
    if found is None:
        forms = "LANE FIRST-END[,FIRST-END...] or LANE FIRST-END~COUNT"
        raise UnacceptableError("sequence", f"expected a header distributary-sequence: {forms}")
    scattered_count = None if found[4] is None else int(found[4])
    lane, ranges = found[1], ((int(found[2]), int(found[3])), *_further(found[5] or ""))
    position = -1
    for first, end in ranges:
        if not position < first < end:
            raise UnacceptableError("sequence", "the ranges of distributary-sequence must ascend, with gaps between")
        position = end
    if scattered_count is not None and not 1 < scattered_count < count_of(ranges):
        raise UnacceptableError("sequence", "the count of distributary-sequence must be less than its range holds")
    place = Place(webhook_id, lane, ranges, scattered_count)
    if verify:
        name = batch_id(lane, ranges[0][0], ranges[-1][1])
        has_gaps = len(ranges) > 1 or scattered_count is not None
        if webhook_id != (f"{name}~{place.event_count}" if has_gaps else name):
            raise UnacceptableError("webhook-id", "webhook-id and distributary-sequence name different events")
        if headers.get("distributary-purpose") != purpose_of(lane):
            raise UnacceptableError("purpose", "distributary-purpose is not what the lane's name says")
    return place


def unpacked(request: Request) -> bytes:
    """The body, without compression; raises ``UnacceptableError`` where it cannot be had."""
    return unpacked_body(request.body, request.headers.get("content-encoding", "identity"))


def unpacked_body(body: bytes, encoding: str) -> bytes:
    """``body``, without the compression that ``encoding`` names; raises ``UnacceptableError`` where that cannot be had."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise UnacceptableError("content-encoding", "expected content-encoding: gzip, or none")
    unpacking = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
    try:
        unpacked = unpacking.decompress(body, _MOST_UNPACKED_BYTES)
    except zlib.error as error:
        raise UnacceptableError("content-encoding", f"the body is not gzip: {error}") from error
    if not unpacking.eof:
        raise UnacceptableError("content-encoding", "the body is cut off, or too large when unpacked")
    return unpacked


def _further(text: str) -> list[tuple[int, int]]:
    """The ranges behind the first one."""
    pairs = (part.split("-") for part in text.split(",")[1:])
    return [(int(first), int(end)) for first, end in pairs]


def _uuids_in(body: bytes, webhook_id: str, *, check_fields: bool) -> list[str | None]:
    try:
        content = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnacceptableError("json", f"the body cannot be read: {error}") from error
    whole: msgspec.json.Decoder[Any]
    if isinstance(content, list):
        events, whole = content, _whole_array_decoder
    elif content.events is None:
        events, whole = [_Event(content.uuid)], _whole_event_decoder
    elif content.batch == webhook_id:
        events, whole = content.events, _whole_envelope_decoder
    else:
        raise UnacceptableError("envelope", "the envelope's batch is not the webhook-id")
    if check_fields:
        _check_fields(body, whole)
    return [None if event.uuid is None else str(event.uuid) for event in events]


def _check_fields(body: bytes, decoder: msgspec.json.Decoder[Any]) -> None:
    """Raise ``UnacceptableError`` where an event lacks a field, or has one of a wrong type."""
    try:
        content: list[_WholeEvent] | _WholeEnvelope | _WholeEvent = decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise UnacceptableError("fields", f"an event is not as the contract has it: {error}") from error
    match content:
        case _WholeEnvelope():
            events = content.events
        case _WholeEvent():
            events = [content]
        case _:
            events = content
    if not all(event.hwid or event.user_id for event in events):
        raise UnacceptableError("fields", "an event has neither hwid nor user_id")
