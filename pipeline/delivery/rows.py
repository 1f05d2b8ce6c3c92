"""The rows of a ``pending-{kind}`` table.

- ``{lane}``: how far the lane's sequence is registered, what became of what is done, and what holds the lane back.
- ``{lane}/{first}``: a batch that is not done, or what is left of one.
- ``{lane}!{first}``: a parked batch, until it is replayed or its record has left the parked topic.
- ``{lane}@{hour}``: the same counts as the lane's, of the windows that were opened in one hour (UNIX seconds / 3600).

In every stored state ``registered`` is the sum of the delivered, parked and discarded events and of those in the lane's
batch rows: rows that belong together are written in one group.
"""

import enum
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipeline.delivery.breaker import BreakerRow
from pipeline.errors import CodecError
from pipeline.model.ranges import Ranges

ROW_VERSION = 2


RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach the changelog in one record batch: all of them or none. ``None`` removes the row."""


class Fate(enum.StrEnum):
    """How a batch ended."""

    DELIVERED = "delivered"
    PARKED = "parked"
    DISCARDED = "discarded"


class RowKind(enum.StrEnum):
    """What a row is, by the character in its key that no lane's name has."""

    LANE = ""
    BATCH = "/"
    PARKED = "!"
    HOUR = "@"


class RowKey(NamedTuple):
    """A key, read. ``number`` is a batch's first sequence number or an hour; 0 for a lane's row."""

    lane: str
    kind: RowKind
    number: int


class LaneRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A lane's ledger: events ``[0, registered)`` of its sequence came, and so many of them are done.

    ``halted_for`` is not empty where the endpoint said that it is gone: what stands for its address. ``breaker`` is
    the state of the lane's breaker while that is not closed.
    """

    version: int
    registered: int
    delivered_events: int = 0
    delivered_batches: int = 0
    parked_events: int = 0
    parked_batches: int = 0
    discarded_events: int = 0
    discarded_batches: int = 0
    halted_for: str = ""
    breaker: BreakerRow | None = None

    @property
    def done_events(self) -> int:
        """Events that wait no more."""
        return self.delivered_events + self.parked_events + self.discarded_events


class BatchRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A batch that is not done; its first sequence number stands in the key.

    ``offset`` is where its record lies in the batches topic; that record may hold more, of which the rest is done.
    ``attempts`` counts the tries made, ``forgiven`` those that use up none of the schedule; ``next_at`` is when the next is due, in UNIX seconds, 0 for now; ``sealed_at`` is
    UNIX seconds. ``rest`` names the events where there are gaps between the first and ``end``. ``hour`` is when its window
    was opened.
    """

    version: int
    end: int
    offset: int
    size_bytes: int
    attempts: int
    next_at: float
    sealed_at: float
    rest: Ranges = ()
    hour: int = 0
    forgiven: int = 0


class ParkedRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A batch that gave up; its first sequence number stands in the key. ``parked_at`` is UNIX seconds.

    ``offset`` is that of the record it came from: a replay that lies before it was done already.
    """

    version: int
    end: int
    rest: Ranges
    hour: int
    parked_at: float
    reason: str
    offset: int = -1


class HourRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Events of the windows that a lane opened in one hour; what is missing to ``registered`` waits."""

    version: int
    registered: int
    delivered: int = 0
    parked: int = 0
    discarded: int = 0


def lane_key(lane: str) -> bytes:
    """The key of a lane's row."""
    return lane.encode()


def row_key(lane: str, kind: RowKind, number: int) -> bytes:
    """The key of any other row."""
    return f"{lane}{kind.value}{number}".encode()


def parse_key(key: bytes) -> RowKey:
    """Read a key; raises ``CodecError`` where it is none."""
    text = key.decode("utf-8", "replace")
    for kind in (RowKind.BATCH, RowKind.PARKED, RowKind.HOUR):
        lane, separator, number = text.partition(kind.value)
        if separator:
            if number.isdecimal():
                return RowKey(lane, kind, int(number))
            raise CodecError(
                f"key {key!r} of a pending table is neither LANE nor LANE{kind.value}NUMBER; was it written by another program?"
            )
    return RowKey(text, RowKind.LANE, 0)


AnyRow = LaneRow | BatchRow | ParkedRow | HourRow

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, Any] = {kind: msgspec.msgpack.Decoder(kind) for kind in (LaneRow, BatchRow, ParkedRow, HourRow)}


def encode_row(row: AnyRow) -> bytes:
    """The value of a row."""
    return _encoder.encode(row)


_Row = TypeVar("_Row", LaneRow, BatchRow, ParkedRow, HourRow)


def decode_row(kind: type[_Row], key: bytes, value: bytes) -> _Row:
    """Read a row; raises ``CodecError`` where it is none of that kind."""
    try:
        row: _Row = _decoders[kind].decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"row {key!r} of a pending table is no {kind.__name__} ({error}); was it written by another program?"
        ) from error
    if row.version != ROW_VERSION:
        raise CodecError(
            f"row {key!r} of a pending table has version {row.version}, this program reads version {ROW_VERSION}: "
            "start the version of Distributary that wrote it, or a newer one"
        )
    return row
