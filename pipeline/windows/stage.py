"""The window stage of one routed partition: frames in, batches and table rows out.

The numbers that events get depend on the stored rows and the routed records alone, never on when the stage ticked or was
asked for its output. So a crash between any two writes is harmless: what is applied again gets the same numbers, and the
delivery stage drops, by number, what it has seen. Rows follow the batches that they no longer hold, and watermarks follow the rows that they speak for.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from pipeline.errors import CodecError, SequenceGapError
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice
from pipeline.windows.bodies import Bodies, Piece, join, piece_of
from pipeline.windows.lane import LaneView, LaneWindow
from pipeline.windows.restore import read_rows
from pipeline.windows.rows import RowGroup, decode_window_row, encode_window_row, window_key
from pipeline.windows.rule import SealLimits, cuts, due_s, is_full
from pipeline.windows.sources import SourceReset, Sources
from pipeline.windows.timers import AgeTimers

GROUP_BYTES = 256 << 10
CLOCK_STEP_S = 1.0
OVERDUE_APART_S = 0.01
"""Between two windows of a partition that are overdue when it is restored."""
_ROW_OVERHEAD_BYTES = 64


class WindowWrites(NamedTuple):
    """What is to be written since the last take.

    The batches first, in order a lane; when the broker has acknowledged them, the groups, in order; when those are
    acknowledged and in the table, ``WindowStage.stored``.
    """

    batches: list[Batch]
    groups: list[RowGroup]
    pieces: list[Piece]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.batches and not self.groups


class WindowSnapshot(NamedTuple):
    """Figures for metrics. Counts are since the start; sizes in bytes; ``oldest_opened_at`` in UNIX seconds."""

    lanes: int
    open_windows: int
    open_events: int
    open_bytes: int
    resident_bytes: int
    oldest_opened_at: float | None
    appended: int
    skipped: int
    seals: Mapping[SealReason, int]
    source_resets: int


class WindowStage:
    """All lanes of one routed partition.

    ``limits`` gives a lane's limits; it must also answer for lanes whose integration is gone, so that their last window is
    sealed. ``read_row`` reads the stored rows of this partition. ``source_epoch`` is that of faust.yml. ``group_bytes`` is
    how large a row group may grow before the next one begins.

    ``appended`` and ``skipped`` count events, ``seals`` batches by reason.
    """

    def __init__(
        self,
        limits: Callable[[str], SealLimits],
        read_row: Callable[[bytes], bytes | None],
        *,
        source_epoch: int = 1,
        on_source_reset: SourceReset | None = None,
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._limits = limits
        self._read_row = read_row
        self._group_bytes = group_bytes
        self._lanes: dict[str, LaneWindow] = {}
        self._sources = Sources(source_epoch, on_source_reset)
        self._bodies = Bodies()
        self._timers = AgeTimers()
        self._touched: list[LaneWindow] = []
        self._batches: list[Batch] = []
        self._latest_s = 0.0
        self.appended = 0
        self.skipped = 0
        self.seals: Counter[SealReason] = Counter()

    def restore(self, rows: Iterable[tuple[bytes, bytes]], now_s: float, apart_s: float = OVERDUE_APART_S) -> None:
        """Take up the stored rows, in any order; the events stay in the table until their window is sealed.

        Windows that are overdue at ``now_s`` become due one each ``apart_s`` seconds. Raises ``CodecError`` and
        ``SequenceGapError`` where the rows cannot be read or miss events.
        """
        restored = read_rows(rows)
        self._lanes.update(restored.lanes)
        for key, row in restored.sources:
            self._sources.restore(key, row)
        self.rearm(now_s, apart_s)

    def apply(self, offset: int, frame: Frame, now_s: float) -> None:
        """Append what is new in the routed record at ``offset``.

        Raises ``SourceRecreatedError`` (before anything is changed) where a source topic's offsets start again.
        """
        applied = self._sources.admit(offset, frame)
        if applied >= frame.last_offset:
            self.skipped += sum(len(piece.ends) // 4 for piece in frame.slices)
            return
        seen_distance = applied - frame.first_offset
        lanes, limits_of = self._lanes, self._limits
        for piece in frame.slices:
            name = piece.lane
            lane = lanes.get(name)
            if lane is not None and lane.applied_offset >= offset:
                _check_lanes_once(offset, frame)
                self.skipped += len(piece.ends) // 4
                continue
            new: Slice | None = piece if seen_distance < 0 else self._unseen(piece, seen_distance)
            if new is None:
                continue
            if lane is None:
                lane = lanes[name] = LaneWindow(name)
            if not lane.is_touched:
                lane.is_touched = True
                self._touched.append(lane)
            lane.applied_offset = offset
            block, ends = new.block, new.ends
            count = len(ends) // 4
            held = lane.next - lane.first
            size_bytes = lane.size_bytes + len(block) + (held > 0)
            self.appended += count
            limits = limits_of(name)
            if held + count >= limits.max_events or size_bytes >= limits.max_bytes:
                self._append_and_seal(lane, new.run(), limits, now_s)
                continue
            lane.tail.append(Piece(count, len(block), block, ends if count > 1 else b""))
            lane.next += count
            lane.size_bytes = size_bytes
            self._bodies.resident_bytes += len(block)
            if not held:
                lane.opened_at = now_s
                self._timers.arm(lane, now_s + limits.max_age_s)
        self._latest_s = max(self._latest_s, now_s)

    def tick(self, now_s: float, most_seals: int = 500) -> int:
        """Seal the windows that are due, about ``most_seals`` at most; return how many were."""
        if now_s < self._latest_s - CLOCK_STEP_S:
            self.rearm(now_s)
        self._latest_s = max(self._latest_s, now_s)
        sealed_before = self.seals.total()
        while self.seals.total() - sealed_before < most_seals:
            lane = self._timers.pop_due(self._lanes, now_s)
            if lane is None:
                break
            if lane.next > lane.first:
                self._seal_if_due(lane, now_s)
        return self.seals.total() - sealed_before

    def rearm(self, now_s: float, apart_s: float = 0.0) -> None:
        """Set all age timers anew: after a restore, a change of limits, or a clock that was set back.

        A window cannot have been opened in the future: it is counted from now. What is overdue becomes due one each
        ``apart_s`` seconds, what has waited longest first: so nothing is put off for ever where this happens again and again.
        The cost grows with the number of lanes.
        """
        timers: list[tuple[float, LaneWindow]] = []
        overdue: list[tuple[float, LaneWindow]] = []
        for name, lane in self._lanes.items():
            lane.timer_s = math.inf
            if lane.next > lane.first:
                lane.opened_at = min(lane.opened_at, now_s)
                limits = self._limits(name)
                at_s = due_s(lane.opened_at, limits)
                if at_s <= now_s or is_full(lane.next - lane.first, lane.size_bytes, limits):
                    overdue.append((at_s, lane))
                else:
                    timers.append((at_s, lane))
        overdue.sort(key=itemgetter(0))
        timers += [(now_s + turn * apart_s, lane) for turn, (_, lane) in enumerate(overdue)]
        self._timers.rearm(timers)
        self._latest_s = now_s

    def limits_changed(self, is_concerned: Callable[[str], bool], now_s: float) -> None:
        """Seal by other limits from now on: look again when each lane that ``is_concerned`` is due, which may be at once."""
        for name, lane in self._lanes.items():
            if lane.next > lane.first and is_concerned(name):
                limits = self._limits(name)
                is_due = is_full(lane.next - lane.first, lane.size_bytes, limits)
                self._timers.arm(lane, now_s if is_due else due_s(lane.opened_at, limits))

    def take(self) -> WindowWrites:
        """Everything to be written since the last take; several takes may be under way, in order."""
        groups: list[RowGroup] = []
        group: RowGroup = []
        group_bytes = 0
        pieces: list[Piece] = []
        for lane in self._touched:
            lane.is_touched = False
            group_bytes += self._save(lane, group, pieces)
            if group_bytes >= self._group_bytes:
                groups.append(group)
                group, group_bytes = [], 0
        group += self._sources.take()
        if group:
            groups.append(group)
        writes = WindowWrites(self._batches, groups, pieces)
        self._touched, self._batches = [], []
        return writes

    def stored(self, writes: WindowWrites) -> None:
        """The groups of ``writes`` are acknowledged and in the table: their events may leave memory."""
        self._bodies.stored(writes.pieces)

    @property
    def resident_bytes(self) -> int:
        """Bytes of open windows' events that are held in memory."""
        return self._bodies.resident_bytes

    def evict(self, down_to_bytes: int) -> None:
        """Drop stored events from memory, oldest first, until at most ``down_to_bytes`` are held, if that can be."""
        self._bodies.evict(down_to_bytes)

    def lanes(self) -> Iterator[LaneView]:
        """Every lane that ever had an event here."""
        return (lane.view() for lane in self._lanes.values())

    def lane(self, name: str) -> LaneView | None:
        """One lane."""
        lane = self._lanes.get(name)
        return None if lane is None else lane.view()

    def open_events(self, name: str) -> EventRun | None:
        """The events of a lane's open window, which stay there; ``None`` where it has none. May read the table."""
        lane = self._lanes.get(name)
        if lane is None or lane.next == lane.first:
            return None
        bodies: list[tuple[bytes, bytes]] = []
        skipped = 0
        for slot, piece in enumerate(lane.pieces + lane.tail):
            is_here = piece.block is not None
            bodies.append((piece.block or b"", piece.ends) if is_here else self._read_back(lane, slot, skipped, piece))
            skipped += piece.count
        return join(bodies)

    def snapshot(self) -> WindowSnapshot:
        """Figures for metrics; the cost grows with the number of lanes."""
        opened = [lane for lane in self._lanes.values() if lane.next > lane.first]
        return WindowSnapshot(
            lanes=len(self._lanes),
            open_windows=len(opened),
            open_events=sum(lane.next - lane.first for lane in opened),
            open_bytes=sum(lane.size_bytes for lane in opened),
            resident_bytes=self._bodies.resident_bytes,
            oldest_opened_at=min((lane.opened_at for lane in opened), default=None),
            appended=self.appended,
            skipped=self.skipped,
            seals=dict(self.seals),
            source_resets=self._sources.resets,
        )

    def _unseen(self, piece: Slice, seen_distance: int) -> Slice | None:
        """The events beyond the source offset that was applied before, if there are any."""
        distances, run = piece.offset_distances(), piece.run()
        seen = bisect_right(distances, seen_distance)
        self.skipped += seen
        if seen == run.event_count():
            return None
        run = run.part(seen, run.event_count())
        return Slice(piece.lane, distances[seen:].tobytes(), run.packed_ends(), run.block)

    def _append_and_seal(self, lane: LaneWindow, run: EventRun, limits: SealLimits, now_s: float) -> None:
        held = 0
        if is_full(lane.next - lane.first, lane.size_bytes, limits):
            # The limits were lowered: cut the open window again, with what is new behind it.
            held = lane.next - lane.first
            run = EventRun.join([self._empty(lane), run])
        self._cut(lane, run, held, limits, now_s)

    def _seal_if_due(self, lane: LaneWindow, now_s: float) -> None:
        limits = self._limits(lane.name)
        held = lane.next - lane.first
        at_s = due_s(lane.opened_at, limits)
        if not is_full(held, lane.size_bytes, limits) and at_s > now_s:
            self._timers.arm(lane, at_s)
            return
        if not lane.is_touched:
            lane.is_touched = True
            self._touched.append(lane)
        if is_full(held, lane.size_bytes, limits):
            self._cut(lane, self._empty(lane), held, limits, now_s)
        else:
            self._seal(lane, self._empty(lane), SealReason.AGE, now_s)

    def _cut(self, lane: LaneWindow, run: EventRun, held: int, limits: SealLimits, now_s: float) -> None:
        """Append a run that fills the window at least once; its first ``held`` events were in the window before."""
        if lane.next == lane.first and not held:
            lane.opened_at = now_s
        position, events = 0, len(run.ends)
        for upto, reason in cuts(lane.next - lane.first, lane.size_bytes, run.ends, limits):
            parts = [self._empty(lane)] if lane.next > lane.first else []
            if upto > position:
                parts.append(run.part(position, upto))
            self._seal(lane, EventRun.join(parts), reason, now_s)
            position = upto
            if position >= held:
                lane.opened_at = now_s
        if position < events:
            rest = piece_of(run.part(position, events))
            lane.tail.append(rest)
            lane.next += rest.count
            lane.size_bytes = rest.size_bytes
            self._bodies.resident_bytes += rest.size_bytes
            self._timers.arm(lane, due_s(lane.opened_at, limits))

    def _seal(self, lane: LaneWindow, run: EventRun, reason: SealReason, now_s: float) -> None:
        """Make a batch of the run, which is all that stands at the front of the lane's unsealed events."""
        first = lane.first
        lane.first = lane.next = end = first + len(run.ends)
        self._batches.append(Batch(lane.name, first, end, reason, lane.opened_at, now_s, run.packed_ends(), run.block))
        self.seals[reason] += 1

    def _empty(self, lane: LaneWindow) -> EventRun:
        """Take all events out of the lane's window, reading back what is not in memory."""
        pieces = lane.pieces + lane.tail
        bodies = [(piece.block, piece.ends) for piece in pieces if piece.block is not None]
        resident_bytes = lane.size_bytes - (len(pieces) - 1)  # no commas between pieces
        if len(bodies) == len(pieces):
            for piece in pieces:
                piece.block = None
        else:
            bodies = []
            skipped = 0
            for slot, piece in enumerate(pieces):
                if piece.block is None:
                    bodies.append(self._read_back(lane, slot, skipped, piece))
                    resident_bytes -= piece.size_bytes
                else:
                    bodies.append((piece.block, piece.ends))
                    piece.block = None
                skipped += piece.count
        self._bodies.resident_bytes -= resident_bytes
        lane.pieces, lane.tail = [], []
        lane.next = lane.first
        lane.size_bytes = 0
        return join(bodies)

    def _read_back(self, lane: LaneWindow, slot: int, skipped: int, piece: Piece) -> tuple[bytes, bytes]:
        key = window_key(lane.name, slot)
        value = self._read_row(key)
        row = None if value is None else decode_window_row(key, value)
        if row is None or (row.first, row.skipped, row.count) != (lane.first, skipped, piece.count):
            found = "no row" if row is None else f"events {row.row_first} to {row.row_end}"
            first = lane.first + skipped
            raise SequenceGapError(
                f"lane {lane.name}: table windows should hold its events {first} to {first + piece.count} under {key!r}, found {found}. "
                "Start the worker again; delete its data directory first if this repeats, so that the table is rebuilt from its changelog"
            )
        return row.block, row.ends

    def _save(self, lane: LaneWindow, group: RowGroup, pieces: list[Piece]) -> int:
        """Write what was appended to the lane, and delete the rows of windows before; return the bytes that this takes."""
        name, tail, slot = lane.name, lane.tail, len(lane.pieces)
        if tail:
            piece = tail[0] if len(tail) == 1 else self._merge(tail)
            skipped = lane.next - lane.first - piece.count
            value = encode_window_row(
                lane.first,
                skipped,
                piece.count,
                lane.applied_offset,
                None if slot else lane.opened_at,
                piece.ends,
                piece.block or b"",
            )
            lane.tail = []
            lane.pieces.append(piece)
            pieces.append(piece)
        else:
            value = encode_window_row(lane.first, 0, 0, lane.applied_offset, None, b"", b"")
        group.append((window_key(name, slot), value))
        rows = slot + 1
        if lane.rows > rows:
            group += [(window_key(name, stale), None) for stale in range(rows, lane.rows)]
        size_bytes = len(value) + _ROW_OVERHEAD_BYTES * max(1, lane.rows - slot)
        lane.rows = rows
        return size_bytes

    def _merge(self, tail: list[Piece]) -> Piece:
        merged = piece_of(join([(piece.block or b"", piece.ends) for piece in tail]))
        self._bodies.resident_bytes += merged.size_bytes - sum(piece.size_bytes for piece in tail)
        return merged


def _check_lanes_once(offset: int, frame: Frame) -> None:
    if len({piece.lane for piece in frame.slices}) < len(frame.slices):
        raise CodecError(
            f"the routed record at offset {offset} names a lane twice; it was written by another program, or by a faulty version"
        )
