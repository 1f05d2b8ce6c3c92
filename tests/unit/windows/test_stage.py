from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from pipeline.errors import CodecError, SequenceGapError, SourceRecreatedError
from pipeline.model.batch import SealReason
from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice
from pipeline.windows.rows import encode_window_row, parse_key, window_key
from pipeline.windows.stage import WindowStage, WindowWrites

NOW_S = 1_700_000_000.0


@dataclass
class Limits:
    max_events: int = 100
    max_bytes: int = 1 << 20
    max_age_s: float = 3600.0


def frame(first: int, lanes: dict[str, list[bytes]], *, newest_ms: int | None = None, last: int | None = None) -> Frame:
    """One source record an event and lane, at ``first`` and after; with ``last`` the chunk reaches further."""
    slices = []
    offset = 0
    for lane, events in lanes.items():
        run = EventRun.of(events)
        slices.append(
            Slice(lane, array("I", range(offset, offset + len(events))).tobytes(), run.packed_ends(), run.block)
        )
        offset += len(events)
    end = first + offset - 1 if last is None else last
    return Frame("events", 0, 1, first, end, 1000 + end if newest_ms is None else newest_ms, slices)


def event(number: int) -> bytes:
    return b'{"n":%d}' % number


def events(first: int, end: int) -> list[bytes]:
    return [event(number) for number in range(first, end)]


class Bench:
    """A stage with a table and a list of sent batches; ``settle`` does all writes."""

    def __init__(self, limits: Limits | None = None, **options: int) -> None:
        self.limits = limits or Limits()
        self.table: dict[bytes, bytes] = {}
        self.options = options
        self.sent: list[str] = []
        self.stage = self.new_stage()
        self.offset = 0
        self.source_offset = 0

    def new_stage(self) -> WindowStage:
        return WindowStage(lambda _lane: self.limits, self.table.get, **self.options)

    def feed(self, lanes: dict[str, list[bytes]], now_s: float = NOW_S) -> None:
        made = frame(self.source_offset, lanes)
        self.stage.apply(self.offset, made, now_s)
        self.offset += 1
        self.source_offset = made.last_offset + 1

    def settle(self) -> WindowWrites:
        writes = self.stage.take()
        self.sent += [batch.id for batch in writes.batches]
        self.store(writes.groups)
        self.stage.stored(writes)
        return writes

    def store(self, groups: Iterable[list[tuple[bytes, bytes | None]]]) -> None:
        for group in groups:
            for key, value in group:
                if value is None:
                    del self.table[key]
                else:
                    self.table[key] = value

    def restart(self, now_s: float = NOW_S, apart_s: float = 0.2) -> None:
        self.stage = self.new_stage()
        self.stage.restore(reversed(self.table.items()), now_s, apart_s)

    def lane(self, name: str) -> tuple[int, int]:
        view = self.stage.lane(name)
        assert view is not None
        return view.first, view.next


def test_each_event_gets_its_lanes_next_number() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 3), "mail": events(3, 4)})
    bench.feed({"crm": events(4, 6)})
    assert bench.lane("crm") == (0, 5)
    assert bench.lane("mail") == (0, 1)
    assert bench.settle().batches == []


def test_a_slice_that_fills_many_windows_is_cut_into_full_batches() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 30)})
    bench.settle()
    bench.feed({"crm": events(30, 4000)}, NOW_S + 5)
    writes = bench.settle()
    assert [batch.id for batch in writes.batches] == [f"crm:{first}-{first + 100}" for first in range(0, 4000, 100)]
    assert [found for batch in writes.batches for found in batch.run().events()] == events(0, 4000)
    assert {batch.reason for batch in writes.batches} == {SealReason.COUNT}
    assert [batch.opened_at for batch in writes.batches[:2]] == [NOW_S, NOW_S + 5]
    assert all(batch.ends == batch.run().packed_ends() for batch in writes.batches)


