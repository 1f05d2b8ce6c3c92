"""What is parked and can be replayed, and which of it somebody means."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from pipeline.delivery.rows import LaneRow, ParkedRow, RowKind, decode_row, parse_key
from pipeline.model.batch import Batch, Request, batch_id, encode_batch, integration_of, parse_batch_id
from pipeline.model.ranges import Ranges, count_of

_PART_COUNT = re.compile(r":\d+-\d+~(\d+)$")


class ParkedBatch(NamedTuple):
    """A parked batch: the kind of its sink, the partition that its lane lives on, its lane, its first number, its row."""

    kind: str
    partition: int
    lane: str
    first: int
    row: ParkedRow

    @property
    def ranges(self) -> Ranges:
        """Its events' sequence numbers."""
        return self.row.rest or ((self.first, self.row.end),)

    @property
    def events(self) -> int:
        """How many they are."""
        return count_of(self.ranges)

    @property
    def id(self) -> str:
        """Its name."""
        name = batch_id(self.lane, self.first, self.row.end)
        return f"{name}~{self.events}" if self.row.rest else name

    @property
    def integration(self) -> str:
        """Whose it is."""
        return integration_of(self.lane)

    @property
    def key(self) -> "BatchKey":
        """What tells it from every other batch."""
        return self.kind, self.lane, self.ranges


BatchKey = tuple[str, str, Ranges]
"""A kind of sink, a lane and sequence numbers of it."""


class PendingRows(NamedTuple):
    """The rows of all pending tables, as far as a replay needs them; ``lanes`` by kind of sink and name."""

    parked: list[ParkedBatch]
    lanes: dict[tuple[str, str], LaneRow]


def is_wanted(key: bytes) -> bool:
    """Whether a row of a pending table is one that :func:`read_pending` looks at."""
    return parse_key(key).kind in (RowKind.LANE, RowKind.PARKED)


def read_pending(tables: Mapping[str, Mapping[int, Iterable[tuple[bytes, bytes]]]]) -> PendingRows:
    """Read the rows of the pending tables, by kind of sink and partition; the longest parked batch first.

    Raises ``CodecError`` where one cannot be read.
    """
    found = PendingRows([], {})
    for kind, table in tables.items():
        for partition, rows in table.items():
            for key, value in rows:
                lane, row_kind, number = parse_key(key)
                if row_kind is RowKind.PARKED:
                    found.parked.append(ParkedBatch(kind, partition, lane, number, decode_row(ParkedRow, key, value)))
                elif row_kind is RowKind.LANE:
                    found.lanes[kind, lane] = decode_row(LaneRow, key, value)
    found.parked.sort(key=lambda each: (each.row.parked_at, each.lane, each.first))
    return found


class Named(NamedTuple):
    """A batch id that somebody wrote: events ``[first, end)`` of ``lane``, or a part with just so many ``events``."""

    text: str
    lane: str
    first: int
    end: int
    events: int | None

    @classmethod
    def parse(cls, text: str) -> "Named":
        """Read ``crm:0-100`` or ``crm:3-18~3``; raises ``ValueError`` where it is no batch id."""
        lane, first, end = parse_batch_id(text)
        if first >= end:
            raise ValueError(f"{text!r} holds no event: expected LANE:FIRST-END with END above FIRST")
        part = _PART_COUNT.search(text)
        return cls(text, lane, first, end, int(part[1]) if part else None)

    def means(self, batch: ParkedBatch) -> bool:
        """Whether ``batch`` is what was named, or a part of it."""
        if batch.lane != self.lane:
            return False
        if self.events is not None:
            return batch.id == self.text
        return self.first <= batch.first and batch.row.end <= self.end


@dataclass(frozen=True, slots=True)
class Selection:
    """Which parked batches are meant: those that meet every condition that is set; without any, all.

    ``since`` and ``until`` are UNIX seconds of the parking, the latter not included. ``reasons`` are texts of which one
    must stand in the batch's reason, upper and lower case alike. Several of one condition: any of them.
    """

    batches: tuple[Named, ...] = ()
    integrations: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    reasons: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None

    def takes(self, batch: ParkedBatch) -> bool:
        """Whether ``batch`` is meant."""
        row = batch.row
        return (
            (not self.integrations or batch.integration in self.integrations)
            and (not self.kinds or batch.kind in self.kinds)
            and (self.since is None or row.parked_at >= self.since)
            and (self.until is None or row.parked_at < self.until)
            and (not self.reasons or any(text.casefold() in row.reason.casefold() for text in self.reasons))
            and (not self.batches or any(named.means(batch) for named in self.batches))
        )


def replay_record(batch: Batch, now: float) -> bytes:
    """The record of a batches topic that asks for a parked batch to be taken up again, from ``now`` (UNIX seconds) on.

    The delivery stage does so once, however often the record comes: only while the batch is parked.
    """
    return encode_batch(msgspec.structs.replace(batch, sealed_at=now, request=Request.REPLAY))
