"""The rows of a ``pending-{kind}`` table.

A lane has one row under its name: how far its sequence is registered, and what became of what is done. A batch that is
not done has one under ``{lane}/{first}``. In every stored state ``registered`` is the sum of the delivered, parked and
discarded events and of those in the lane's batch rows: rows that belong together are written in one group.
"""

import enum
from typing import TypeVar

import msgspec

from pipeline.errors import CodecError

ROW_VERSION = 1
_SEPARATOR = "/"

RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach the changelog in one record batch: all of them or none. ``None`` removes the row."""


class Fate(enum.StrEnum):
    """How a batch ended."""

    DELIVERED = "delivered"
    PARKED = "parked"
    DISCARDED = "discarded"


class LaneRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A lane's ledger: events ``[0, registered)`` of its sequence came, and so many of them are done."""

    version: int
    registered: int
    delivered_events: int = 0
    delivered_batches: int = 0
    parked_events: int = 0
    parked_batches: int = 0
    discarded_events: int = 0
    discarded_batches: int = 0

    @property
    def done_events(self) -> int:
        """Events that wait no more."""
        return self.delivered_events + self.parked_events + self.discarded_events


class BatchRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A batch that is not done; its first sequence number stands in the key.

    ``offset`` is where its record lies in the batches topic; that record may begin earlier, where its first events had
    been registered before. ``attempts`` counts the tries made; ``next_at`` is when the next is due, in UNIX seconds, 0 for
    now; ``sealed_at`` is UNIX seconds.
    """

    version: int
    end: int
    offset: int
    size_bytes: int
    attempts: int
    next_at: float
    sealed_at: float


def lane_key(lane: str) -> bytes:
    """The key of a lane's row."""
    return lane.encode()


def batch_key(lane: str, first: int) -> bytes:
    """The key of a batch's row."""
    return f"{lane}{_SEPARATOR}{first}".encode()


def parse_key(key: bytes) -> tuple[str, int | None]:
    """Split a key into the lane and, in a batch's row, its first sequence number."""
    lane, separator, first = key.decode().partition(_SEPARATOR)
    if not separator:
        return lane, None
    try:
        return lane, int(first)
    except ValueError as error:
        raise CodecError(
            f"key {key!r} of a pending table is neither LANE nor LANE/FIRST; was it written by another program?"
        ) from error


_encoder = msgspec.msgpack.Encoder()
_lane_decoder = msgspec.msgpack.Decoder(LaneRow)
_batch_decoder = msgspec.msgpack.Decoder(BatchRow)


def encode_row(row: LaneRow | BatchRow) -> bytes:
    """The value of a row."""
    return _encoder.encode(row)


def decode_lane_row(key: bytes, value: bytes) -> LaneRow:
    """Read a lane's row; raises ``CodecError`` where it is none."""
    return _decode(_lane_decoder, "lane", key, value)


def decode_batch_row(key: bytes, value: bytes) -> BatchRow:
    """Read a batch's row; raises ``CodecError`` where it is none."""
    return _decode(_batch_decoder, "batch", key, value)


_Row = TypeVar("_Row", LaneRow, BatchRow)


def _decode(decoder: "msgspec.msgpack.Decoder[_Row]", what: str, key: bytes, value: bytes) -> _Row:
    try:
        row = decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"row {key!r} of a pending table is no {what} row ({error}); was it written by another program?"
        ) from error
    _check_version(key, row.version)
    return row


def _check_version(key: bytes, version: int) -> None:
    if version != ROW_VERSION:
        raise CodecError(
            f"row {key!r} of a pending table has version {version}, this program reads version {ROW_VERSION}: "
            "start the version of Distributary that wrote it, or a newer one"
        )
