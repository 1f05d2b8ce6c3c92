"""A backfill sends each event once, however often it is begun, stopped and begun again."""

import json
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import SourceRecreatedError
from pipeline.ingest.decode import EventDecoder
from pipeline.model.frame import decode_frame
from pipeline.model.integration import BatchLimits
from pipeline.model.placement import partition_of
from pipeline.replay.backfill import (
    BackfillRouter,
    Job,
    beginning_at,
    beginning_from,
    checked_again,
    is_watermark,
    parse_offset,
    records_in,
    spans_left,
    watermarks,
)
from pipeline.windows.rows import SourceRow
from pipeline.windows.stage import WindowStage
from tests.support.delivering import integration

NOW_S = 1_700_000_000.0
TOPIC = "channels-tracking-log"
JOB = Job(TOPIC, "crm", "2026-11-22T10:00:00Z")
PARTITIONS = 4


class Record(NamedTuple):
    offset: int
    value: bytes | None
    timestamp: int
    key: bytes | None = None


def event(name: str) -> bytes:
    return json.dumps(
        {"event_name": name, "application_code": "A", "platform": "iOS", "timestamp": 1, "user_id": "u"}
    ).encode()


def topic(names: str) -> list[Record]:
    """A record for each letter, newer and newer; ``!`` cannot be used."""
    return [Record(offset, b"?" if name == "!" else event(name), 1000 + offset) for offset, name in enumerate(names)]


def uuid_at(offset: int) -> str | None:
    return EventDecoder(TOPIC, 0).decode(event("a"), offset)[0].uuid


