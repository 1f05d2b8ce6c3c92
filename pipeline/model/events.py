"""A run of encoded events that is cut, joined and sent without being decoded again.

Stages hand events on as one block of bytes, the events' JSON objects with a comma between two, and the end position of
each. A batch's JSON array is then ``[`` + block + ``]``, and a part of a run is two slices, whatever the events hold.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

_END_TYPECODE = "I"


class EventRun(NamedTuple):
    """Encoded events in order.

    ``block`` is the events' JSON objects joined with ``,``; ``ends[i]`` is the position in ``block`` just after event ``i``.
    """

    block: bytes
    ends: "array[int]"

    @classmethod
    def of(cls, events: Sequence[bytes]) -> Self:
        """Join single encoded events."""
        ends: array[int] = array(_END_TYPECODE)
        position = -1
        for event in events:
            position += len(event) + 1
            ends.append(position)
        return cls(b",".join(events), ends)

    @classmethod
    def unpack(cls, block: bytes, packed_ends: bytes) -> Self:
        """Restore a run from ``block`` and what ``packed_ends`` gave."""
        ends: array[int] = array(_END_TYPECODE)
        ends.frombytes(packed_ends)
        return cls(block, ends)

    @classmethod
    def join(cls, runs: Sequence["EventRun"]) -> Self:
        """Put runs behind each other; each must hold at least one event."""
        if len(runs) == 1:
            return cls(runs[0].block, runs[0].ends)
        ends: array[int] = array(_END_TYPECODE)
        base = 0
        for run in runs:
            ends.extend(run.ends if not base else [base + end for end in run.ends])
            base += len(run.block) + 1
        return cls(b",".join([run.block for run in runs]), ends)

    def packed_ends(self) -> bytes:
        """``ends`` as little-endian 32-bit numbers, for storage."""
        return self.ends.tobytes()

    def event_count(self) -> int:
        """Return the number of events."""
        return len(self.ends)

    def start(self, index: int) -> int:
        """Position in ``block`` where event ``index`` begins."""
        return self.ends[index - 1] + 1 if index else 0

    def part(self, first: int, last: int) -> "EventRun":
        """Events ``first`` up to, not including, ``last``, as a run of their own (``first < last``)."""
        if first == 0 and last == len(self.ends):
            return self
        start = self.start(first)
        block = self.block[start : self.ends[last - 1]]
        if not start:
            return EventRun(block, self.ends[:last])
        return EventRun(block, array(_END_TYPECODE, [end - start for end in self.ends[first:last]]))

    def events(self) -> Iterator[bytes]:
        """Each event's bytes."""
        start = 0
        for end in self.ends:
            yield self.block[start:end]
            start = end + 1


EMPTY_RUN = EventRun(b"", array(_END_TYPECODE))
