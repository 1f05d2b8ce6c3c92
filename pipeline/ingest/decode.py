"""From a source record's bytes to a checked event: the hottest code of a worker.

One typed decode does nearly all the checks. The event is then encoded again, which gives its published form, and also
proves at next to no cost that the record held nothing else: the encoding is the shortest JSON that means the event, so a
record of the same length has no second key of the same name, no unknown field and no null. Only where the lengths differ
(white space, escapes, unknown fields, nulls) is there a closer look, in up to three steps that get dearer.
"""

import hashlib
from typing import Final

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
_PUBLISHED_KEY = f'"{FIRST_PUBLISHED}":'.encode()
_MADE_UUID_BYTES = len(',"uuid":""') + 36
_UUID_VARIANT = 0x8000


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

    def decode(self, value: bytes | None, offset: int) -> tuple[Event, bytes]:  # noqa: C901  a call costs 2 % of a worker
        """Decode and check the record at ``offset``: the event, and all its known fields as compact JSON.

        An event without a uuid gets one made from topic, partition and offset: the same whenever the record is read.
        Raises ``PoisonError`` where the record is unusable.
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
        # What the encoding holds beyond the record: bytes, and quotation marks.
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
        encoded = _encode(event)
        if len(encoded) - added_bytes != len(value):
            _look_closer(value, encoded, added_quotes)
        return event, encoded


def published(encoded: bytes) -> bytes:
    """Cut the fields that are not published off an event that ``decode`` encoded.

    They come first. Inside a text the quotation mark before the colon would be escaped, so the first place that looks
    like the key is the key.
    """
    start = encoded.index(_PUBLISHED_KEY)
    return encoded if start == 1 else b"{" + encoded[start:]


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
