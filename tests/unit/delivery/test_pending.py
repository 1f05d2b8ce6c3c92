"""What waits survives a crash at any moment: nothing is lost, and what was stored as done is not offered again."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.delivery.counts import HOURS_KEPT
from pipeline.delivery.pending import Arrival, PendingBatch, PendingState
from pipeline.delivery.rows import BatchRow, Fate, LaneRow, RowGroup, RowKind, decode_row, lane_key, parse_key
from pipeline.errors import CodecError, SequenceGapError
from pipeline.model.batch import Request
from pipeline.model.ranges import numbers_in, ranges_of
from tests.support.delivering import Table, ranges_in, sealed

LANES = ("crm", "crm~1", "warehouse")
lanes = st.sampled_from(LANES)
fates = st.sampled_from(list(Fate))


def numbers(pending: PendingBatch) -> set[int]:
    return set(numbers_in(pending.ranges))


def register(state: PendingState, lane: str, first: int, end: int, offset: int):
    return state.touch(lane).register(sealed(lane, first, end, 1_000.0), offset)


class CrashesAnywhere(RuleBasedStateMachine):
    """A topic, the state that reads it, and a table that a crash leaves with any prefix of the groups sent."""

    def __init__(self) -> None:
        super().__init__()
        self.topic: list[tuple[str, int, int]] = []
        self.sealed: dict[str, int] = dict.fromkeys(LANES, 0)
        self.table = Table()
        self.sent: list[
            tuple[RowGroup | None, int]
        ] = []  # groups; None marks the end of a take and the offset it covers
        self.committed = 0
        self.stored_done: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.done: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.start()

    def start(self) -> None:
        self.state = PendingState.restore(self.table.rows.items())
        self.position = self.committed
        self.sent.clear()
        self.stored_done = {name: self.events_done_in_table(name) for name in LANES}
        for name, lane in self.state.lanes.items():
            for pending in lane.waiting.values():
                assert not self.stored_done[name] & numbers(pending)

    def events_done_in_table(self, name: str) -> set[int]:
        """By the table alone: registered and in no BatchRow."""
        value = self.table.rows.get(lane_key(name))
        events = set(range(decode_row(LaneRow, lane_key(name), value).registered)) if value else set()
        for key, row in self.table.rows.items():
            lane, kind, first = parse_key(key)
            if kind is RowKind.BATCH and lane == name:
                events -= set(numbers_in(ranges_in(decode_row(BatchRow, key, row), first)))
        return events

    def waiting(self):
        return [(name, pending) for name, lane in self.state.lanes.items() for pending in lane.waiting.values()]

    @rule(lane=lanes, events=st.integers(1, 5))
    def seal(self, lane, events):
        first = self.sealed[lane]
        self.sealed[lane] += events
        self.topic.append((lane, first, self.sealed[lane]))

    @rule(lane=lanes, back=st.integers(1, 8), events=st.integers(1, 12))
    def seal_again_after_a_crash_of_the_window_stage(self, lane, back, events):
        """Other bounds than before, overlapping what the topic holds already."""
        first = max(0, self.sealed[lane] - back)
        self.sealed[lane] = max(self.sealed[lane], first + events)
        self.topic.append((lane, first, first + events))

    @precondition(lambda self: self.position < len(self.topic))
    @rule(count=st.integers(1, 6))
    def feed(self, count):
        for offset in range(self.position, min(len(self.topic), self.position + count)):
            lane, first, end = self.topic[offset]
            arrival, batch, pending = register(self.state, lane, first, end, offset)
            if arrival is Arrival.NEW:
                assert (batch.first, batch.end) == (pending.first, pending.end)
                assert batch.run().event_count() == pending.events
                assert not self.stored_done[lane] & numbers(pending)
            self.position = offset + 1

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), fate=fates)
    def finish(self, data, fate):
        name, pending = data.draw(st.sampled_from(self.waiting()))
        self.state.touch(name).finish(pending, fate)
        self.done[name] |= numbers(pending)

    @precondition(lambda self: any(pending.events > 1 for _, pending in self.waiting()))
    @rule(data=st.data())
    def deliver_some_of_it(self, data):
        name, pending = data.draw(st.sampled_from([each for each in self.waiting() if each[1].events > 1]))
        before = numbers(pending)
        left = data.draw(st.sets(st.sampled_from(sorted(before)), min_size=1, max_size=len(before) - 1))
        self.state.touch(name).keep_only(pending, ranges_of(left))
        assert numbers(pending) == left
        self.done[name] |= before - left

    @precondition(lambda self: any(pending.events > 1 for _, pending in self.waiting()))
    @rule(data=st.data())
    def split(self, data):
        name, pending = data.draw(st.sampled_from([each for each in self.waiting() if each[1].events > 1]))
        before = numbers(pending)
        some = data.draw(st.sets(st.sampled_from(sorted(before)), min_size=1, max_size=len(before) - 1))
        part = self.state.touch(name).split(pending, ranges_of(some))
        assert (numbers(part), numbers(pending)) == (some, before - some)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), next_at=st.floats(0, 1e9))
    def fail(self, data, next_at):
        name, pending = data.draw(st.sampled_from(self.waiting()))
        pending.attempts += 1
        self.state.touch(name).retry_at(pending, next_at)

    @rule()
    def take(self):
        self.sent += [(group, 0) for group in self.state.take()]
        self.sent.append((None, self.position))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def acknowledge(self, data):
        count = data.draw(st.integers(1, len(self.sent)))
        for group, covered in self.sent[:count]:
            if group is None:
                self.committed = covered
            else:
                self.table.store([group])
        del self.sent[:count]

    @rule()
    def crash(self):
        self.start()

    @invariant()
    def what_memory_says_balances(self):
        for lane in self.state.lanes.values():
            assert lane.waiting_events == sum(pending.events for pending in lane.waiting.values())

    @invariant()
    def a_stored_end_is_the_end_of_something_that_was_done(self):
        for lane in LANES:
            assert self.events_done_in_table(lane) <= self.done[lane]

    def teardown(self):
        """Everything that was sealed is, in the end, done or waiting."""
        self.start()
        for offset in range(self.position, len(self.topic)):
            register(self.state, *self.topic[offset], offset)
        for name in LANES:
            offered = {number for lane, pending in self.waiting() if lane == name for number in numbers(pending)}
            assert offered | self.done[name] >= set(range(self.sealed[name]))
            assert not offered & self.stored_done[name]


TestCrashesAnywhere = CrashesAnywhere.TestCase
TestCrashesAnywhere.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_batch_that_came_and_went_between_two_takes_costs_one_row_of_its_lane():
    state = PendingState()
    for number in range(50):
        _, _, pending = register(state, "crm", number, number + 1, number)
        state.touch("crm").finish(pending, Fate.DELIVERED)
    (group,) = state.take()
    assert [key for key, _ in group] == [b"crm@0", b"crm"]
    row = decode_row(LaneRow, *group[1])
    assert (row.registered, row.delivered_events, row.delivered_batches) == (50, 50, 50)
    assert not state.take()


def test_a_failed_try_is_written_with_its_count_and_the_next_due_time():
    state = PendingState()
    _, _, pending = register(state, "crm", 0, 10, 0)
    state.take()
    pending.attempts += 1
    state.touch("crm").retry_at(pending, 1_234.5)
    ((key, value),) = state.take()[0]
    row = decode_row(BatchRow, key, value)
    assert (key, row.attempts, row.next_at) == (b"crm/0", 1, 1_234.5)


def test_a_record_that_is_known_by_offset_is_the_one_that_waits():
    state, table = PendingState(), Table()
    register(state, "crm", 0, 10, 0)
    register(state, "crm", 5, 15, 1)
    table.store(state.take())
    state = PendingState.restore(table.rows.items())
    assert register(state, "crm", 5, 15, 2).arrival is Arrival.REPEATED
    arrival, _, pending = register(state, "crm", 5, 15, 1)
    assert (arrival, pending.first, pending.end) == (Arrival.KNOWN, 10, 15)


def parked_by_then(state: PendingState, table: Table, *, at: float = 5.0) -> None:
    _, _, pending = register(state, "crm", 0, 10, 0)
    state.touch("crm").finish(pending, Fate.PARKED, now=at, reason="refused: 404")
    table.store(state.take())


def test_a_parked_batch_is_taken_up_again_once_however_often_its_replay_is_read():
    state, table = PendingState(), Table()
    parked_by_then(state, table)
    again = msgspec.structs.replace(sealed("crm", 0, 10, 2_000.0), request=Request.REPLAY)
    state = PendingState.restore(table.rows.items())
    assert state.lanes["crm"].parked[0].reason == "refused: 404"
    arrival, _, pending = state.touch("crm").replay(again, 7)
    assert (arrival, pending.first, pending.end, pending.offset) == (Arrival.NEW, 0, 10, 7)
    assert state.lanes["crm"].waiting_events == 10
    assert state.touch("crm").replay(again, 8).arrival is Arrival.REPEATED
    table.store(state.take())
    state = PendingState.restore(table.rows.items())
    assert state.touch("crm").replay(again, 7).arrival is Arrival.KNOWN
    state.touch("crm").finish(state.lanes["crm"].waiting[0], Fate.DELIVERED)
    table.store(state.take())
    assert PendingState.restore(table.rows.items()).touch("crm").replay(again, 7).arrival is Arrival.REPEATED


def test_what_was_never_parked_cannot_be_replayed():
    state = PendingState()
    _, _, pending = register(state, "crm", 0, 10, 0)
    state.touch("crm").finish(pending, Fate.DELIVERED)
    again = msgspec.structs.replace(sealed("crm", 0, 10, 2_000.0), request=Request.REPLAY)
    assert state.touch("crm").replay(again, 1).arrival is Arrival.REPEATED


def test_the_row_of_a_parked_batch_goes_when_its_record_has_left_the_topic():
    state, table = PendingState(), Table()
    parked_by_then(state, table)
    assert b"crm!0" in table.rows
    state.touch("crm").forget_parked(6.0)
    table.store(state.take())
    assert b"crm!0" not in table.rows
    assert PendingState.restore(table.rows.items()).lanes["crm"].counts.events[Fate.PARKED] == 10


def test_the_counts_of_long_past_hours_go_and_the_ledger_keeps_its_sum():
    state = PendingState()
    for number, opened_at in enumerate([0.0, 3_600.0, 3_600.0 * (HOURS_KEPT + 2)]):
        batch = msgspec.structs.replace(sealed("crm", number, number + 1, opened_at), opened_at=opened_at)
        _, _, pending = state.touch("crm").register(batch, number)
        if number != 1:
            state.touch("crm").finish(pending, Fate.DELIVERED)
    assert set(state.lanes["crm"].hours.by_hour) == {1, HOURS_KEPT + 2}, "what still waits keeps its hour"
    assert state.lanes["crm"].registered == 3


def test_a_hole_names_the_lane_and_both_numbers():
    state = PendingState()
    register(state, "crm", 0, 10, 0)
    with pytest.raises(SequenceGapError, match=r"lane crm: batch crm:20-30 at offset 1 should begin at 10"):
        register(state, "crm", 20, 30, 1)


def test_the_first_batch_of_a_lane_begins_at_0():
    with pytest.raises(SequenceGapError, match="should begin at 0"):
        register(PendingState(), "crm", 5, 10, 0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows.pop(b"crm"), "no row of its own"),
        (lambda rows: rows.pop(b"crm/0"), "10 events wait and holds rows of 0"),
        (lambda rows: rows.update({b"crm": b"\x91\xc1"}), "no LaneRow"),
        (lambda rows: rows.update({b"crm/0": b"{}"}), "no BatchRow"),
        (lambda rows: rows.update({b"crm/x": b"{}"}), "neither LANE nor LANE/NUMBER"),
        (lambda rows: rows.update({b"crm": b"\x92\x09\x0a"}), "version 9"),
    ],
)
def test_rows_that_cannot_be_are_refused(spoil, says):
    state, table = PendingState(), Table()
    register(state, "crm", 0, 10, 0)
    table.store(state.take())
    spoil(table.rows)
    with pytest.raises(CodecError, match=says):
        PendingState.restore(table.rows.items())
