"""From a source record's bytes to a checked event: the hottest code of a worker.

One typed decode does nearly all the checks. The event is then encoded again, which gives its published form, and also
proves at next to no cost that the record held nothing else: the encoding is the shortest JSON that means the event, so a
record of the same length has no second key of the same name, no unknown field and no null. Only where the lengths differ
(white space, escapes, unknown fields, nulls) is there a closer look, in up to three steps that get dearer.

Events are encoded a run at a time, as one JSON array, at half the cost. Where it is as long as the records say together,
each event is as long as its own record says, since none can be longer. Otherwise each is compared alone: the array is
taken apart at ``},{"``, which stands between two events and nowhere else, since an event holds no object and a quotation
mark inside a text is escaped.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from pipeline.errors import PoisonError
from pipeline.ingest.event import FIRST_PUBLISHED, LARGEST_UINT64, Event
from pipeline.ingest.poison import (
    PoisonReason,
    diagnose,
    refuse_duplicates,
    refuse_encoding,
    refuse_nesting,
    refuse_platform,
    refuse_range,
)
from pipeline.model.platforms import PLATFORMS, platform_name

DEFAULT_MAX_EVENT_BYTES: Final = 1024 * 1024

JSON_WHITE_SPACE: Final = b" \t\r\n"

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode
# Raw leaves the values alone: an unknown field may hold a number that no type takes.
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_NAMES: Final[dict[str | int, str]] = {
    spelled: platform_name(spelled)
    for name, code in PLATFORMS.items()
    for spelled in ((name,) if code is None else (name, code, str(code)))
}
PUBLISHED_KEY: Final = f'"{FIRST_PUBLISHED}":'.encode()
"""Where the published fields of an encoded event begin; they end where it ends.

Inside a text the quotation mark before the colon would be escaped, so the first place that looks like the key is the key.
"""
_OPENING: Final = b'{"'
_BETWEEN: Final = b'},{"'
_CLOSING: Final = b"}"
_MADE_UUID_BYTES = len(',"uuid":""') + 36
_UUID_VARIANT = 0x8000


class SourceRecord(Protocol):
    """What is read of a Kafka record."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


class Run(NamedTuple):
    """What a run of records holds.

    Of each usable one, at the same place: the ``records``, their ``values``, the ``events``, and where in ``encoded`` each of
    them ends. There an event is all its known fields as compact JSON, and begins one byte after the end of the one before.
    ``dead`` are the other records, with why.
    """

    records: list[SourceRecord]
    values: list[bytes]
    events: list[Event]
    encoded: bytes
    ends: list[int]
    dead: list[tuple[SourceRecord, PoisonError]]


