"""The rows of table ``windows``: their keys, their values, and how both are read back.

A lane's open window is rows ``{lane}/0``, ``{lane}/1``, ... each with the events that were appended between two writes. When
the window is sealed, the next one starts again at slot 0 and the slots above are deleted in the same row group. Numbers
are kept small and what follows from the rest is left out: a window's rows must cost little more than its events.
"""

from typing import Final, NamedTuple, TypeVar

import msgspec

from pipeline.errors import CodecError

RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach the changelog in one record batch, all or none, in order; ``None`` deletes."""

_VERSION: Final = 1
_SOURCE_MARK: Final = b"@"  # no lane begins with it


class WindowRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A part of a lane's open window.

    ``first`` is the sequence number of the window's first event; the row holds the ``count`` events from ``first + skipped`` on.
    ``applied_offset`` is that of the last routed record the lane took (-1: none). ``opened_at`` (UNIX seconds) stands in
    slot 0 only, and only while the window holds events. ``ends`` is left out for a single event.
    """

    version: int
    first: int
    skipped: int
    count: int
    applied_offset: int
    opened_at: float | None
    ends: bytes
    block: bytes

    @property
    def row_first(self) -> int:
        """Sequence number of the row's first event."""
        return self.first + self.skipped

    @property
    def row_end(self) -> int:
        """Sequence number after the row's last event."""
        return self.first + self.skipped + self.count


class SourceRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How far a source partition has been applied; see ``pipeline.windows.sources.Watermark`` for the fields."""

    version: int
    epoch: int
    epoch_floor: int
    source_offset: int
    newest_ms: int
    routed_offset: int


class WindowKey(NamedTuple):
    """Key of a ``WindowRow``."""

    lane: str
    slot: int


class SourceKey(NamedTuple):
    """Key of a ``SourceRow``."""

    topic: str
    partition: int


_encode = msgspec.msgpack.Encoder().encode
_window_decoder = msgspec.msgpack.Decoder(WindowRow)
_source_decoder = msgspec.msgpack.Decoder(SourceRow)


def window_key(lane: str, slot: int) -> bytes:
    """The key of a part of the lane's window."""
    return f"{lane}/{slot}".encode()


def source_key(topic: str, partition: int) -> bytes:
    """The key of a source partition's watermark."""
    return f"@{topic}/{partition}".encode()


def encode_window_row(  # noqa: PLR0917 positional, as the row is: it is called once a lane and write
    first: int, skipped: int, count: int, applied_offset: int, opened_at: float | None, ends: bytes, block: bytes
) -> bytes:
    """The value of a part of a window; the fields are those of ``WindowRow``."""
    return _encode((_VERSION, first, skipped, count, applied_offset, opened_at, ends, block))


def encode_source_row(epoch: int, epoch_floor: int, source_offset: int, newest_ms: int, routed_offset: int) -> bytes:
    """The value of a watermark; the fields are those of ``SourceRow``."""
    return _encode((_VERSION, epoch, epoch_floor, source_offset, newest_ms, routed_offset))


def parse_key(key: bytes) -> WindowKey | SourceKey:
    """Tell whose row it is; raises ``CodecError`` where the key is not one of this table's."""
    name, _, number = key.rpartition(b"/")
    if not name or not number.isdigit() or not name.isascii():
        raise CodecError(
            f"table windows holds a row with the key {key!r}, expected LANE/SLOT; was it written by another program?"
        )
    if name.startswith(_SOURCE_MARK):
        return SourceKey(name[1:].decode("ascii"), int(number))
    return WindowKey(name.decode("ascii"), int(number))


def decode_window_row(key: bytes, value: bytes) -> WindowRow:
    """Read a part of a window; raises ``CodecError`` where the value is none, or of a newer version."""
    row = _decode(_window_decoder, key, value)
    if len(row.ends) != (4 * row.count if row.count > 1 else 0):
        raise CodecError(
            f"row {key!r} of table windows says {row.count} events but has {len(row.ends)} bytes of end positions"
        )
    return row


def decode_source_row(key: bytes, value: bytes) -> SourceRow:
    """Read a watermark; raises ``CodecError`` where the value is none, or of a newer version."""
    return _decode(_source_decoder, key, value)


_Row = TypeVar("_Row", WindowRow, SourceRow)


def _decode(decoder: "msgspec.msgpack.Decoder[_Row]", key: bytes, value: bytes) -> _Row:
    try:
        row = decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"row {key!r} of table windows cannot be read ({error}); was it written by another program?"
        ) from error
    if row.version != _VERSION:
        raise CodecError(
            f"row {key!r} of table windows has version {row.version}, this worker reads {_VERSION}: "
            "start the version of distributary that wrote it"
        )
    return row