def test_a_lane_that_sealed_in_between_costs_one_row_with_the_rest_and_its_old_rows_are_deleted_with_it() -> None:
    bench = Bench()
    for number in range(4):
        bench.feed({"crm": [event(number)]})
        bench.settle()
    bench.feed({"crm": events(4, 205)})
    (group,) = bench.settle().groups
    assert [(key, value is None) for key, value in group] == [
        (b"crm/0", False),
        (b"crm/1", True),
        (b"crm/2", True),
        (b"crm/3", True),
        (b"@events/0", False),
    ]


def test_rows_go_in_groups_of_bounded_size_with_the_watermark_last() -> None:
    bench = Bench(group_bytes=1000)
    bench.feed({f"lane-{number}": [b"x" * 400] for number in range(10)})
    groups = bench.stage.take().groups
    assert [len(group) for group in groups] == [3, 3, 3, 2]
    assert groups[-1][-1][0] == b"@events/0"


def test_lanes_whose_rows_were_kept_do_not_take_the_record_again() -> None:
    bench = Bench(group_bytes=1)
    made = frame(0, {"crm": events(0, 3), "mail": events(3, 5)})
    bench.stage.apply(0, made, NOW_S)
    bench.store(bench.stage.take().groups[:1])
    bench.restart()
    assert bench.stage.lane("mail") is None
    bench.stage.apply(0, made, NOW_S)
    assert bench.lane("crm") == (0, 3)
    assert bench.lane("mail") == (0, 2)
    assert (bench.stage.appended, bench.stage.skipped) == (2, 3)


def test_events_that_were_routed_again_in_other_chunks_are_skipped() -> None:
    bench = Bench()
    bench.stage.apply(0, frame(0, {"crm": events(0, 10)}), NOW_S)
    bench.stage.apply(1, frame(0, {"crm": events(0, 5)}), NOW_S)
    bench.stage.apply(2, frame(5, {"crm": events(5, 15)}), NOW_S)
    assert bench.lane("crm") == (0, 15)
    assert bench.stage.skipped == 10
    bench.stage.tick(NOW_S + 3600)
    assert list(bench.settle().batches[0].run().events()) == events(0, 15)


def test_a_frame_with_one_lane_twice_is_an_error_rather_than_a_loss() -> None:
    bench = Bench()
    made = frame(0, {"crm": events(0, 2)})
    made.slices.append(made.slices[0])
    with pytest.raises(CodecError, match="twice"):
        bench.stage.apply(0, made, NOW_S)


def test_a_re_created_source_topic_changes_nothing_before_the_error() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 10)})
    bench.settle()
    with pytest.raises(SourceRecreatedError):
        bench.stage.apply(1, frame(0, {"crm": events(0, 3)}, newest_ms=10**6), NOW_S)
    assert bench.lane("crm") == (0, 10)
    assert bench.stage.take().is_empty


def test_a_window_is_sealed_when_its_first_event_is_old_enough() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 2)})
    bench.feed({"crm": events(2, 3)}, NOW_S + 3000)
    assert bench.stage.tick(NOW_S + 3599) == 0
    assert bench.stage.tick(NOW_S + 3600) == 1
    assert bench.stage.tick(NOW_S + 9999) == 0
    (batch,) = bench.settle().batches
    assert (batch.id, batch.reason, batch.opened_at, batch.sealed_at) == (
        "crm:0-3",
        SealReason.AGE,
        NOW_S,
        NOW_S + 3600,
    )


def test_age_begins_anew_with_the_first_event_after_a_seal() -> None:
    bench = Bench(Limits(max_events=2))
    bench.feed({"crm": events(0, 1)})
    bench.feed({"crm": events(1, 3)}, NOW_S + 3000)
    assert bench.stage.tick(NOW_S + 3600) == 0
    assert bench.stage.tick(NOW_S + 6600) == 1


def test_a_tick_seals_no_more_than_it_is_told() -> None:
    bench = Bench()
    bench.feed({f"lane-{number}": [event(number)] for number in range(70)})
    assert [bench.stage.tick(NOW_S + 4000, most_seals=30) for _ in range(4)] == [30, 30, 10, 0]


