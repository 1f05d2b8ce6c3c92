"""From the rows of the table back to lanes and watermarks.

Row groups are atomic and in order, so each lane's rows are those of one window, whichever groups a crash cut off. Rows of
earlier windows are put up with all the same: they are known by their numbers, left alone and deleted when the lane is next written.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.errors import SequenceGapError
from pipeline.windows.bodies import Piece
from pipeline.windows.lane import LaneWindow
from pipeline.windows.rows import SourceKey, SourceRow, WindowRow, decode_source_row, decode_window_row, parse_key


class _Part(NamedTuple):
    """A window row without its events; sorts by what makes a row its lane's newest."""

    applied_offset: int
    row_end: int
    first: int
    slot: int
    events: int
    size_bytes: int
    opened_at: float | None


class Restored(NamedTuple):
    """What the rows of a routed partition say."""

    lanes: dict[str, LaneWindow]
    sources: list[tuple[SourceKey, SourceRow]]


def read_rows(rows: Iterable[tuple[bytes, bytes]]) -> Restored:
    """Read all rows of a routed partition, in any order; the events stay in the table.

    Raises ``CodecError`` for a row that cannot be read and ``SequenceGapError`` for a window with a hole.
    """
    parts: dict[str, list[_Part]] = {}
    sources: list[tuple[SourceKey, SourceRow]] = []
    for key, value in rows:
        owner = parse_key(key)
        if isinstance(owner, SourceKey):
            sources.append((owner, decode_source_row(key, value)))
        else:
            parts.setdefault(owner.lane, []).append(_part(owner.slot, decode_window_row(key, value)))
    return Restored({lane: _lane(lane, of_lane) for lane, of_lane in parts.items()}, sources)


def _part(slot: int, row: WindowRow) -> _Part:
    return _Part(row.applied_offset, row.row_end, row.first, slot, row.count, len(row.block), row.opened_at)


def _lane(name: str, parts: list[_Part]) -> LaneWindow:
    head = max(parts)
    lane = LaneWindow(name)
    lane.first = lane.next = head.first
    lane.applied_offset = head.applied_offset
    lane.rows = 1 + max(part.slot for part in parts)
    for part in sorted(
        (part for part in parts if part.first == head.first and part.events), key=lambda part: part.slot
    ):
        if part.slot != len(lane.pieces) or part.row_end != lane.next + part.events:
            break
        if part.opened_at is not None:
            lane.opened_at = part.opened_at
        lane.size_bytes += part.size_bytes + (lane.next > lane.first)
        lane.next = part.row_end
        lane.pieces.append(Piece(part.events, part.size_bytes, None, b""))
    if lane.next != head.row_end:
        raise SequenceGapError(
            f"lane {name}: table windows holds its events {lane.first} to {lane.next}, then a hole, but they reach to {head.row_end}. "
            "Delete the worker's data directory to rebuild the table from its changelog; if it says so again, the changelog lost rows"
        )
    return lane