class Windows:
    """The window stage of the partition that the lane lives on, with the table that it would fill."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.stage = WindowStage(lambda _lane: BatchLimits(max_events=3), self.rows.get)
        self.uuids: Counter[str] = Counter()
        self._offset = 0

    def take(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.stage.apply(self._offset, decode_frame(frame), NOW_S)
            self._offset += 1
        writes = self.stage.take()
        for key, value in (row for group in writes.groups for row in group):
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.stage.stored(writes)
        for batch in writes.batches:
            assert batch.lane == "crm~backfill"
            self.uuids.update(json.loads(each)["uuid"] for each in batch.run().events())

    def close(self) -> None:
        self.stage.tick(NOW_S + 1e6)
        self.take([])


class Run(NamedTuple):
    """One run of the command: which names its filters take, how far it comes, in what chunks, and whether the table tells it how
    far the one before came (it does not while what was sent is still on its way)."""

    takes: str
    records: int
    chunk: int
    knows: bool


def runs(*filters: str) -> st.SearchStrategy[list[Run]]:
    one = st.builds(Run, st.sampled_from(filters), st.integers(0, 40), st.integers(1, 9), st.booleans())
    return st.lists(one, max_size=5)


def play(names: str, story: list[Run]) -> Windows:
    records, windows = topic(names), Windows()
    ends = {0: len(records)}
    for run in story:
        router = BackfillRouter(JOB, integration("crm", events=[*run.takes], enabled=False), PARTITIONS, 1)
        marks = watermarks(windows.rows.items(), JOB) if run.knows else {}
        first, end = spans_left({0: (0, len(records))}, marks, ends, JOB, 1)[0]
        for start in range(first, min(end, first + run.records), run.chunk):
            windows.take(router.route(records[start : min(end, start + run.chunk)], 0))
    windows.close()
    return windows


@given(st.text("ab!", max_size=30), runs("a"))
def test_the_same_backfill_given_again_and_again_sends_each_event_once(names: str, story: list[Run]):
    windows = play(names, [*story, Run("a", len(names), 7, knows=True)])
    assert windows.uuids == Counter(uuid_at(offset) for offset, name in enumerate(names) if name == "a")


@given(st.text("ab!", max_size=30), runs("a", "ab"))
@example("ab", [Run("a", 2, 2, knows=False), Run("ab", 2, 2, knows=False)])
def test_filters_that_were_changed_in_between_neither_repeat_an_event_nor_look_like_another_topic(
    names: str, story: list[Run]
):
    assert set(play(names, story).uuids.values()) <= {1}


def test_events_keep_the_uuids_that_they_have_from_their_own_topic():
    router = BackfillRouter(JOB, integration("crm", events=["a"]), PARTITIONS, 1)
    (value,) = router.route(topic("ba"), 0)
    frame = decode_frame(value)
    assert frame.source_topic == f"{TOPIC}~crm~2026-11-22T10:00:00Z"
    assert (frame.source_partition, frame.first_offset, frame.last_offset, frame.source_epoch) == (0, 0, 1, 1)
    assert [piece.lane for piece in frame.slices] == ["crm~backfill"]
    (body,) = frame.slices[0].run().events()
    assert json.loads(body)["uuid"] == uuid_at(1)
    assert router.partition == partition_of("crm~backfill", PARTITIONS)


def test_an_integration_of_several_lanes_is_backfilled_through_one():
    router = BackfillRouter(JOB, integration("crm", events=["a"], lanes=4), PARTITIONS, 1)
    (value,) = router.route(topic("aaaa"), 0)
    assert [piece.lane for piece in decode_frame(value).slices] == ["crm~backfill"]


def test_what_is_read_is_counted():
    router = BackfillRouter(JOB, integration("crm", events=["a"]), PARTITIONS, 1)
    router.route(topic("ab!a"), 0)
    router.route(topic("bb!"), 1)
    assert (router.scanned.events, router.scanned.matched, router.scanned.poison) == (7, 2, {"not_json": 2})


def test_every_beginning_and_every_repetition_is_a_job_of_its_own():
    again = JOB._replace(again="2")
    by_offset = JOB._replace(beginning=beginning_from({1: 30, 0: 17}))
    assert by_offset.name == "0:17,1:30"
    assert again.name == f"{beginning_at(1_795_341_600)}~2"
    assert len({JOB.source_topic, again.source_topic, by_offset.source_topic}) == 3
    assert {each.lane for each in (JOB, again, by_offset)} == {"crm~backfill"}


def test_one_job_does_not_hear_of_another_ones_watermark():
    windows = Windows()
    router = BackfillRouter(JOB, integration("crm", events=["a"]), PARTITIONS, 1)
    windows.take(router.route(topic("aaa"), 0))
    assert {number: mark.source_offset for number, mark in watermarks(windows.rows.items(), JOB).items()} == {0: 2}
    assert not watermarks(windows.rows.items(), JOB._replace(again="2"))
    assert any(is_watermark(key) for key in windows.rows)
    assert not all(is_watermark(key) for key in windows.rows)


def mark(offset: int, epoch: int = 1) -> SourceRow:
    return SourceRow(1, epoch, epoch, offset, 0, 0)


@pytest.mark.parametrize(
    ("marks", "left"),
    [
        ({}, (10, 50)),
        ({0: mark(5)}, (10, 50)),
        ({0: mark(29)}, (30, 50)),
        ({0: mark(49)}, (50, 50)),
        ({0: mark(70)}, (50, 50)),
        ({1: mark(29)}, (10, 50)),
        ({0: mark(99, epoch=0)}, (10, 50)),
    ],
)
def test_it_goes_on_behind_what_was_sent(marks: dict[int, SourceRow], left: tuple[int, int]):
    assert spans_left({0: (10, 50)}, marks, {0: 80}, JOB, 1) == {0: left}


@pytest.mark.parametrize("found", [mark(80), mark(5, epoch=2)])
def test_a_job_of_another_life_of_the_topic_is_refused(found: SourceRow):
    with pytest.raises(SourceRecreatedError, match="2026-11-22"):
        spans_left({0: (10, 50)}, {0: found}, {0: 80}, JOB, 1)


def test_a_beginning_behind_the_end_leaves_nothing():
    left = spans_left({0: (60, 50), 1: (0, 7)}, {}, {0: 80, 1: 7}, JOB, 1)
    assert left == {0: (50, 50), 1: (0, 7)}
    assert records_in(left) == 7


@pytest.mark.parametrize("text", ["", "3", "3:", ":5", "a:5", "3:-1", "3:5:6"])
def test_what_is_no_place_in_a_topic_is_refused(text: str):
    with pytest.raises(ValueError, match="3:1500"):
        parse_offset(text)


def test_a_place_in_a_topic_is_partition_and_offset():
    assert parse_offset("3:1500") == (3, 1500)


@pytest.mark.parametrize("text", ["", "a b", "a~b", "a/b", "ä", "x" * 65])
def test_a_repetitions_name_is_plain(text: str):
    with pytest.raises(ValueError, match="64"):
        checked_again(text)
    assert checked_again("second-try_2.0") == "second-try_2.0"
