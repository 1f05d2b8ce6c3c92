import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.model.batch import Batch, SealReason, decode_batch, encode_batch, parse_batch_id, purpose_of
from pipeline.model.events import EventRun
from pipeline.model.ranges import Ranges, ranges_of
from tests.support.watched import looks, watched


def batch(first: int, end: int) -> Batch:
    run = EventRun.of([b"%d" % number for number in range(first, end)])
    return Batch("crm", first, end, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block)


@given(st.sets(st.integers(5, 24), min_size=1), st.data())
def test_a_part_of_a_part_holds_the_events_of_its_numbers(left: set[int], data: st.DataObject) -> None:
    fewer = data.draw(st.sets(st.sampled_from(sorted(left)), min_size=1))
    part = batch(5, 25).only(ranges_of(left)).only(ranges_of(fewer))
    assert list(part.numbered()) == [(number, b"%d" % number) for number in sorted(fewer)]
    assert part.event_count == len(fewer)
    assert parse_batch_id(part.id) == ("crm", min(fewer), max(fewer) + 1)


def test_cutting_a_part_looks_at_each_range_a_few_times_however_many_there_are() -> None:
    part = replace(batch(0, 4000).only(every(2)), rest=watched(every(2)))
    kept = watched(every(4))
    looks.clear()
    assert part.only(kept).event_count == 1000
    assert len(looks) < 10 * (len(part.rest) + len(kept))


def every(step: int) -> Ranges:
    return tuple((number, number + 1) for number in range(0, 4000, step))


def test_a_part_with_gaps_says_how_many_events_are_left() -> None:
    assert batch(0, 9).only(((1, 3), (7, 8))).id == "crm:1-8~3"


@given(st.integers(0, 19), st.integers(1, 20))
def test_a_part_without_gaps_is_a_batch_of_its_own(first: int, count: int) -> None:
    end = min(20, first + count)
    assert batch(0, 20).only(((first, end),)) == batch(first, end)


def test_a_part_survives_its_encoding_and_a_batch_of_before_there_were_parts_is_whole() -> None:
    part = batch(0, 4).only(((0, 1), (2, 3)))
    assert decode_batch(encode_batch(part)) == part
    assert batch(0, 4).ranges == ((0, 4),)


@pytest.mark.parametrize(
    ("lane", "purpose"), [("crm", None), ("crm~2", None), ("crm~test", "test"), ("crm~backfill", "backfill")]
)
def test_a_lane_says_why_its_events_are_sent(lane: str, purpose: str | None) -> None:
    assert purpose_of(lane) == purpose
    assert parse_batch_id(f"{lane}:0-5")[0] == lane


@pytest.mark.parametrize("text", ["crm:5-3", "crm:5-5", "crm:5", "crm", "crm:a-b"])
def test_what_names_no_events_is_no_batch_id(text: str):
    with pytest.raises(ValueError, match="no batch id"):
        parse_batch_id(text)