def test_age_survives_a_restart() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 1)})
    bench.settle()
    bench.feed({"crm": events(1, 2)}, NOW_S + 1000)
    bench.settle()
    bench.restart(NOW_S + 2000)
    assert bench.stage.tick(NOW_S + 3599) == 0
    assert bench.stage.tick(NOW_S + 3600) == 1


def test_overdue_windows_are_spread_out_after_a_restart() -> None:
    bench = Bench()
    bench.feed({f"lane-{number}": [event(number)] for number in range(300)})
    bench.settle()
    start_s = NOW_S + 90_000
    bench.restart(start_s, apart_s=0.25)
    assert [bench.stage.tick(start_s + second) for second in range(76)] == [1] + 74 * [4] + [3]


def test_the_window_that_is_overdue_longest_comes_first_however_often_the_worker_restarts() -> None:
    bench = Bench()
    for number in range(5):
        bench.feed({f"lane-{number * 7 % 5}": [event(number)]}, NOW_S + number)
    bench.settle()
    start_s = NOW_S + 90_000
    sealed = []
    for restart in range(5):
        bench.restart(start_s + restart, apart_s=60.0)
        assert bench.stage.tick(start_s + restart) == 1
        sealed += [batch.lane for batch in bench.settle().batches]
    assert sealed == ["lane-0", "lane-2", "lane-4", "lane-1", "lane-3"]


def test_a_single_overdue_window_waits_for_nobody() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 1)})
    bench.settle()
    bench.restart(NOW_S + 90_000, apart_s=60.0)
    assert bench.stage.tick(NOW_S + 90_000) == 1


def test_a_window_opened_while_its_lane_waits_for_the_spread_keeps_its_own_time() -> None:
    bench = Bench(Limits(max_events=2, max_age_s=1.0))
    lanes = {f"lane-{number}": [event(number)] for number in range(20)}
    bench.feed(lanes)
    bench.settle()
    bench.restart(NOW_S + 100, apart_s=3.0)
    bench.feed({lane: events(0, 2) for lane in lanes}, NOW_S + 100)
    assert bench.stage.tick(NOW_S + 101) == 20
    assert bench.stage.snapshot().open_windows == 0


@pytest.mark.parametrize("is_restarted", [False, True])
def test_when_the_clock_is_set_back_age_counts_from_then(*, is_restarted: bool) -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 1)})
    bench.settle()
    back_s = NOW_S - 50_000
    if is_restarted:
        bench.restart(back_s)
    else:
        bench.stage.tick(back_s)
    assert bench.stage.tick(back_s + 3599) == 0
    assert bench.stage.tick(back_s + 3600) == 1


def test_a_lane_that_was_empty_when_the_clock_was_set_back_gets_a_timer_for_its_next_window() -> None:
    bench = Bench(Limits(max_events=2))
    bench.feed({"crm": events(0, 1)})
    bench.feed({"crm": events(1, 2)})
    bench.stage.tick(NOW_S - 50)
    bench.feed({"crm": events(2, 3)}, NOW_S + 10)
    assert bench.stage.tick(NOW_S + 3610) == 1


def test_a_window_over_lowered_limits_is_cut_at_the_next_append() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 7)})
    bench.settle()
    bench.limits = Limits(max_events=3)
    bench.feed({"crm": events(7, 8)}, NOW_S + 60)
    writes = bench.settle()
    assert [batch.id for batch in writes.batches] == ["crm:0-3", "crm:3-6"]
    view = bench.stage.lane("crm")
    assert view is not None
    assert (view.first, view.next, view.opened_at) == (6, 8, NOW_S), "what waited before keeps its age"
    assert list(bench.table) == [b"crm/0", b"@events/0"]