class EventDecoder:
    """Decodes the records of one source partition.

    ``source_epoch`` counts the re-creations of the topic, so that a made uuid is never made twice. ``max_event_bytes``
    is the largest record that is taken.
    """

    __slots__ = ("_max_event_bytes", "_uuid_prefix")

    def __init__(
        self, topic: str, partition: int, source_epoch: int = 1, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES
    ) -> None:
        self._max_event_bytes = max_event_bytes
        self._uuid_prefix = _uuid_prefix(topic, partition, source_epoch)

    def decode(self, value: bytes | None, offset: int) -> tuple[Event, bytes]:
        """Decode and check the record at ``offset``: the event, and all its known fields as compact JSON.

        An event without a uuid gets one made from topic, partition and offset: the same whenever the record is read.
        Raises ``PoisonError`` where the record is unusable.
        """
        event, added_bytes, added_quotes = self._read(value, offset)
        assert value is not None
        encoded = _encode(event)
        if len(encoded) - added_bytes != len(value):
            _look_closer(value, encoded, added_quotes)
        return event, encoded

    def decode_run(self, records: Sequence[SourceRecord]) -> Run:
        """Decode and check records as ``decode`` does. Best with some tens of them, which stay in the processor's cache."""
        read = self._read
        kept: list[SourceRecord] = []
        values: list[bytes] = []
        events: list[Event] = []
        ends: list[int] = []
        added: dict[int, int] = {}
        dead: list[tuple[SourceRecord, PoisonError]] = []
        end = 0
        for record in records:
            value = record.value
            try:
                event, added_bytes, added_quotes = read(value, record.offset)
            except PoisonError as poison:
                dead.append((record, poison))
                continue
            assert value is not None
            if added_quotes:
                added[len(events)] = added_quotes
            kept.append(record)
            values.append(value)
            events.append(event)
            end += 1 + len(value) + added_bytes
            ends.append(end)
        encoded = _encode(events)
        run = Run(kept, values, events, encoded, ends, dead)
        return run if len(encoded) == end + 1 or not events else _without_odd_ones(run, added)

    def _read(self, value: bytes | None, offset: int) -> tuple[Event, int, int]:  # noqa: C901  a call costs 1 % of a worker
        """Decode a record and do all checks but the one for what the decoder does not see.

        Returns the event, and what its encoding holds beyond the record: bytes, and quotation marks.
        """
        if value is None:
            raise PoisonError(PoisonReason.TOMBSTONE, "the record has no value")
        if len(value) > self._max_event_bytes:
            detail = f"{len(value)} bytes, and at most {self._max_event_bytes} are taken"
            raise PoisonError(PoisonReason.TOO_LARGE, detail)
        try:
            event = _decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            diagnose(value, error)
        added_bytes = added_quotes = 0
        platform = event.platform
        name = _NAMES.get(platform)
        if name != platform:
            if name is None:
                refuse_platform(platform)
            added_bytes = len(name) - len(str(platform))
            if type(platform) is int:
                added_bytes += 2
                added_quotes = 2
        # One object for each name: its hash is known already when the match index asks.
        event.platform = name
        if not event.user_id and not event.hwid:
            raise PoisonError(PoisonReason.MISSING_IDENTITY, "neither hwid nor user_id says whose event it is")
        if event.campaign_id is not None and event.campaign_id > LARGEST_UINT64:
            refuse_range("campaign_id", event.campaign_id)
        if event.message_id is not None and event.message_id > LARGEST_UINT64:
            refuse_range("message_id", event.message_id)
        if not event.uuid:
            added_bytes += _MADE_UUID_BYTES if event.uuid is None else 36
            added_quotes += 4 if event.uuid is None else 0
            event.uuid = f"{self._uuid_prefix}{offset:012x}"
        return event, added_bytes, added_quotes


def published(encoded: bytes) -> bytes:
    """Cut the fields that are not published off an encoded event: they come first."""
    start = encoded.index(PUBLISHED_KEY)
    return encoded if start == 1 else b"{" + encoded[start:]


def _without_odd_ones(run: Run, added_quotes: Mapping[int, int]) -> Run:
    """Look closer at each event that is not as long as its record says, which is where the run says that it ends."""
    kept = Run([], [], [], b"", [], run.dead)
    encoded = []
    end = expected_end = 0
    pieces = run.encoded[len(b"[") + len(_OPENING) : -len(_CLOSING) - len(b"]")].split(_BETWEEN)
    for number, (piece, next_end) in enumerate(zip(pieces, run.ends, strict=True)):
        expected_bytes = next_end - expected_end - 1
        expected_end = next_end
        known = _OPENING + piece + _CLOSING
        if len(known) != expected_bytes:
            try:
                _look_closer(run.values[number], known, added_quotes.get(number, 0))
            except PoisonError as poison:
                kept.dead.append((run.records[number], poison))
                continue
        kept.records.append(run.records[number])
        kept.values.append(run.values[number])
        kept.events.append(run.events[number])
        encoded.append(known)
        end += 1 + len(known)
        kept.ends.append(end)
    return kept._replace(encoded=b"[" + b",".join(encoded) + b"]")


def _look_closer(value: bytes, encoded: bytes, added_quotes: int) -> None:
    """Raise ``PoisonError`` where ``value`` has a key twice, or where what the decoder skipped is not in order."""
    # Each further key or text has two quotation marks, and nothing takes one away but an escape that hides it.
    hides_quotes = b"\\u0022" in value
    quotes = value.count(b'"')
    if quotes == encoded.count(b'"') - added_quotes and not hides_quotes:
        return
    refuse_encoding(value)
    refuse_nesting(value)
    # The same two arguments again, now with the unknown fields and nulls, of which the last of each name is left.
    distinct = _encode(_decode_keys(value))
    if len(distinct) == len(value) or (distinct.count(b'"') == quotes and not hides_quotes):
        return
    refuse_duplicates(value)


def _uuid_prefix(topic: str, partition: int, source_epoch: int) -> str:
    """All but the last 12 hexadecimal digits (the offset) of a version 8 UUID (RFC 9562, 5.8)."""
    digest = hashlib.sha256(f"{topic}\0{partition}\0{source_epoch}".encode()).hexdigest()
    variant = _UUID_VARIANT | int(digest[15:19], 16) & 0x3FFF
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-{variant:04x}-"
