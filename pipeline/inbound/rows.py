"""The rows of table ``inbound``: their keys, their values, and how both are read back.

==========================  ===============================================================================================
key                         value
==========================  ===============================================================================================
``k/`` and 16 bytes         until when an event with this key is a repetition, 4 bytes: there are many of them
``c/{subject}/{slot}``      ``CountsRow``: what came for a subject in ten minutes
``s/{subject}``             ``SubjectRow``: all that ever came for it, and its run of rejected requests
``o``                       ``ProgressRow``: how far requests are applied, and how far events were written for them
==========================  ===============================================================================================

A *subject* is whose requests are counted together: a webhook by its id, an application that Segment calls as
``segment:CODE``, and what is for neither as ``?`` or ``segment:?``, so that strangers cannot make rows.
"""

import hashlib
from collections import Counter
from typing import Final, TypeVar

import msgspec

from pipeline.errors import CodecError

RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach the changelog in one record batch, all or none, in order; ``None`` deletes."""

PROGRESS_KEY: Final = b"o"
KEYS: Final = b"k/"
COUNTS: Final = b"c/"
SUBJECTS: Final = b"s/"

STRANGERS: Final = "?"
"""The subject of requests to webhooks that do not exist."""

SLOT_S: Final = 600
"""Counts are kept for ten minutes at a time."""

SLOTS_A_DAY: Final = 86_400 // SLOT_S

_VERSION: Final = 1
_DIGEST_BYTES: Final = 16
_LATEST: Final = 2**32 - 1


class CountsRow(msgspec.Struct, array_like=True, gc=False):
    """What came in one slot: requests by outcome, events taken and repeated, and those of Segment's not taken, by reason."""

    version: int = _VERSION
    requests: dict[str, int] = {}
    events: int = 0
    repeated_events: int = 0
    disregarded: dict[str, int] = {}

    def plus(self, other: "CountsRow") -> "CountsRow":
        """What came in both."""
        return CountsRow(
            requests=dict(Counter(self.requests) + Counter(other.requests)),
            events=self.events + other.events,
            repeated_events=self.repeated_events + other.repeated_events,
            disregarded=dict(Counter(self.disregarded) + Counter(other.disregarded)),
        )


class SubjectRow(msgspec.Struct, array_like=True, gc=False):
    """All that came for a subject since it is there.

    ``received`` and ``succeeded`` count requests. ``rejected_in_a_row`` is the run of requests whose secret was wrong, which
    people ``is_told`` of once; ``secret_mark`` tells another secret from the one that the run was about. Times are UNIX seconds.
    """

    version: int = _VERSION
    received: int = 0
    succeeded: int = 0
    events: int = 0
    last_at_s: float = 0.0
    rejected_in_a_row: int = 0
    is_told: bool = False
    secret_mark: int = 0

    def plus(self, other: "SubjectRow") -> "SubjectRow":
        """What came for one subject on two partitions."""
        newer = self if self.last_at_s >= other.last_at_s else other
        return SubjectRow(
            received=self.received + other.received,
            succeeded=self.succeeded + other.succeeded,
            events=self.events + other.events,
            last_at_s=newer.last_at_s,
            rejected_in_a_row=newer.rejected_in_a_row,
            is_told=newer.is_told,
            secret_mark=newer.secret_mark,
        )


class ProgressRow(msgspec.Struct, array_like=True, gc=False):
    """How far the partition is applied.

    ``applied_offset`` is that of the last request, ``newest_at_s`` the newest time of any; ``output_offset`` is that of the
    next event to be written, as of then.
    """

    version: int = _VERSION
    applied_offset: int = -1
    newest_at_s: float = 0.0
    output_offset: int = 0


def key_row(key: str) -> bytes:
    """The key of the row that remembers an event's key."""
    return KEYS + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def encode_expiry(at_s: float) -> bytes:
    """The value of such a row."""
    return min(_LATEST, max(0, round(at_s))).to_bytes(4, "big")


def decode_expiry(value: bytes) -> int:
    """Until when it counts, UNIX seconds."""
    return int.from_bytes(value, "big")


def slot_of(at_s: float) -> int:
    """The number of the ten minutes that a time is in."""
    return int(at_s // SLOT_S)


def counts_key(subject: str, slot: int) -> bytes:
    """The key of a ``CountsRow``; a subject's sort by time."""
    return b"%b%b/%08d" % (COUNTS, subject.encode(), slot)


def counted_in(key: bytes) -> tuple[str, int]:
    """The subject and the slot that the key of a ``CountsRow`` names; raises ``CodecError`` where it names none."""
    subject, _, slot = key[len(COUNTS) :].rpartition(b"/")
    if not slot.isdigit():
        raise CodecError(f"table inbound holds a row with the key {key!r}; was it written by another program?")
    return subject.decode(), int(slot)


def segment_subject(application: str) -> str:
    """The subject of Segment's calls for an application."""
    return f"segment:{application}"


def subject_key(subject: str) -> bytes:
    """The key of a ``SubjectRow``."""
    return SUBJECTS + subject.encode()


def subject_in(key: bytes) -> str:
    """The subject that the key of a ``SubjectRow`` names."""
    return key[len(SUBJECTS) :].decode()


encode_row: Final = msgspec.msgpack.Encoder().encode
_counts_decoder: Final = msgspec.msgpack.Decoder(CountsRow)
_subject_decoder: Final = msgspec.msgpack.Decoder(SubjectRow)
_progress_decoder: Final = msgspec.msgpack.Decoder(ProgressRow)


def decode_counts(value: bytes) -> CountsRow:
    """Read a ``CountsRow``; raises ``CodecError`` where it is none, or of a newer version."""
    return _decode(_counts_decoder, value)


def decode_subject(value: bytes) -> SubjectRow:
    """Read a ``SubjectRow``; raises ``CodecError`` where it is none, or of a newer version."""
    return _decode(_subject_decoder, value)


def decode_progress(value: bytes) -> ProgressRow:
    """Read a ``ProgressRow``; raises ``CodecError`` where it is none, or of a newer version."""
    return _decode(_progress_decoder, value)


_Row = TypeVar("_Row", CountsRow, SubjectRow, ProgressRow)


def _decode(decoder: "msgspec.msgpack.Decoder[_Row]", value: bytes) -> _Row:
    try:
        row = decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"a row of table inbound cannot be read ({error}); was it written by another program?"
        ) from error
    if row.version != _VERSION:
        raise CodecError(
            f"a row of table inbound has version {row.version}, this worker reads {_VERSION}: "
            "start the version of distributary that wrote it"
        )
    return row
