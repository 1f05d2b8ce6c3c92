"""What waits survives a crash at any moment: nothing is lost, and what was stored as done is not offered again."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.delivery.pending import ROWS_IN_GROUP, Arrival, PendingState
from pipeline.delivery.rows import Fate, RowGroup, batch_key, decode_batch_row, decode_lane_row, lane_key
from pipeline.errors import CodecError, SequenceGapError
from tests.support.delivering import Table, sealed

LANES = ("crm", "crm~1", "warehouse")
lanes = st.sampled_from(LANES)
fates = st.sampled_from(list(Fate))


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
                assert not self.stored_done[name] & set(range(pending.first, pending.end))

    def events_done_in_table(self, name: str) -> set[int]:
        """By the table alone: registered and in no batch row."""
        value = self.table.rows.get(lane_key(name))
        events = set(range(decode_lane_row(lane_key(name), value).registered)) if value else set()
        for key, row in self.table.rows.items():
            lane, _, first = key.decode().partition("/")
            if first and lane == name:
                events -= set(range(int(first), decode_batch_row(key, row).end))
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
                assert not self.stored_done[lane] & set(range(pending.first, pending.end))
            self.position = offset + 1

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), fate=fates)
    def finish(self, data, fate):
        name, pending = data.draw(st.sampled_from(self.waiting()))
        self.state.touch(name).finish(pending, fate)
        self.done[name] |= set(range(pending.first, pending.end))

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
            offered = {
                number
                for lane, pending in self.waiting()
                if lane == name
                for number in range(pending.first, pending.end)
            }
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
    ((key, value),) = group
    assert key == b"crm"
    row = decode_lane_row(key, value)
    assert (row.registered, row.delivered_events, row.delivered_batches) == (50, 50, 50)
    assert not state.take()


def test_a_failed_try_is_written_with_its_count_and_the_next_due_time():
    state = PendingState()
    _, _, pending = register(state, "crm", 0, 10, 0)
    state.take()
    pending.attempts += 1
    state.touch("crm").retry_at(pending, 1_234.5)
    ((key, value),) = state.take()[0]
    row = decode_batch_row(key, value)
    assert (key, row.attempts, row.next_at) == (b"crm/0", 1, 1_234.5)


@pytest.mark.parametrize("ended", [0, 1, 2])
def test_a_group_stays_small_however_much_changed(ended):
    state, table = PendingState(), Table()
    count = 3 * ROWS_IN_GROUP
    batches = [register(state, "crm", number, number + 1, number).pending for number in range(count)]
    if ended == 1:
        table.store(state.take())
    if ended:
        for pending in batches[::2]:
            state.touch("crm").finish(pending, Fate.PARKED)
    groups = state.take()
    assert max(map(len, groups)) <= ROWS_IN_GROUP + 1
    table.store(groups)  # checks the ledger after each group
    assert len(table.waiting()) == (count // 2 if ended else count)
    assert PendingState.restore(table.rows.items()).lanes["crm"].registered == count


def test_a_record_that_is_known_by_offset_is_the_one_that_waits():
    state, table = PendingState(), Table()
    register(state, "crm", 0, 10, 0)
    register(state, "crm", 5, 15, 1)
    table.store(state.take())
    state = PendingState.restore(table.rows.items())
    assert register(state, "crm", 5, 15, 1).pending.first == 10
    assert register(state, "crm", 5, 15, 1).arrival is Arrival.KNOWN
    assert register(state, "crm", 5, 15, 2).arrival is Arrival.REPEATED


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
        (lambda rows: rows.pop(batch_key("crm", 0)), "10 events wait and holds rows of 0"),
        (lambda rows: rows.update({b"crm": b"\x91\xc1"}), "no lane row"),
        (lambda rows: rows.update({b"crm/0": b"{}"}), "no batch row"),
        (lambda rows: rows.update({b"crm/x": b"{}"}), "neither LANE nor LANE/FIRST"),
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
