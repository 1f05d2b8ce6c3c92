"""Counts of requests by whose they are: for pages, and for telling people of a secret that is wrong again and again."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundRequest
from pipeline.inbound.rows import (
    COUNTS,
    SLOTS_A_DAY,
    STRANGERS,
    SUBJECTS,
    CountsRow,
    RowGroup,
    SubjectRow,
    counted_in,
    counts_key,
    decode_counts,
    decode_subject,
    encode_row,
    segment_subject,
    slot_of,
    subject_in,
    subject_key,
)

REJECTED_IN_A_ROW: Final = 5
"""Requests with a wrong secret, one after the other, of which people are told."""

_GONE_FOR_S: Final = 90_000.0

SAY_NOTHING_OF_THE_SECRET: Final = frozenset({Outcome.METHOD_NOT_ALLOWED, Outcome.UNKNOWN_WEBHOOK, Outcome.BUSY})
"""Outcomes of requests whose secret was not looked at: they neither end nor lengthen a run of rejected ones."""


class RejectedRun(NamedTuple):
    """A webhook whose last ``requests`` had a wrong secret."""

    webhook_id: str
    requests: int


class Slot:
    """A subject's counts of ten minutes in memory; ``unstored`` is in how many groups on their way they stand."""

    __slots__ = ("number", "row", "subject", "unstored")

    def __init__(self, subject: str, number: int, row: CountsRow) -> None:
        self.subject = subject
        self.number = number
        self.row = row
        self.unstored = 0