def test_a_window_over_lowered_limits_is_cut_at_the_next_tick_after_a_restart() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 7), "mail": events(7, 9)})
    bench.settle()
    bench.limits = Limits(max_bytes=20)
    bench.restart(NOW_S + 5, apart_s=5.0)
    assert bench.stage.tick(NOW_S + 15) == 3
    assert [(batch.id, batch.reason) for batch in bench.settle().batches] == [
        ("crm:0-2", SealReason.BYTES),
        ("crm:2-4", SealReason.BYTES),
        ("crm:4-6", SealReason.BYTES),
    ]
    assert bench.lane("crm") == (6, 7)


def test_a_shorter_age_holds_for_open_windows_once_timers_are_set_anew() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 1)})
    bench.limits = Limits(max_age_s=10.0)
    bench.stage.rearm(NOW_S + 5)
    assert bench.stage.tick(NOW_S + 9) == 0
    assert bench.stage.tick(NOW_S + 10) == 1


def test_a_longer_age_holds_for_open_windows_too() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 1)})
    bench.limits = Limits(max_age_s=7200.0)
    assert bench.stage.tick(NOW_S + 3600) == 0
    assert bench.stage.tick(NOW_S + 7200) == 1


def test_stored_events_leave_memory_oldest_first_and_are_read_back_when_sealed() -> None:
    bench = Bench(Limits(max_events=6))
    for number in range(3):
        bench.feed({"crm": [event(number)], "mail": [event(number)]})
        bench.settle()
    bench.feed({"crm": [event(3)]})
    each = len(event(0))
    assert bench.stage.resident_bytes == 7 * each
    bench.stage.evict(4 * each)
    assert bench.stage.resident_bytes == 4 * each
    bench.stage.evict(0)
    assert bench.stage.resident_bytes == each, "what is not stored cannot be dropped"
    bench.feed({"crm": events(4, 7)})
    (batch,) = bench.settle().batches
    assert list(batch.run().events()) == events(0, 6)
    assert bench.lane("crm") == (6, 7)


def test_the_open_windows_events_can_be_looked_at_wherever_they_are() -> None:
    bench = Bench(Limits(max_events=6))
    bench.feed({"crm": events(0, 2)})
    bench.settle()
    bench.stage.evict(0)
    bench.feed({"crm": events(2, 4)})
    run = bench.stage.open_events("crm")
    assert run is not None
    assert list(run.events()) == events(0, 4)
    bench.feed({"crm": events(4, 6)})
    assert list(bench.settle().batches[0].run().events()) == events(0, 6), "looking took nothing out"
    assert bench.stage.open_events("crm") is None


def test_what_was_dropped_from_the_table_behind_our_back_is_an_error_that_names_the_lane() -> None:
    bench = Bench()
    bench.feed({"crm": events(0, 2)})
    bench.settle()
    bench.stage.evict(0)
    bench.table.pop(b"crm/0")
    with pytest.raises(SequenceGapError, match=r"lane crm.*0 to 2.*no row"):
        bench.stage.tick(NOW_S + 4000)


def test_dead_bodies_do_not_gather_behind_a_slow_lane() -> None:
    bench = Bench()
    bench.feed({"slow": [event(0)]})
    for number in range(5000):
        bench.feed({"fast": events(number * 60, number * 60 + 60)})
        bench.settle()
    assert len(bench.stage._bodies._evictable) < 2100


def test_timers_do_not_gather_while_windows_are_sealed_by_count() -> None:
    bench = Bench()
    for number in range(1000):
        bench.feed({"crm": events(number * 60, number * 60 + 60)}, NOW_S + number)
    assert len(bench.stage._timers._heap) == 1


def test_rows_of_an_earlier_window_are_ignored_and_deleted_with_the_lanes_next_row() -> None:
    bench = Bench()
    bench.table[window_key("crm", 0)] = encode_window_row(
        100, 0, 2, 50, NOW_S, b"\x02\x00\x00\x00\x05\x00\x00\x00", b"{},{}"
    )
    bench.table[window_key("crm", 1)] = encode_window_row(90, 4, 6, 41, None, bytes(24), b"{}")
    bench.table[window_key("crm", 4)] = encode_window_row(90, 9, 1, 50, None, b"", b"{}")
    bench.offset = 51
    bench.restart()
    assert bench.lane("crm") == (100, 102)
    bench.feed({"crm": events(0, 1)})
    bench.store(
        [[(key, value) for key, value in bench.stage.take().groups[0] if value is not None or key in bench.table]]
    )
    assert sorted(bench.table) == [b"@events/0", b"crm/0", b"crm/1"]
    bench.restart()
    assert bench.lane("crm") == (100, 103)


