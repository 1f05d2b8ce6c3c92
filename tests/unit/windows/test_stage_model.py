"""The window stage against a list: random frames, repeats, ticks, eviction, and crashes between any two writes."""

import random
from array import array
from collections import defaultdict, deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice, decode_frame, encode_frame
from pipeline.windows.rows import RowGroup, WindowKey, parse_key
from pipeline.windows.stage import WindowStage, WindowWrites

LANES = ("crm", "crm~1", "mail", "x")
SOURCES = (("events", 0), ("events", 1), ("other", 0))


@dataclass(frozen=True)
class Limits:
    max_events: int
    max_bytes: int
    max_age_s: float


@dataclass
class Source:
    """A source partition: for each offset the lanes that match and the event; how far the route stage has come."""

    events: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    routed_to: int = 0
    seen_to: int = 0


@dataclass
class Take:
    """One take under way."""

    writes: WindowWrites
    position: int
    batches: deque[Batch]
    groups: deque[RowGroup]


ALL = 10**6
SOME_BATCHES = st.sampled_from([0, 1, 3, ALL, ALL, ALL])
SOME_GROUPS = st.sampled_from([0, 1, 1, 2, 2, 3, 4, ALL])
APPLY = st.sampled_from([0, 1, 2, 9, 9, 9])
LIMITS = st.builds(Limits, st.integers(1, 12), st.integers(10, 300), st.floats(1, 100))
EVENTS = st.lists(st.tuples(st.sets(st.sampled_from(LANES), max_size=4), st.integers(0, 30)), min_size=1, max_size=8)


class WindowMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)
        self.sources = {source: Source() for source in SOURCES}
        self.routed: list[bytes] = []
        self.expected: dict[str, list[bytes]] = defaultdict(list)
        self.expected_next: list[dict[str, int]] = []
        self.table: dict[bytes, bytes] = {}
        self.batches: list[Batch] = []
        self.delivered: dict[str, int] = defaultdict(int)
        self.takes: list[Take] = []
        self.position = self.committed = self.committable = self.furthest = 0
        self.now_s = 1000.0
        self.limits = Limits(3, 60, 10.0)

    @initialize(limits=LIMITS, seed=st.integers(0, 99))
    def begin(self, limits: Limits, seed: int) -> None:
        self.random = random.Random(seed)
        self.limits = limits
        self.stage = self.new_stage()

    def new_stage(self) -> WindowStage:
        return WindowStage(
            lambda _lane: self.limits, self.table.get, group_bytes=self.random.choice((1, 1, 1, 200, 4096))
        )

    # ----- the route stage

    @rule(source=st.sampled_from(SOURCES), events=EVENTS, chunk=st.integers(1, 15), apply=APPLY)
    def events_arrive(
        self, source: tuple[str, int], events: list[tuple[set[str], int]], chunk: int, apply: int
    ) -> None:
        log = self.sources[source].events
        for lanes, size in events:
            log.append((tuple(sorted(lanes)), f"{source[0]}{source[1]}:{len(log)}{'x' * size}".encode()))
        self.route(source, chunk)
        self.apply(apply)

    @rule(source=st.sampled_from(SOURCES), back=st.integers(1, 25), chunk=st.integers(1, 15), apply=APPLY)
    def route_stage_crashes(self, source: tuple[str, int], back: int, chunk: int, apply: int) -> None:
        state = self.sources[source]
        state.routed_to = max(0, state.routed_to - back)
        self.route(source, chunk)
        self.apply(apply)

    def route(self, source: tuple[str, int], chunk: int) -> None:
        state = self.sources[source]
        first = state.routed_to
        last = min(first + chunk, len(state.events)) - 1
        if last < first:
            return
        state.routed_to = last + 1
        found: dict[str, list[int]] = defaultdict(list)
        for offset in range(first, last + 1):
            for lane in state.events[offset][0]:
                found[lane].append(offset)
                if offset >= state.seen_to:
                    self.expected[lane].append(state.events[offset][1])
        if not found:
            return
        state.seen_to = max(state.seen_to, last + 1)
        slices = []
        for lane, offsets in found.items():
            run = EventRun.of([state.events[offset][1] for offset in offsets])
            distances = array("I", [offset - first for offset in offsets])
            slices.append(Slice(lane, distances.tobytes(), run.packed_ends(), run.block))
        self.routed.append(encode_frame(Frame(*source, 1, first, last, 5000 + last, slices)))
        self.expected_next.append({lane: len(events) for lane, events in self.expected.items()})

    # ----- the window stage

    def apply(self, most: int) -> None:
        for value in self.routed[self.position : self.position + most]:
            self.stage.apply(self.position, decode_frame(value), self.now_s)
            self.position += 1
        self.furthest = max(self.furthest, self.position)

    @rule(seconds=st.floats(-50, 80), most=st.integers(1, 4))
    def tick(self, seconds: float, most: int) -> None:
        self.now_s += seconds
        self.stage.tick(self.now_s, most)

    @rule(down_to=st.sampled_from([0, 0, 40, 100, 300]))
    def evict(self, down_to: int) -> None:
        self.stage.evict(down_to)

    # ----- the broker, which may die between any two writes

    @rule(batches=SOME_BATCHES, groups=SOME_GROUPS)
    def write(self, batches: int, groups: int) -> None:
        self.take()
        self.broker_takes(batches, groups)

    @precondition(lambda self: self.position)
    @rule(
        batches=SOME_BATCHES,
        groups=SOME_GROUPS,
        committed=st.floats(0, 1),
        limits=st.none() | st.none() | LIMITS,
    )
    def crash(self, batches: int, groups: int, committed: float, limits: Limits | None) -> None:
        self.write(batches, groups)
        self.takes.clear()  # what the broker did not take by now never was
        if limits is not None:
            self.limits = limits
        self.committed += round((self.committable - self.committed) * committed)
        self.committable = self.position = self.committed
        self.stage = self.new_stage()
        rows = list(self.table.items())
        self.random.shuffle(rows)
        self.stage.restore(rows, self.now_s, apart_s=3.0)

    def take(self) -> None:
        writes = self.stage.take()
        for batch in writes.batches:
            self.check_seal(batch)
        self.takes.append(Take(writes, self.position, deque(writes.batches), deque(writes.groups)))

    def broker_takes(self, batches: int, groups: int) -> None:
        for take in self.takes:
            while take.batches and batches:
                self.receive(take.batches.popleft())
                batches -= 1
        while self.takes and not self.takes[0].batches:
            take = self.takes[0]
            while take.groups:
                if not groups:
                    return
                self.keep(take.groups.popleft())
                groups -= 1
            self.stage.stored(take.writes)
            self.committable = take.position
            self.takes.pop(0)

    # ----- what must hold

    def check_seal(self, batch: Batch) -> None:
        count, size_bytes = batch.end - batch.first, len(batch.block)
        assert 1 <= count <= self.limits.max_events
        assert size_bytes <= self.limits.max_bytes or count == 1
        assert (count == self.limits.max_events) == (batch.reason is SealReason.COUNT) or batch.reason is SealReason.AGE
        if batch.reason is SealReason.AGE:
            assert batch.sealed_at >= batch.opened_at + self.limits.max_age_s

    def receive(self, batch: Batch) -> None:
        assert list(batch.run().events()) == self.expected[batch.lane][batch.first : batch.end]
        assert batch.first <= self.delivered[batch.lane], "a gap in the lane"
        self.delivered[batch.lane] = max(self.delivered[batch.lane], batch.end)

    def keep(self, group: RowGroup) -> None:
        assert group
        for key, value in group:
            if value is None:
                assert key in self.table, "a row is deleted that is not there"
                del self.table[key]
            else:
                self.table[key] = value

    @invariant()
    def every_lane_counts_as_the_list_does(self) -> None:
        if self.position == 0 or not hasattr(self, "stage"):
            return
        expected = self.expected_next[self.position - 1]
        for view in self.stage.lanes():
            # After a crash a lane's row may be ahead of the records that are read again, never behind.
            assert view.next >= expected.get(view.lane, 0)
            assert view.first <= view.next <= len(self.expected[view.lane])
            if self.position == self.furthest:
                assert view.next == expected.get(view.lane, 0)
        assert {view.lane for view in self.stage.lanes()} >= set(expected)

    @invariant()
    def resident_bytes_are_those_in_memory(self) -> None:
        if hasattr(self, "stage"):
            pieces = [piece for lane in self.stage._lanes.values() for piece in lane.pieces + lane.tail]
            assert self.stage.resident_bytes == sum(len(piece.block) for piece in pieces if piece.block is not None)

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        if self.random.random() < 0.5:
            self.crash(0, 0, 0.5, None)
        self.apply(len(self.routed))
        for _ in range(3 * len(LANES)):
            self.now_s += 200.0  # beyond any age and spread
            self.stage.tick(self.now_s)
        assert self.stage.snapshot().open_windows == 0, "a window is never sealed"
        self.write(ALL, ALL)
        assert not self.takes
        assert self.delivered == {lane: len(events) for lane, events in self.expected.items()}
        keys = [parse_key(key) for key in self.table]
        assert all(key.slot == 0 for key in keys if isinstance(key, WindowKey)), "rows of sealed windows stay behind"
        assert self.stage.resident_bytes == 0


TestWindowStage = WindowMachine.TestCase
TestWindowStage.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
