"""From a batch's JSON to the messages of a stream."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, NotRequired, TypedDict, cast

import msgspec

from pipeline.model.attempt import Refusal
from pipeline.model.batch import Batch
from pipeline.model.events import EventRun
from pipeline.model.ranges import numbers_in
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest, Event

_SLICE_BYTES: Final = 64 * 1024
_UNUSABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, ValueError)


class Framing(NamedTuple):
    """How many events, and how many bytes, a message may hold."""

    max_events: int
    max_bytes: int


class Message(NamedTuple):
    """One message of a stream: its bytes, and the events inside, each by uuid and sequence number."""

    content: bytes
    events: list[tuple[str, int]]


class _Fields(TypedDict):
    """What is told of an event; whatever else its JSON holds has no place in the proto."""

    uuid: str
    event_name: str
    timestamp: int
    application_code: str
    platform: str
    hwid: NotRequired[str | None]
    user_id: NotRequired[str | None]
    message_id: NotRequired[int | None]
    message_code: NotRequired[str | None]
    campaign_id: NotRequired[int | None]
    payload: NotRequired[str | None]
    journey_title: NotRequired[str | None]
    journey_point_title: NotRequired[str | None]
    live_activity_id: NotRequired[str | None]
    campaign_code: NotRequired[str | None]
    device_type: NotRequired[str | int | None]
    error_message: NotRequired[str | None]
    trigger_id: NotRequired[str | int | None]
    profile_id: NotRequired[str | int | None]
    device_id: NotRequired[str | int | None]
    email: NotRequired[str | None]


_CODES: Final = ("device_type", "trigger_id", "profile_id", "device_id")
"""Fields that are numbers or text in JSON, and always text in the proto."""

_decode_all = msgspec.json.Decoder(list[_Fields]).decode
_decode_one = msgspec.json.Decoder(_Fields).decode


def messages_of(batch: Batch, framing: Framing, given_up: list[Refusal]) -> Iterator[Message]:
    """The messages that carry ``batch``, in order, made as they are asked for; the same for the same batch and framing.

    Events that no message can carry are left out, and put into ``given_up`` with the reason.
    """
    events: list[Event] = []
    names: list[tuple[str, int]] = []
    size_bytes = 0
    for event in _events_of(batch, given_up):
        event_bytes = _framed_bytes(event.ByteSize())
        if event_bytes > framing.max_bytes:
            detail = f"the event is a message of {event_bytes} bytes, and at most {framing.max_bytes} can be sent"
            given_up.append(Refusal(event.sequence, event.sequence + 1, detail))
            continue
        if events and (len(events) == framing.max_events or size_bytes + event_bytes > framing.max_bytes):
            yield Message(DeliverRequest(events=events).SerializeToString(), names)
            events, names, size_bytes = [], [], 0
        events.append(event)
        names.append((event.uuid, event.sequence))
        size_bytes += event_bytes
    if events:
        yield Message(DeliverRequest(events=events).SerializeToString(), names)


def _events_of(batch: Batch, given_up: list[Refusal]) -> Iterator[Event]:
    numbers = iter(numbers_in(batch.ranges))
    for part in _slices(batch.run()):
        sequences = [*islice(numbers, part.event_count())]
        try:
            decoded = cast("list[dict[str, Any]]", _decode_all(b"[" + part.block + b"]"))
            events = [_event(fields, sequence) for fields, sequence in zip(decoded, sequences, strict=True)]
        except _UNUSABLE:
            events = [*_usable(part, sequences, given_up)]
        yield from events


def _usable(part: EventRun, sequences: list[int], given_up: list[Refusal]) -> Iterator[Event]:
    """The events of ``part`` that the proto can carry."""
    for content, sequence in zip(part.events(), sequences, strict=True):
        try:
            yield _event(cast("dict[str, Any]", _decode_one(content)), sequence)
        except _UNUSABLE as error:
            given_up.append(Refusal(sequence, sequence + 1, f"the event does not fit the proto: {error}"))


def _slices(run: EventRun) -> Iterator[EventRun]:
    """``run`` in parts that are soon decoded, so that the event loop is never held up for long."""
    first = start = 0
    for index, end in enumerate(run.ends):
        if end - start >= _SLICE_BYTES:
            yield run.part(first, index + 1)
            first, start = index + 1, end + 1
    if first < len(run.ends):
        yield run.part(first, len(run.ends))


def _event(fields: dict[str, Any], sequence: int) -> Event:
    for name in _CODES:
        if type(fields.get(name)) is int:
            fields[name] = str(fields[name])
    if not fields["uuid"]:
        raise ValueError("its uuid is empty")
    return Event(sequence=sequence, **fields)


def _framed_bytes(event_bytes: int) -> int:
    """What an event of ``event_bytes`` takes in a message: its field's tag, its length as a varint, and itself."""
    return 1 + max(1, -(-event_bytes.bit_length() // 7)) + event_bytes
