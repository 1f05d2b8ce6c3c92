"""From a batch's JSON to the messages of a stream."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, NotRequired, TypedDict, cast

import msgspec

from pipeline.model.attempt import Refusal
from pipeline.model.batch import Batch
from pipeline.model.events import EventRun
from pipeline.model.ranges import numbers_in
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest

_SLICE_BYTES: Final = 64 * 1024
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)


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
    names: list[tuple[str, int]] = []
    request, size_bytes = DeliverRequest(), 0
    for fields, sequence in _fields_of(batch, given_up):
        if len(names) == framing.max_events:
            yield Message(request.SerializeToString(), names)
            request, names, size_bytes = DeliverRequest(), [], 0
        try:
            # Made in its place: an event that is made elsewhere and put in is copied, which costs as much again.
            event = request.events.add(sequence=sequence, **fields)
        except ValueError as error:
            del request.events[len(names) :]
            given_up.append(_unfit(sequence, error))
            continue
        event_bytes = _framed_bytes(event.ByteSize())
        if event_bytes > framing.max_bytes:
            del request.events[-1]
            detail = f"the event is a message of {event_bytes} bytes, and at most {framing.max_bytes} can be sent"
            given_up.append(Refusal(sequence, sequence + 1, detail))
            continue
        if size_bytes + event_bytes > framing.max_bytes:
            del request.events[-1]
            yield Message(request.SerializeToString(), names)
            request, names, size_bytes = DeliverRequest(), [], 0
            request.events.add(sequence=sequence, **fields)
        names.append((fields["uuid"], sequence))
        size_bytes += event_bytes
    if names:
        yield Message(request.SerializeToString(), names)


def _fields_of(batch: Batch, given_up: list[Refusal]) -> Iterator[tuple[dict[str, Any], int]]:
    """What is told of each event, with its sequence number."""
    numbers = iter(numbers_in(batch.ranges))
    for part in _slices(batch.run()):
        sequences = [*islice(numbers, part.event_count())]
        try:
            decoded = cast("list[dict[str, Any]]", _decode_all(b"[" + part.block + b"]"))
        except _UNREADABLE:
            usable = _readable(part, sequences, given_up)
        else:
            usable = zip(decoded, sequences, strict=True)
        for fields, sequence in usable:
            for name in _CODES:
                if type(fields.get(name)) is int:
                    fields[name] = str(fields[name])
            if fields["uuid"]:
                yield fields, sequence
            else:
                given_up.append(_unfit(sequence, "its uuid is empty"))


def _readable(part: EventRun, sequences: list[int], given_up: list[Refusal]) -> Iterator[tuple[dict[str, Any], int]]:
    """What is told of those events of ``part`` that can be read."""
    for content, sequence in zip(part.events(), sequences, strict=True):
        try:
            yield cast("dict[str, Any]", _decode_one(content)), sequence
        except _UNREADABLE as error:
            given_up.append(_unfit(sequence, error))


def _unfit(sequence: int, why: object) -> Refusal:
    return Refusal(sequence, sequence + 1, f"the event does not fit the proto: {why}")


def _slices(run: EventRun) -> Iterator[EventRun]:
    """``run`` in parts that are soon decoded, so that the event loop is never held up for long."""
    first = start = 0
    for index, end in enumerate(run.ends):
        if end - start >= _SLICE_BYTES:
            yield run.part(first, index + 1)
            first, start = index + 1, end + 1
    if first < len(run.ends):
        yield run.part(first, len(run.ends))


def _framed_bytes(event_bytes: int) -> int:
    """What an event of ``event_bytes`` takes in a message: its field's tag, its length as a varint, and itself."""
    return 1 + max(1, -(-event_bytes.bit_length() // 7)) + event_bytes
