import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.batch import Batch, SealReason, decode_batch, encode_batch, parse_batch_id, purpose_of
from pipeline.model.events import EventRun
from pipeline.model.ranges import ranges_of


def batch(first: int, end: int) -> Batch:
    run = EventRun.of([b"%d" % number for number in range(first, end)])
    return Batch("crm", first, end, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block)


@given(st.sets(st.integers(5, 24), min_size=1, max_size=19))
def test_a_part_holds_the_events_of_its_numbers(left: set[int]) -> None:
    part = batch(5, 25).part(5, 25, ranges_of(left))
    assert list(part.numbered()) == [(number, b"%d" % number) for number in sorted(left)]
    assert part.event_count == len(left)
    assert part.id == f"crm:5-25~{len(left)}"
    assert parse_batch_id(part.id) == ("crm", 5, 25)


@given(st.integers(0, 19), st.integers(1, 20))
def test_half_a_batch_is_a_batch_of_its_own(first: int, count: int) -> None:
    end = min(20, first + count)
    half = batch(0, 20).part(first, end)
    assert half.id == f"crm:{first}-{end}"
    assert half == batch(first, end)


def test_a_part_survives_its_encoding_and_a_batch_of_before_there_were_parts_is_whole() -> None:
    part = batch(0, 4).part(0, 4, ((1, 2),))
    assert decode_batch(encode_batch(part)) == part
    assert batch(0, 4).ranges == ((0, 4),)


@pytest.mark.parametrize(
    ("lane", "purpose"), [("crm", None), ("crm~2", None), ("crm~test", "test"), ("crm~backfill", "backfill")]
)
def test_a_lane_says_why_its_events_are_sent(lane: str, purpose: str | None) -> None:
    assert purpose_of(lane) == purpose
    assert parse_batch_id(f"{lane}:0-5")[0] == lane
