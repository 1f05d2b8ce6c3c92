"""The events of open windows: in memory as long as there is room, else only in the table.

A piece is what one row holds. Its body may be dropped once its row is stored, and is read back when the window is sealed.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from pipeline.model.events import EventRun

_COMPACT_FROM = 1024


class Piece(msgspec.Struct, gc=False):
    """Some events of one window, as they came.

    ``ends`` are the packed end positions, empty for a single event. ``block`` is ``None`` where the events are only in the
    table, or no longer in a window at all.
    """

    count: int
    size_bytes: int
    block: bytes | None
    ends: bytes


def piece_of(run: EventRun) -> Piece:
    """Make a piece of a run that holds at least one event."""
    count = len(run.ends)
    return Piece(count, len(run.block), run.block, run.ends.tobytes() if count > 1 else b"")


def join(bodies: Sequence[tuple[bytes, bytes]]) -> EventRun:
    """Put blocks with their packed ends (empty: one event) behind each other."""
    blocks = [block for block, _ in bodies]
    if not any(packed for _, packed in bodies):
        return EventRun.of(blocks)
    ends: array[int] = array("I")
    base = 0
    for block, packed in bodies:
        if not packed:
            ends.append(base + len(block))
        elif not base:
            ends.frombytes(packed)
        else:
            more: array[int] = array("I")
            more.frombytes(packed)
            ends.extend([base + end for end in more])
        base += len(block) + 1
    return EventRun(blocks[0] if len(blocks) == 1 else b",".join(blocks), ends)


class Bodies:
    """Counts the bytes of events held in memory, and drops the oldest of those that can be read back.

    ``resident_bytes`` is changed by the stage as well: it adds what it appends and subtracts what it seals.
    """

    def __init__(self) -> None:
        self.resident_bytes = 0
        self._evictable: deque[Piece] = deque()
        self._compact_at = _COMPACT_FROM

    def stored(self, pieces: Iterable[Piece]) -> None:
        """The rows of these pieces are in the table: their bodies may go."""
        self._evictable.extend([piece for piece in pieces if piece.block is not None])
        if len(self._evictable) > self._compact_at:
            self._evictable = deque(piece for piece in self._evictable if piece.block is not None)
            self._compact_at = max(_COMPACT_FROM, 2 * len(self._evictable))

    def evict(self, down_to_bytes: int) -> None:
        """Drop stored bodies, oldest first, until at most ``down_to_bytes`` are held or none can be dropped."""
        while self.resident_bytes > down_to_bytes and self._evictable:
            piece = self._evictable.popleft()
            if piece.block is not None:
                self.resident_bytes -= piece.size_bytes
                piece.block = None
                piece.ends = b""
