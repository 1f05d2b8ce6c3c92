"""The inbound stage of one partition: requests in, each accepted event once out, and counts of all of them.

What is decided depends on the stored rows and the requests alone, never on when the stage ticked or was asked for its output.
Rows follow the events that they speak for, and say how far both go; so a crash between any two writes is harmless. What is
read again is skipped by its offset, and an event that was written before its row is found in the topic itself.

Keys of events are remembered for a day. There can be a hundred million of them, so they live in the table and are looked up
there; memory holds those that are on their way to it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest
from pipeline.inbound.rows import (
    KEYS,
    PROGRESS_KEY,
    ProgressRow,
    RowGroup,
    decode_expiry,
    decode_progress,
    encode_expiry,
    encode_row,
    key_row,
)
from pipeline.inbound.tail import Tail, TailEvent
from pipeline.inbound.tally import RejectedRun, Slot, Tally

KEY_KEPT_S: Final = 86_400.0
"""How long a repetition is known for one."""

LATE_S: Final = 600.0
"""How much later than another that came after it a request may be applied: its body can be slow to arrive."""

GROUP_BYTES: Final = 256 << 10
_ROW_OVERHEAD_BYTES: Final = 8
_COUNTS_BYTES: Final = 160


class Figures(NamedTuple):
    """What was counted since the last take: events by source and what became of them (``taken``, ``repeated``, ``disregarded``).

    ``skipped`` are requests that were applied before, ``restarts`` how often the topic of requests was found made again.
    """

    events: Counter[tuple[str, str]]
    skipped: int
    restarts: int


class InboundWrites(NamedTuple):
    """What is to be written since the last take.

    The ``events`` (key and value) first, in order; when the broker has acknowledged them, the ``groups``, in order; when those
    are acknowledged and in the table, ``InboundStage.stored``. ``rejected`` are runs that people are to be told of, ``mended``
    webhooks whose run is over. ``keys`` and ``slots`` are what ``stored`` lets go of.
    """

    events: list[tuple[bytes | None, bytes]]
    groups: list[RowGroup]
    rejected: list[RejectedRun]
    mended: list[str]
    figures: Figures
    keys: list[bytes]
    slots: list[Slot]


class InboundStage:
    """All that comes in on one partition.

    ``read_row`` reads a stored row of this partition, ``rows_from`` all of them in order from a key on. ``is_subject`` tells
    whether a webhook's id or an application's subject exists; ``secret_mark`` gives a number that changes with a webhook's
    secret. ``group_bytes`` is how large a row group may grow before the next one begins.
    """

    def __init__(
        self,
        read_row: Callable[[bytes], bytes | None],
        rows_from: Callable[[bytes], Iterator[tuple[bytes, bytes]]],
        *,
        is_subject: Callable[[str], bool],
        secret_mark: Callable[[str], int],
        group_bytes: int = GROUP_BYTES,
    ) -> None:
        self._read_row = read_row
        self._rows_from = rows_from
        self.tally = Tally(read_row, rows_from, is_subject=is_subject, secret_mark=secret_mark)
        self._group_bytes = group_bytes
        stored = read_row(PROGRESS_KEY)
        self.is_new = stored is None
        self._progress = ProgressRow() if stored is None else decode_progress(stored)
        self._output_end = self._acknowledged_end = self._progress.output_offset
        self._tail = Tail(KEY_KEPT_S)
        self._tail_passed: int | None = None
        self._unread: list[range] = []
        self._expiries: dict[bytes, tuple[int, int]] = {}
        self._swept_to = b""
        self._begin_take()
        self._begin_group()

    def _begin_take(self) -> None:
        self._events: list[tuple[bytes | None, bytes]] = []
        self._groups: list[RowGroup] = []
        self._taken_keys: list[bytes] = []
        self._taken_slots: list[Slot] = []
        self._counted: Counter[tuple[str, str]] = Counter()
        self._skipped = self._restarts = 0

    def _begin_group(self) -> None:
        self._group: RowGroup = []
        self._group_size = 0
        self._is_moved = False

    # taking up

    @property
    def output_offset(self) -> int:
        """Where in the topic of events the tail begins: what stands from there on may be without rows."""
        return self._output_end if self._tail_passed is None else self._tail_passed

    def take_up(self, tail: Iterable[TailEvent], end_offset: int) -> None:
        """Go on from what stands in the topic of events from ``output_offset`` on, and its end."""
        self._tail_passed = self.output_offset
        self.remember(tail)
        if not self._tail or self._tail_passed > end_offset:
            self._tail_passed = None
        self._output_end = self._acknowledged_end = end_offset

    def remember(self, events: Iterable[TailEvent]) -> None:
        """Know events that stand in the topic of events without rows."""
        for event in events:
            self._tail.remember(event)

    def acknowledged(self, last_offset: int, count: int) -> None:
        """The next ``count`` events were written, the last at ``last_offset``; others may have written in between."""
        first = last_offset + 1 - count
        if first > self._acknowledged_end:
            self._unread.append(range(self._acknowledged_end, first))
            self._output_end += first - self._acknowledged_end
        self._acknowledged_end = last_offset + 1

    def take_unread(self) -> list[range]:
        """Offsets in the topic of events that somebody else wrote since the last call: to be read, and remembered."""
        unread, self._unread = self._unread, []
        return unread

    # applying

    def apply(self, offset: int, request: InboundRequest) -> None:
        """Take in the request at ``offset``, unless it was before.

        Where offsets start again because the topic was made again, times tell: then the offset is followed anew.
        """
        progress = self._progress
        if offset <= progress.applied_offset:
            if request.at_s <= progress.newest_at_s:
                self._skipped += 1
                return
            self._restarts += 1
        progress.applied_offset = offset
        progress.newest_at_s = max(progress.newest_at_s, request.at_s)
        self._is_moved = True
        events = sum([self._take_in(event, request) for event in request.events])
        repeated = len(request.events) - events
        outcome = request.outcome
        if request.source == "webhook" and outcome is Outcome.ACCEPTED and repeated and not events:
            outcome = Outcome.DUPLICATE
        self.tally.add(request, outcome, events, repeated)
        self._group_size += _COUNTS_BYTES
        counted, source = self._counted, request.source
        counted[source, "taken"] += events
        counted[source, "repeated"] += repeated
        counted[source, "disregarded"] += sum(request.disregarded.values())
        if self._group_size >= self._group_bytes:
            self._close_group()

    def _take_in(self, event: InboundEvent, request: InboundRequest) -> bool:
        """Whether the event is no repetition; then it is written, if it was not before a crash."""
        if event.key:
            key = key_row(event.key)
            if self._expiry_of(key) > request.at_s:
                return False
            value = encode_expiry(request.at_s + KEY_KEPT_S)
            held = self._expiries.get(key)
            self._expiries[key] = (decode_expiry(value), 1 if held is None else held[1] + 1)
            self._taken_keys.append(key)
            self._add(key, value)
        found = self._tail.take(event.uuid, request.at_s)
        if found is not None:
            self._tail_passed = found + 1
        else:
            # Events come in the order of their requests: where one is new, all that was written before a crash is passed.
            self._tail_passed = None
            name = request.user_key or request.webhook_id
            self._events.append((name.encode("utf-8", "replace") if name else None, bytes(event.event)))
            self._output_end += 1
        return True

    def _expiry_of(self, key: bytes) -> int:
        held = self._expiries.get(key)
        if held is not None:
            return held[0]
        value = self._read_row(key)
        return 0 if value is None else decode_expiry(value)

    # writing

    def _add(self, key: bytes, value: bytes | None) -> None:
        self._group.append((key, value))
        self._group_size += len(key) + len(value or b"") + _ROW_OVERHEAD_BYTES

    def _close_group(self) -> None:
        """End the group with all that its requests changed, so that they are applied whole or not at all."""
        group = self._group
        rows, slots = self.tally.take_rows()
        group += rows
        self._taken_slots += slots
        if self._is_moved:
            self._progress.output_offset = self.output_offset
            group.append((PROGRESS_KEY, encode_row(self._progress)))
        if group:
            self._groups.append(group)
        self._begin_group()

    def take(self) -> InboundWrites:
        """Everything to be written since the last take; several takes may be under way, in order."""
        self._close_group()
        writes = InboundWrites(
            self._events,
            self._groups,
            *self.tally.take_runs(),
            Figures(self._counted, self._skipped, self._restarts),
            self._taken_keys,
            self._taken_slots,
        )
        self._begin_take()
        return writes

    def stored(self, writes: InboundWrites) -> None:
        """The groups of ``writes`` are acknowledged and in the table: what they hold may leave memory."""
        for key in writes.keys:
            until, unstored = self._expiries[key]
            if unstored == 1:
                del self._expiries[key]
            else:
                self._expiries[key] = (until, unstored - 1)
        self.tally.stored(writes.slots)

    @property
    def unstored_keys(self) -> int:
        """How many keys memory holds, because they are not in the table yet."""
        return len(self._expiries)

    # rows that are over

    def sweep(self, now_s: float, most_rows: int) -> bool:
        """Delete those of the next ``most_rows`` rows that are over; whether all rows were looked at by now.

        The next call goes on where this one ended, or begins again. Requests that wait to be applied may be old: to them rows
        of their time still matter, so nothing is over before a request has been applied from after its end.
        """
        now_s = min(now_s, self._progress.newest_at_s - LATE_S)
        rows = [*islice(self._rows_from(self._swept_to), most_rows)]
        for key, value in rows:
            if self._is_over(key, value, now_s):
                self._add(key, None)
                if self._group_size >= self._group_bytes:
                    self._close_group()
        is_whole = len(rows) < most_rows
        self._swept_to = b"" if is_whole else rows[-1][0] + b"\0"
        return is_whole

    def _is_over(self, key: bytes, value: bytes, now_s: float) -> bool:
        if key.startswith(KEYS):
            return key not in self._expiries and decode_expiry(value) <= now_s
        return key != PROGRESS_KEY and self.tally.is_over(key, now_s)
