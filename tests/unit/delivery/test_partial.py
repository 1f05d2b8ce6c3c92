"""Every event of a batch has exactly one fate after a try."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.partial import share_out
from pipeline.model.attempt import Outcome, Refusal, Verdict
from pipeline.model.ranges import Ranges, numbers_in, ranges_of

numbers = st.sets(st.integers(0, 30))
refusals = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=4)


def members(ranges: Ranges) -> set[int]:
    return set(numbers_in(ranges))


@given(st.sets(st.integers(0, 30), min_size=1), numbers, refusals, st.sampled_from(Verdict))
def test_each_event_has_one_share_whatever_the_sink_says(
    batch: set[int], arrived: set[int], refused: list[tuple[int, int]], verdict: Verdict
) -> None:
    outcome = Outcome(
        verdict,
        "",
        arrived=ranges_of(arrived),
        refused=tuple(Refusal(first, first + count, "why") for first, count in refused),
    )
    share = share_out(ranges_of(batch), outcome)
    everywhere = [*numbers_in(share.arrived), *numbers_in(share.rest), *numbers_in(share.refused)]
    assert sorted(everywhere) == sorted(batch)
    named = {number for first, count in refused for number in range(first, first + count)}
    assert members(share.refused) == batch & named
    if verdict is Verdict.DELIVERED:
        assert members(share.arrived) == batch - named
    else:
        assert members(share.arrived) == (batch & arrived) - named
