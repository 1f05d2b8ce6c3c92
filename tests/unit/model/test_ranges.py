import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.ranges import count_of, halves, numbers_in, ranges_of, without
from tests.support.watched import looks, watched

numbers = st.sets(st.integers(0, 40))


@given(numbers)
def test_ranges_hold_the_numbers_that_they_were_made_of(some: set[int]) -> None:
    ranges = ranges_of(some)
    assert list(numbers_in(ranges)) == sorted(some)
    assert count_of(ranges) == len(some)


@given(numbers)
def test_between_two_ranges_there_is_a_gap(some: set[int]) -> None:
    ranges = ranges_of(some)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


@given(numbers, numbers)
def test_what_is_taken_away_is_gone_and_the_rest_stays(some: set[int], gone: set[int]) -> None:
    assert set(numbers_in(without(ranges_of(some), ranges_of(gone)))) == some - gone


def test_taking_away_looks_at_each_range_a_few_times_however_many_there_are() -> None:
    some, gone = (watched((number, number + 2) for number in range(start, 4000, 4)) for start in (0, 1))
    looks.clear()
    assert count_of(without(some, gone)) == 1000
    assert len(looks) < 10 * (len(some) + len(gone))


@given(st.sets(st.integers(0, 40), min_size=2))
def test_halves_are_as_large_as_each_other_and_keep_the_order(some: set[int]) -> None:
    first, second = halves(ranges_of(some))
    assert [*numbers_in(first), *numbers_in(second)] == sorted(some)
    assert count_of(first) - count_of(second) in (0, 1)