def test_an_empty_window_wins_over_rows_of_the_one_before_it() -> None:
    bench = Bench()
    bench.table[window_key("crm", 0)] = encode_window_row(100, 0, 0, 50, None, b"", b"")
    bench.table[window_key("crm", 1)] = encode_window_row(90, 9, 1, 50, None, b"", b"{}")
    bench.restart()
    assert bench.lane("crm") == (100, 100)


def test_a_hole_between_rows_is_an_error_that_names_the_lane() -> None:
    bench = Bench()
    for number in range(3):
        bench.feed({"crm": [event(number)]})
        bench.settle()
    del bench.table[b"crm/1"]
    with pytest.raises(SequenceGapError, match="lane crm"):
        bench.restart()


def test_the_snapshot_counts_what_happened() -> None:
    bench = Bench(Limits(max_events=3, max_bytes=40))
    bench.feed({"crm": events(0, 4), "big": [b"x" * 100], "mail": events(5, 6)})
    bench.stage.apply(1, frame(0, {"crm": events(0, 4)}), NOW_S + 5)
    bench.stage.tick(NOW_S + 3600)
    found = bench.stage.snapshot()
    assert (found.lanes, found.open_windows, found.open_events, found.oldest_opened_at) == (3, 0, 0, None)
    assert (found.appended, found.skipped, found.source_resets) == (6, 4, 0)
    assert found.seals == {SealReason.COUNT: 1, SealReason.BYTES: 1, SealReason.AGE: 2}
    bench.stage.apply(2, frame(50, {"mail": events(6, 7)}), NOW_S + 3700)
    found = bench.stage.snapshot()
    assert (found.open_windows, found.open_events, found.open_bytes) == (1, 1, len(event(6)))
    assert (found.resident_bytes, found.oldest_opened_at) == (len(event(6)), NOW_S + 3700)


def test_changelog_bytes_stay_under_a_fifth_more_than_event_bytes_when_each_lane_gets_one_event_a_chunk() -> None:
    bench = Bench()
    lanes = [f"customer-{number:04d}" for number in range(100)]
    body = b"x" * 377
    changelog_bytes = 0
    for _ in range(200):
        bench.feed({lane: [body] for lane in lanes})
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        for position, (key, value) in enumerate(record for group in bench.settle().groups for record in group):
            assert builder.append(position, 1_700_000_000_000, key, value, []) is not None
        changelog_bytes += builder.size()
    assert changelog_bytes <= 1.2 * bench.stage.appended * len(body)
    assert all(parse_key(key) for key in bench.table)


@pytest.mark.parametrize(
    ("limits", "sealed"),
    [(Limits(max_events=3), 1), (Limits(max_age_s=30.0), 1), (Limits(max_age_s=90.0), 0), (Limits(), 0)],
)
def test_other_limits_hold_for_windows_that_are_open(limits: Limits, sealed: int):
    in_force = {"crm": Limits(), "other": Limits()}
    stage = WindowStage(in_force.__getitem__, lambda _: None)
    stage.apply(0, frame(0, {"crm": [event(n) for n in range(3)], "other": [event(3)]}), NOW_S)
    in_force["crm"] = limits
    stage.limits_changed(lambda lane: lane == "crm", NOW_S + 60)
    stage.tick(NOW_S + 60)
    assert [batch.lane for batch in stage.take().batches] == ["crm"] * sealed
    in_force["crm"] = Limits()
    stage.limits_changed(lambda lane: lane == "crm", NOW_S + 60)
    stage.tick(NOW_S + 3599)
    assert stage.take().batches == []
