from hypothesis import given
from hypothesis import strategies as st

from pipeline.receiver.ranges import SeenRanges

added = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@given(added)
def test_it_knows_what_a_set_of_numbers_would_know(ranges: list[tuple[int, int]]) -> None:
    seen, numbers = SeenRanges(), set[int]()
    for first, end in ranges:
        assert seen.add(first, end) == len(numbers & set(range(first, end)))
        numbers |= set(range(first, end))
    assert seen.count() == len(numbers)
    assert seen.first() == min(numbers, default=None)
    assert seen.end() == (max(numbers) + 1 if numbers else None)
    missing = {number for first, end in seen.holes() for number in range(first, end)}
    assert missing == (set(range(min(numbers), max(numbers) + 1)) - numbers if numbers else set())


@given(st.permutations([(10 * k, 10 * k + 10) for k in range(12)]))
def test_no_hole_is_left_in_whatever_order_batches_come(ranges: list[tuple[int, int]]) -> None:
    seen = SeenRanges()
    assert sum(seen.add(first, end) for first, end in ranges) == 0
    assert (seen.holes(), seen.first(), seen.end()) == ([], 0, 120)
