"""What waits in one partition: which batches were registered and are not done, and the rows that say so.

Memory runs ahead of the table. ``take`` gives the net effect since the last take, so a batch that came and was delivered
in between costs no row of its own, only its lane's counters. A lane's rows of one take are one group, which leaves the
ledger balanced: a lane's registered events are those delivered, parked, discarded and in its batch rows.
"""

import enum
from collections.abc import Collection, Iterable
from typing import NamedTuple

from pipeline.delivery.counts import Counts, Hours
from pipeline.delivery.rows import (
    ROW_VERSION,
    BatchRow,
    Fate,
    HourRow,
    LaneRow,
    ParkedRow,
    RowGroup,
    RowKind,
    decode_row,
    encode_row,
    lane_key,
    parse_key,
    row_key,
)
from pipeline.errors import CodecError, SequenceGapError
from pipeline.model.batch import Batch, id_of
from pipeline.model.ranges import Ranges, count_of, without

HOUR_S = 3600
PARKED_KEPT_S = 7 * 86400.0
"""How long a parked batch can be replayed: as long as its record stays in the parked topic."""
MOST_PARKED = 20_000
"""Batches of a lane that can be replayed; of more, the longest parked ones stay in the topic alone."""
_LONGEST_REASON = 200


class PendingBatch:
    """Events of a lane that travel together and are not done. Times are UNIX seconds.

    They are part of the record at ``offset``. ``rest`` names them where there are gaps between ``first`` and ``end``.
    """

    __slots__ = (
        "attempts",
        "body",
        "end",
        "fate",
        "first",
        "forgiven",
        "hour",
        "is_in_flight",
        "next_at",
        "offset",
        "rest",
        "row_number",
        "sealed_at",
        "size_bytes",
        "tried_at",
    )

    def __init__(self, ranges: Ranges, offset: int, size_bytes: int, sealed_at: float, hour: int) -> None:
        self.set_ranges(ranges)
        self.offset = offset
        self.size_bytes = size_bytes
        self.sealed_at = sealed_at
        self.hour = hour
        self.attempts = 0
        self.forgiven = 0
        self.next_at = 0.0
        self.row_number: int | None = None
        self.fate: Fate | None = None
        self.body: Batch | None = None
        self.is_in_flight = False
        self.tried_at: float | None = None

    def set_ranges(self, ranges: Ranges) -> None:
        """Set which events these are."""
        self.first, self.end = ranges[0][0], ranges[-1][1]
        self.rest: Ranges = ranges if len(ranges) > 1 else ()

    @property
    def ranges(self) -> Ranges:
        """Their sequence numbers."""
        return self.rest or ((self.first, self.end),)

    @property
    def events(self) -> int:
        """How many they are."""
        return count_of(self.rest) if self.rest else self.end - self.first

    def name(self, lane: str) -> str:
        """What they are called: the id of the batch that is sent."""
        return id_of(lane, self.ranges)

    def row(self) -> bytes:
        """The value of its row as things stand."""
        return encode_row(
            BatchRow(
                ROW_VERSION,
                self.end,
                self.offset,
                self.size_bytes,
                self.attempts,
                self.next_at,
                self.sealed_at,
                self.rest,
                self.hour,
                self.forgiven,
            )
        )


class Arrival(enum.Enum):
    """What a record of the batches topic is to the state."""

    NEW = enum.auto()
    KNOWN = enum.auto()  # it waits already, from before a restart
    REPEATED = enum.auto()  # all its events were registered before


class Registered(NamedTuple):
    """What ``register`` made of a record; ``batch`` lacks the events that had been registered before."""

    arrival: Arrival
    batch: Batch
    pending: PendingBatch | None


