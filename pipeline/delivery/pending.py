"""What waits in one partition: which batches were registered and are not done, and the rows that say so.

Memory runs ahead of the table. ``take`` gives the net effect since the last take, so a batch that came and was delivered
in between costs no row of its own, only its lane's counters. Each group leaves the ledger balanced, whatever prefix of
the groups a crash keeps: a lane's registered events are those delivered, parked, discarded and in its batch rows.
"""

import enum
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipeline.delivery.rows import (
    ROW_VERSION,
    BatchRow,
    Fate,
    LaneRow,
    RowGroup,
    batch_key,
    decode_batch_row,
    decode_lane_row,
    encode_row,
    lane_key,
    parse_key,
)
from pipeline.errors import CodecError, SequenceGapError
from pipeline.model.batch import Batch

ROWS_IN_GROUP = 512
"""A group travels in one record batch, so it stays far below the size that a broker takes."""


class PendingBatch:
    """A batch that is not done: events ``[first, end)`` of its lane, from the record at ``offset``. Times are UNIX seconds."""

    __slots__ = (
        "attempts",
        "body",
        "end",
        "fate",
        "first",
        "has_row",
        "is_in_flight",
        "next_at",
        "offset",
        "sealed_at",
        "size_bytes",
    )

    def __init__(self, first: int, end: int, offset: int, size_bytes: int, sealed_at: float) -> None:
        self.first = first
        self.end = end
        self.offset = offset
        self.size_bytes = size_bytes
        self.sealed_at = sealed_at
        self.attempts = 0
        self.next_at = 0.0
        self.has_row = False
        self.fate: Fate | None = None
        self.body: Batch | None = None
        self.is_in_flight = False

    @property
    def events(self) -> int:
        """How many events it holds."""
        return self.end - self.first

    def row(self) -> bytes:
        """The value of its row as things stand."""
        return encode_row(
            BatchRow(ROW_VERSION, self.end, self.offset, self.size_bytes, self.attempts, self.next_at, self.sealed_at)
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
    """A lane's ledger and what waits in it."""

    __slots__ = ("_changed", "_closed", "_new", "_taken", "batches", "events", "name", "registered", "waiting")

    def __init__(self, name: str, row: LaneRow | None = None) -> None:
        row = row or LaneRow(ROW_VERSION, 0)
        self.name = name
        self.registered = row.registered
        self.events = {
            Fate.DELIVERED: row.delivered_events,
            Fate.PARKED: row.parked_events,
            Fate.DISCARDED: row.discarded_events,
        }
        self.batches = {
            Fate.DELIVERED: row.delivered_batches,
            Fate.PARKED: row.parked_batches,
            Fate.DISCARDED: row.discarded_batches,
        }
        self.waiting: dict[int, PendingBatch] = {}
        """By end, which a batch keeps when its beginning is cut off."""
        self._taken = row
        self._new: list[PendingBatch] = []
        self._closed: list[PendingBatch] = []
        self._changed: dict[int, PendingBatch] = {}

    @property
    def waiting_events(self) -> int:
        """Events that are registered and not done."""
        return self.registered - sum(self.events.values())

    def register(self, batch: Batch, offset: int) -> Registered:
        """Take in a record by its numbers; raises ``SequenceGapError`` where events before it are missing."""
        if batch.end <= self.registered:
            known = self.waiting.get(batch.end)
            if known is None or known.offset != offset:
                return Registered(Arrival.REPEATED, batch, None)
            return Registered(Arrival.KNOWN, batch, known)
        if batch.first > self.registered:
            raise SequenceGapError(
                f"lane {batch.lane}: batch {batch.id} at offset {offset} should begin at {self.registered}: "
                f"events {self.registered} to {batch.first} are missing from the batches topic. Find out what deleted them "
                "(its retention must be longer than any stop of the workers) before you start again"
            )
        if batch.first < self.registered:
            batch = batch.from_sequence(self.registered)
        pending = PendingBatch(batch.first, batch.end, offset, size_of(batch), batch.sealed_at)
        self.registered = batch.end
        self.waiting[batch.end] = pending
        self._new.append(pending)
        return Registered(Arrival.NEW, batch, pending)

    def retry_at(self, pending: PendingBatch, next_at: float) -> None:
        """Note that a try failed and when the next is due; ``attempts`` of ``pending`` already counts it."""
        pending.next_at = next_at
        if pending.has_row:
            self._changed[pending.end] = pending

    def finish(self, pending: PendingBatch, fate: Fate) -> None:
        """The batch is done."""
        pending.fate = fate
        del self.waiting[pending.end]
        self.events[fate] += pending.events
        self.batches[fate] += 1
        if pending.has_row:
            self._changed.pop(pending.end, None)
            self._closed.append(pending)

    def take(self) -> list[RowGroup]:
        """What changed since the last take."""
        new, closed, changed = self._new, self._closed, self._changed
        self._new, self._closed, self._changed = [], [], {}
        if len(new) + len(closed) + len(changed) <= ROWS_IN_GROUP:
            group = [row for pending in new if (row := self._row_of_new(pending)) is not None]
            group += [(batch_key(self.name, pending.first), None) for pending in closed]
            group += [(batch_key(self.name, pending.first), pending.row()) for pending in changed.values()]
            if new or closed:
                self._taken = self._row_now()
                group.append((lane_key(self.name), encode_row(self._taken)))
            return [group]
        return self._take_in_steps(new, closed, changed)

    def _row_of_new(self, pending: PendingBatch) -> tuple[bytes, bytes | None] | None:
        if pending.fate is not None:
            return None
        pending.has_row = True
        return batch_key(self.name, pending.first), pending.row()

    def _take_in_steps(
        self, new: list[PendingBatch], closed: list[PendingBatch], changed: dict[int, PendingBatch]
    ) -> list[RowGroup]:
        """Several groups, each with the lane's row as it is after that group."""
        groups: list[RowGroup] = []
        for some in _parts(new):
            group = [row for pending in some if (row := self._row_of_new(pending)) is not None]
            self._taken = _counted(self._taken, some, registered=some[-1].end)
            groups.append([*group, (lane_key(self.name), encode_row(self._taken))])
        for some in _parts(closed):
            self._taken = _counted(self._taken, some, registered=self._taken.registered)
            removed: RowGroup = [(batch_key(self.name, pending.first), None) for pending in some]
            groups.append([*removed, (lane_key(self.name), encode_row(self._taken))])
        groups += [
            [(batch_key(self.name, pending.first), pending.row()) for pending in some]
            for some in _parts(list(changed.values()))
        ]
        return groups

    def _row_now(self) -> LaneRow:
        events, batches = self.events, self.batches
        return LaneRow(
            ROW_VERSION,
            self.registered,
            events[Fate.DELIVERED],
            batches[Fate.DELIVERED],
            events[Fate.PARKED],
            batches[Fate.PARKED],
            events[Fate.DISCARDED],
            batches[Fate.DISCARDED],
        )


class PendingState:
    """The durable state of one partition of a batches topic."""

    def __init__(self) -> None:
        self.lanes: dict[str, PendingLane] = {}
        self._touched: dict[str, PendingLane] = {}

    @classmethod
    def restore(cls, rows: Iterable[tuple[bytes, bytes]]) -> "PendingState":
        """The state that ``rows``, in any order, tell of; raises ``CodecError`` where they cannot be."""
        state = cls()
        found: dict[str, list[tuple[int, BatchRow]]] = {}
        for key, value in rows:
            lane, first = parse_key(key)
            if first is None:
                state.lanes[lane] = PendingLane(lane, decode_lane_row(key, value))
            else:
                found.setdefault(lane, []).append((first, decode_batch_row(key, value)))
        for name, batches in found.items():
            if name not in state.lanes:
                raise CodecError(
                    f"lane {name} has {len(batches)} batch rows in its pending table and no row of its own: the table was changed "
                    "by hand or by another program; delete the worker's datadir to rebuild the table from its changelog"
                )
            lane_state = state.lanes[name]
            for first, row in sorted(batches):
                pending = PendingBatch(first, row.end, row.offset, row.size_bytes, row.sealed_at)
                pending.attempts, pending.next_at, pending.has_row = row.attempts, row.next_at, True
                lane_state.waiting[row.end] = pending
        for lane_state in state.lanes.values():
            _check_balance(lane_state)
        return state

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

    def take(self) -> list[RowGroup]:
        """Row groups for all that changed since the last take; each leaves the ledger balanced."""
        touched, self._touched = self._touched, {}
        return [group for lane in touched.values() for group in lane.take() if group]


def size_of(batch: Batch) -> int:
    """What a batch's body costs in memory, in bytes."""
    return len(batch.block) + len(batch.ends)


def _counted(row: LaneRow, batches: Iterable[PendingBatch], *, registered: int) -> LaneRow:
    events = {
        Fate.DELIVERED: row.delivered_events,
        Fate.PARKED: row.parked_events,
        Fate.DISCARDED: row.discarded_events,
    }
    counts = {
        Fate.DELIVERED: row.delivered_batches,
        Fate.PARKED: row.parked_batches,
        Fate.DISCARDED: row.discarded_batches,
    }
    for pending in batches:
        if pending.fate is not None:
            events[pending.fate] += pending.events
            counts[pending.fate] += 1
    return LaneRow(
        ROW_VERSION,
        registered,
        events[Fate.DELIVERED],
        counts[Fate.DELIVERED],
        events[Fate.PARKED],
        counts[Fate.PARKED],
        events[Fate.DISCARDED],
        counts[Fate.DISCARDED],
    )


def _parts(batches: list[PendingBatch]) -> Iterator[list[PendingBatch]]:
    for start in range(0, len(batches), ROWS_IN_GROUP):
        yield batches[start : start + ROWS_IN_GROUP]


def _check_balance(lane: PendingLane) -> None:
    waiting = sum(pending.events for pending in lane.waiting.values())
    if waiting != lane.waiting_events:
        raise CodecError(
            f"lane {lane.name}: its pending table says that {lane.waiting_events} events wait and holds rows of {waiting}: the table was "
            "changed by hand or by another program; delete the worker's datadir to rebuild the table from its changelog"
        )
