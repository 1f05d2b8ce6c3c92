"""From events to Segment's track calls: what each message says, and how many travel together.

A message has Segment's own fields (https://segment.com/docs/connections/spec/track/) and, of the properties, the three that
the vendor's integration promises: ``message_type``, ``campaign_code`` and ``device_type``. It depends on the event alone, so
a retry sends the same one, and Segment drops what it has seen by ``messageId``.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from segment.analytics.consumer import BATCH_SIZE_LIMIT, MAX_MSG_SIZE

from pipeline.ingest.event import Code, Seconds, Text
from pipeline.model.attempt import Refusal
from pipeline.model.batch import Batch
from pipeline.model.ranges import Ranges, ranges_of

Message = dict[str, Any]

MOST_EVENTS_A_CALL: Final = 2500
MOST_BYTES_A_CALL: Final = BATCH_SIZE_LIMIT
"""For the messages of one call: Segment takes 500 KB, which leaves room for what stands around them."""
MOST_BYTES_AN_EVENT: Final = MAX_MSG_SIZE
LONGEST_MESSAGE_ID: Final = 100

PUSH: Final = "Push"
EMAIL: Final = "Email"
SMS: Final = "SMS"
IN_APP: Final = "In-App"

MESSAGE_TYPES: Final = MappingProxyType(
    {
        "iOS": PUSH,
        "Android": PUSH,
        "macOS": PUSH,
        "Windows": PUSH,
        "Amazon": PUSH,
        "Safari": PUSH,
        "Chrome": PUSH,
        "Firefox": PUSH,
        "Internet Explorer": PUSH,
        "Baidu": PUSH,
        "Huawei": PUSH,
        "Xiaomi": PUSH,
        "Email": EMAIL,
        "SMS": SMS,
        # The vendor names four types and does not say which of them these are: a text sent to a person's number is nearest.
        "Line": SMS,
        "WhatsApp": SMS,
        "Web": PUSH,
    }
)
"""Platform -> ``message_type``. Events whose name begins with ``In-App`` are of that type, whatever their platform."""

_SEPARATOR_BYTES: Final = len(", ")


class UnusableEventError(ValueError):
    """An event that cannot be told to Segment, with why."""


class _Event(msgspec.Struct):
    event_name: Text
    platform: Annotated[str, msgspec.Meta(min_length=1)]
    timestamp: Seconds
    hwid: str | None = None
    user_id: str | None = None
    uuid: str | None = None
    campaign_code: str | None = None
    device_type: Code | None = None


class Call(NamedTuple):
    """The messages of one request, and the sequence numbers of their events."""

    ranges: Ranges
    messages: list[Message]


class Plan(NamedTuple):
    """How a batch is told to Segment: in which calls, and without which events."""

    calls: list[Call]
    refused: list[Refusal]


_decode = msgspec.json.Decoder(_Event).decode


def message_of(event: bytes, *, lane: str, sequence: int) -> Message:
    """The track message for ``event``, which has the number ``sequence`` in ``lane``.

    ``userId`` is the event's ``user_id``; only where there is none is its ``hwid`` sent, as ``anonymousId``. Raises
    ``UnusableEventError``.
    """
    try:
        read = _decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnusableEventError(f"it is no event: {error}") from error
    message: Message = {"type": "track", "event": read.event_name}
    if read.user_id:
        message["userId"] = read.user_id
    elif read.hwid:
        message["anonymousId"] = read.hwid
    else:
        raise UnusableEventError("it has neither user_id nor hwid, and Segment takes nothing without either")
    properties: dict[str, Any] = {"message_type": _message_type(read)}
    if read.campaign_code:
        properties["campaign_code"] = read.campaign_code
    properties["device_type"] = read.platform if read.device_type in (None, "") else read.device_type
    message["properties"] = properties
    message["timestamp"] = iso_8601(read.timestamp)
    message["messageId"] = _message_id(read.uuid or f"{lane}:{sequence}")
    return message


def plan_of(batch: Batch) -> Plan:
    """Put the events of ``batch`` into as few calls as Segment's limits allow, in order.

    An event that is too large by itself, or that cannot be told at all, is given up alone.
    """
    refused: list[Refusal] = []
    calls: list[Call] = []
    numbers: list[int] = []
    messages: list[Message] = []
    call_bytes = 0
    for sequence, message, size_bytes in _messages(batch, refused):
        is_full = len(messages) == MOST_EVENTS_A_CALL or call_bytes + size_bytes > MOST_BYTES_A_CALL
        if messages and is_full:
            calls.append(Call(ranges_of(numbers), messages))
            numbers, messages, call_bytes = [], [], 0
        numbers.append(sequence)
        messages.append(message)
        call_bytes += size_bytes + _SEPARATOR_BYTES
    if messages:
        calls.append(Call(ranges_of(numbers), messages))
    return Plan(calls, refused)


def iso_8601(moment_s: float) -> str:
    """``moment_s``, UNIX seconds, in UTC and to the millisecond: ``2024-08-16T09:07:51.000Z``."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _messages(batch: Batch, refused: list[Refusal]) -> Iterator[tuple[int, Message, int]]:
    for sequence, event in batch.numbered():
        try:
            message = message_of(event, lane=batch.lane, sequence=sequence)
            size_bytes = _size_of(message)
        except UnusableEventError as error:
            refused.append(Refusal(sequence, sequence + 1, f"not sent to Segment: {error}"))
        else:
            yield sequence, message, size_bytes


def _size_of(message: Message) -> int:
    size_bytes = len(json.dumps(message))  # as the library writes it: ASCII, with a space behind each separator
    if size_bytes > MOST_BYTES_AN_EVENT:
        raise UnusableEventError(
            f"its message has {size_bytes} bytes, and Segment takes at most {MOST_BYTES_AN_EVENT} for one"
        )
    return size_bytes


def _message_type(event: _Event) -> str:
    if event.event_name.startswith(IN_APP):
        return IN_APP
    try:
        return MESSAGE_TYPES[event.platform]
    except KeyError:
        raise UnusableEventError(f"its platform is none of {', '.join(MESSAGE_TYPES)}") from None


def _message_id(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE_ID else hashlib.sha256(text.encode()).hexdigest()