class PendingLane:
    """A lane's ledger, what waits in it and what of it is parked."""

    def __init__(self, name: str, row: LaneRow | None = None) -> None:
        row = row or LaneRow(ROW_VERSION, 0)
        self.name = name
        self.registered = row.registered
        self.counts = Counts.of(row)
        self.hours = Hours()
        self.halted_for = row.halted_for
        self.breaker = row.breaker
        self.waiting: dict[int, PendingBatch] = {}
        """By first sequence number."""
        self.parked: dict[int, ParkedRow] = {}
        """By first sequence number, the longest parked first."""
        self._changed: dict[PendingBatch, None] = {}
        self._parked_changes: dict[int, ParkedRow | None] = {}
        self._row = row
        self._restored: dict[int, PendingBatch] = {}
        """What waited when the state was restored, by offset, until its record is seen again."""

    @property
    def waiting_events(self) -> int:
        """Events that are registered and not done."""
        return self.registered - self.counts.done_events

    # in

    def register(self, batch: Batch, offset: int) -> Registered:
        """Take in a record by its numbers; raises ``SequenceGapError`` where events before it are missing."""
        if batch.end <= self.registered:
            return self._known(batch, offset)
        if batch.first > self.registered:
            raise SequenceGapError(
                f"lane {batch.lane}: batch {batch.id} at offset {offset} should begin at {self.registered}: "
                f"events {self.registered} to {batch.first} are missing from the batches topic. Find out what deleted them "
                "(its retention must be longer than any stop of the workers) before you start again"
            )
        if batch.first < self.registered:
            batch = batch.from_sequence(self.registered)
        self.registered = batch.end
        pending = self._wait(batch, offset, int(batch.opened_at // HOUR_S))
        self.hours.registered(pending.hour, pending.events)
        return Registered(Arrival.NEW, batch, pending)

    def replay(self, batch: Batch, offset: int) -> Registered:
        """Take a parked batch up again. What is not parked (any more) was replayed before, or is none of this lane's."""
        row = self.parked.get(batch.first)
        if row is None or row.end != batch.end or row.rest != batch.rest or offset <= row.offset:
            return self._known(batch, offset)
        del self.parked[batch.first]
        self._parked_changes[batch.first] = None
        pending = self._wait(batch, offset, row.hour)
        self.hours.recall(row.hour, pending.events)
        self._count(Fate.PARKED, pending, -pending.events, batches=-1)
        return Registered(Arrival.NEW, batch, pending)

    def _known(self, batch: Batch, offset: int) -> Registered:
        known = self._restored.pop(offset, None)
        if known is None or known.fate is not None:
            return Registered(Arrival.REPEATED, batch, None)
        return Registered(Arrival.KNOWN, batch, known)

    def _wait(self, batch: Batch, offset: int, hour: int) -> PendingBatch:
        pending = PendingBatch(batch.ranges, offset, size_of(batch), batch.sealed_at, hour)
        self.waiting[pending.first] = pending
        self._changed[pending] = None
        return pending

    # what becomes of it

    def retry_at(self, pending: PendingBatch, next_at: float) -> None:
        """Note that a try failed and when the next is due; ``attempts`` of ``pending`` already counts it."""
        pending.next_at = next_at
        self._changed[pending] = None

    def keep_only(self, pending: PendingBatch, ranges: Ranges) -> None:
        """The others of its events have been delivered; ``ranges`` are still to come."""
        gone = pending.events
        self._reshape(pending, ranges)
        self._count(Fate.DELIVERED, pending, gone - pending.events, batches=0)

    def split(self, pending: PendingBatch, ranges: Ranges) -> PendingBatch:
        """Make ``ranges`` of its events a batch of their own, which has not been tried; ``pending`` keeps the others."""
        size_bytes, events = pending.size_bytes, pending.events
        self._reshape(pending, without(pending.ranges, ranges))
        part = PendingBatch(ranges, pending.offset, 0, pending.sealed_at, pending.hour)
        part.size_bytes = size_bytes * part.events // events
        pending.size_bytes = size_bytes - part.size_bytes
        self.waiting[part.first] = part
        self._changed[part] = None
        return part

    def _reshape(self, pending: PendingBatch, ranges: Ranges) -> None:
        del self.waiting[pending.first]
        pending.set_ranges(ranges)
        self.waiting[pending.first] = pending
        self._changed[pending] = None

    def finish(self, pending: PendingBatch, fate: Fate, *, now: float = 0.0, reason: str = "") -> None:
        """The batch is done, ``now`` (UNIX seconds) and for ``reason`` where it is parked."""
        pending.fate = fate
        del self.waiting[pending.first]
        self._count(fate, pending, pending.events, batches=1)
        self._changed[pending] = None
        if self._restored.get(pending.offset) is pending:
            del self._restored[pending.offset]
        if fate is Fate.PARKED:
            row = ParkedRow(
                ROW_VERSION, pending.end, pending.rest, pending.hour, now, reason[:_LONGEST_REASON], pending.offset
            )
            self.parked.pop(pending.first, None)
            self.parked[pending.first] = self._parked_changes[pending.first] = row
            self.forget_parked(now - PARKED_KEPT_S)

    def forget_parked(self, before: float) -> None:
        """Drop the rows of what was parked before that time (UNIX seconds), and of more than are kept. The counts stay."""
        while self.parked:
            first = next(iter(self.parked))
            if self.parked[first].parked_at >= before and len(self.parked) <= MOST_PARKED:
                return
            del self.parked[first]
            self._parked_changes[first] = None

    def _count(self, fate: Fate, pending: PendingBatch, events: int, *, batches: int) -> None:
        self.counts.add(fate, events, batches)
        self.hours.add(pending.hour, fate, events)

    # out

    def take(self) -> RowGroup:
        """What changed since the last take."""
        removed: dict[bytes, bytes | None] = {}
        written: dict[bytes, bytes | None] = {}
        for pending in self._changed:
            if pending.row_number is not None and (pending.fate is not None or pending.row_number != pending.first):
                removed[row_key(self.name, RowKind.BATCH, pending.row_number)] = None
                pending.row_number = None
            if pending.fate is None:
                pending.row_number = pending.first
                written[row_key(self.name, RowKind.BATCH, pending.first)] = pending.row()
        for first, row in self._parked_changes.items():
            key = row_key(self.name, RowKind.PARKED, first)
            if row is None:
                removed[key] = None
            else:
                written[key] = encode_row(row)
        for hour, counted in self.hours.take().items():
            key = row_key(self.name, RowKind.HOUR, hour)
            if counted is None:
                removed[key] = None
            else:
                written[key] = encode_row(counted)
        self._changed, self._parked_changes = {}, {}
        row_now = self.counts.row(self.registered, self.halted_for, self.breaker)
        if row_now != self._row:
            self._row = row_now
            written[lane_key(self.name)] = encode_row(row_now)
        return [*(removed | written).items()]

    # from rows

    def restore_batch(self, first: int, row: BatchRow) -> None:
        """A stored row of a batch that is not done."""
        pending = PendingBatch(row.rest or ((first, row.end),), row.offset, row.size_bytes, row.sealed_at, row.hour)
        pending.attempts, pending.forgiven = row.attempts, row.forgiven
        pending.next_at, pending.row_number = row.next_at, first
        self.waiting[first] = self._restored[row.offset] = pending


class PendingState:
    """The durable state of one partition of a batches topic."""

    def __init__(self) -> None:
        self.lanes: dict[str, PendingLane] = {}
        self._touched: dict[str, PendingLane] = {}

    @classmethod
    def restore(cls, rows: Iterable[tuple[bytes, bytes]]) -> "PendingState":
        """The state that ``rows``, in any order, tell of; raises ``CodecError`` where they cannot be."""
        state = cls()
        batches: list[tuple[str, int, BatchRow]] = []
        parked: list[tuple[str, int, ParkedRow]] = []
        hours: list[tuple[str, int, HourRow]] = []
        for key, value in rows:
            lane, kind, number = parse_key(key)
            match kind:
                case RowKind.LANE:
                    state.lanes[lane] = PendingLane(lane, decode_row(LaneRow, key, value))
                case RowKind.BATCH:
                    batches.append((lane, number, decode_row(BatchRow, key, value)))
                case RowKind.PARKED:
                    parked.append((lane, number, decode_row(ParkedRow, key, value)))
                case RowKind.HOUR:
                    hours.append((lane, number, decode_row(HourRow, key, value)))
        for name, first, batch_row in sorted(batches, key=lambda each: each[:2]):
            state._known(name).restore_batch(first, batch_row)
        for name, first, parked_row in sorted(parked, key=lambda each: each[2].parked_at):
            state._known(name).parked[first] = parked_row
        for name, hour, hour_row in hours:
            state._known(name).hours.restore(hour, hour_row)
        for lane_state in state.lanes.values():
            _check_balance(lane_state)
        return state

    def _known(self, name: str) -> PendingLane:
        lane = self.lanes.get(name)
        if lane is None:
            raise CodecError(
                f"lane {name} has rows in its pending table and no row of its own: the table was changed by hand or by another "
                "program; delete the worker's datadir to rebuild the table from its changelog"
            )
        return lane

    @property
    def has_changes(self) -> bool:
        """Whether ``take`` has something to give."""
        return bool(self._touched)

    def touch(self, name: str) -> PendingLane:
        """The lane of that name, about to change."""
        lane = self._touched.get(name)
        if lane is None:
            lane = self.lanes.get(name)
            if lane is None:
                lane = self.lanes[name] = PendingLane(name)
            self._touched[name] = lane
        return lane

    def take(self, *, but_of: Collection[str] = ()) -> list[RowGroup]:
        """A row group for each lane that changed since its last take, but those in ``but_of``; each leaves the ledger balanced."""
        touched = self._touched
        self._touched = {name: touched.pop(name) for name in but_of if name in touched}
        return [group for lane in touched.values() if (group := lane.take())]


def size_of(batch: Batch) -> int:
    """What a batch's body costs in memory, in bytes."""
    return len(batch.block) + len(batch.ends)


def _check_balance(lane: PendingLane) -> None:
    waiting = sum(pending.events for pending in lane.waiting.values())
    if waiting != lane.waiting_events:
        raise CodecError(
            f"lane {lane.name}: its pending table says that {lane.waiting_events} events wait and holds rows of {waiting}: the table was "
            "changed by hand or by another program; delete the worker's datadir to rebuild the table from its changelog"
        )