class Tally:
    """The counts of one partition. Memory holds a row a subject, and those of the ten minutes that it is now.

    ``read_row``, ``rows_from``, ``is_subject`` and ``secret_mark`` are those of the stage.
    """

    def __init__(
        self,
        read_row: Callable[[bytes], bytes | None],
        rows_from: Callable[[bytes], Iterator[tuple[bytes, bytes]]],
        *,
        is_subject: Callable[[str], bool],
        secret_mark: Callable[[str], int],
    ) -> None:
        self._read_row = read_row
        self._rows_from = rows_from
        self._is_subject = is_subject
        self._secret_mark = secret_mark
        self._subjects: dict[str, SubjectRow] = {}
        self._slots: dict[tuple[str, int], Slot] = {}
        self._newest_slot = 0
        self._touched_slots: dict[tuple[str, int], Slot] = {}
        self._touched_subjects: dict[str, SubjectRow] = {}
        self._rejected: list[RejectedRun] = []
        self._mended: list[str] = []

    def add(self, request: InboundRequest, outcome: Outcome, events: int, repeated: int) -> None:
        """Count a request, of whose events so many were taken, and so many known already."""
        subject = self._subject_of(request)
        state, slot = self._subject(subject), self._slot(subject, slot_of(request.at_s))
        self._touch(slot, state)
        row = slot.row
        if request.is_first_part:
            row.requests[outcome.value] = row.requests.get(outcome.value, 0) + 1
            state.received += 1
            state.succeeded += outcome.is_success
            state.last_at_s = max(state.last_at_s, request.at_s)
            if request.source == "webhook" and subject != STRANGERS:
                self._follow_rejections(subject, state, outcome)
        for reason, count in request.disregarded.items():
            row.disregarded[reason] = row.disregarded.get(reason, 0) + count
        row.events += events
        row.repeated_events += repeated
        state.events += events

    def take_rows(self) -> tuple[RowGroup, list[Slot]]:
        """The rows that changed since the last call, and the slots to give to ``stored`` when they are in the table."""
        slots = [*self._touched_slots.values()]
        rows: RowGroup = [(counts_key(slot.subject, slot.number), encode_row(slot.row)) for slot in slots]
        rows += [(subject_key(subject), encode_row(state)) for subject, state in self._touched_subjects.items()]
        self._touched_slots, self._touched_subjects = {}, {}
        return rows, slots

    def stored(self, slots: Iterable[Slot]) -> None:
        """The counts of ``slots`` are in the table, as they were taken."""
        for slot in slots:
            slot.unstored -= 1
            self._let_go(slot)

    def take_runs(self) -> tuple[list[RejectedRun], list[str]]:
        """Runs that people are to be told of, and webhooks whose run is over, since the last call."""
        runs = (self._rejected, self._mended)
        self._rejected, self._mended = [], []
        return runs

    def is_over(self, key: bytes, now_s: float) -> bool:
        """Whether the row with this key is no longer needed: counts after a day, subjects a day after they are gone."""
        if key.startswith(COUNTS):
            place = counted_in(key)
            slot = self._slots.get(place)
            if place[1] >= slot_of(now_s) - SLOTS_A_DAY or (slot is not None and slot.unstored):
                return False
            self._slots.pop(place, None)
            return True
        return key.startswith(SUBJECTS) and self._is_forgotten(subject_in(key), now_s)

    def counts(self, subject: str, since_slot: int) -> dict[int, CountsRow]:
        """A subject's counts by slot, from ``since_slot`` on; not to be changed."""
        found: dict[int, CountsRow] = {}
        first = counts_key(subject, since_slot)
        prefix = first[: first.rindex(b"/") + 1]
        for key, value in self._rows_from(first):
            if not key.startswith(prefix):
                break
            found[counted_in(key)[1]] = decode_counts(value)
        for (of, number), slot in self._slots.items():
            if of == subject and number >= since_slot:
                found[number] = slot.row
        return found

    def totals(self, subject: str) -> SubjectRow | None:
        """All that ever came for a subject; not to be changed. ``None`` where nothing did."""
        row = self._subjects.get(subject)
        if row is None and (value := self._read_row(subject_key(subject))) is not None:
            row = decode_subject(value)
        return row

    def _follow_rejections(self, webhook_id: str, state: SubjectRow, outcome: Outcome) -> None:
        if outcome in SAY_NOTHING_OF_THE_SECRET:
            return
        mark = self._secret_mark(webhook_id)
        if mark != state.secret_mark:
            state.secret_mark, state.rejected_in_a_row = mark, 0
            self._mend(webhook_id, state)
        if outcome is not Outcome.AUTH_REJECTED:
            state.rejected_in_a_row = 0
            if outcome.is_success:
                self._mend(webhook_id, state)
            return
        state.rejected_in_a_row += 1
        if state.rejected_in_a_row >= REJECTED_IN_A_ROW and not state.is_told:
            state.is_told = True
            self._rejected.append(RejectedRun(webhook_id, state.rejected_in_a_row))

    def _mend(self, webhook_id: str, state: SubjectRow) -> None:
        if state.is_told:
            state.is_told = False
            self._mended.append(webhook_id)

    def _subject_of(self, request: InboundRequest) -> str:
        if request.source == "segment":
            subject, stranger = segment_subject(request.application), segment_subject(STRANGERS)
        else:
            subject, stranger = request.webhook_id, STRANGERS
        return subject if subject in self._subjects or self._is_subject(subject) else stranger

    def _subject(self, subject: str) -> SubjectRow:
        row = self._subjects.get(subject)
        if row is None:
            value = self._read_row(subject_key(subject))
            row = self._subjects[subject] = SubjectRow() if value is None else decode_subject(value)
        return row

    def _slot(self, subject: str, number: int) -> Slot:
        if number > self._newest_slot:
            self._newest_slot = number
            for slot in [*self._slots.values()]:
                self._let_go(slot)
        held = self._slots.get((subject, number))
        if held is None:
            value = self._read_row(counts_key(subject, number))
            row = CountsRow() if value is None else decode_counts(value)
            held = self._slots[subject, number] = Slot(subject, number, row)
        return held

    def _let_go(self, slot: Slot) -> None:
        """Forget stored counts of ten minutes that are over."""
        if not slot.unstored and slot.number < self._newest_slot:
            del self._slots[slot.subject, slot.number]

    def _touch(self, slot: Slot, state: SubjectRow) -> None:
        if (slot.subject, slot.number) not in self._touched_slots:
            self._touched_slots[slot.subject, slot.number] = slot
            slot.unstored += 1
        self._touched_subjects[slot.subject] = state

    def _is_forgotten(self, subject: str, now_s: float) -> bool:
        """Whether a subject is gone for a day, as a webhook that was deleted."""
        if self._is_subject(subject) or subject in self._touched_subjects:
            return False
        if self._subject(subject).last_at_s > now_s - _GONE_FOR_S:
            return False
        del self._subjects[subject]
        return True
