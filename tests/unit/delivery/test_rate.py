"""The local rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.rate import LocalRate, TokenBucket
from pipeline.model.integration import RateSettings


def test_a_full_bucket_gives_its_burst_at_once_and_then_says_when_there_is_more():
    bucket = TokenBucket(50, 100)
    assert [bucket.try_take(1, 7.0) for _ in range(100)] == [0.0] * 100
    assert bucket.try_take(1, 7.0) == pytest.approx(0.02)


def test_whoever_waits_as_long_as_it_said_gets_it():
    bucket = TokenBucket(3, 1)
    assert bucket.try_take(1, 0.0) == 0
    wait_s = bucket.try_take(1, 0.0)
    assert bucket.try_take(1, wait_s) == 0


def test_a_refusal_takes_nothing():
    bucket = TokenBucket(10, 5)
    bucket.try_take(5, 0.0)
    assert bucket.try_take(5, 0.0) == bucket.try_take(5, 0.0)


def test_what_costs_more_than_the_burst_goes_when_the_bucket_is_full_and_is_made_up_for():
    bucket = TokenBucket(10, 5)
    assert bucket.try_take(25, 0.0) == 0
    assert bucket.try_take(1, 0.0) == pytest.approx(2.1)


def test_a_clock_that_goes_back_gives_nothing_away():
    bucket = TokenBucket(10, 5)
    bucket.try_take(5, 100.0)
    assert bucket.try_take(1, 50.0) > 0
    assert bucket.held(100.0) == 0


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_that_lets_nothing_through_is_none(per_second, burst):
    with pytest.raises(ValueError, match="lets nothing through"):
        TokenBucket(per_second, burst)


@given(
    st.floats(0.1, 1000),
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(1, 20), st.floats(0, 3)), max_size=100),
)
def test_in_any_time_no_more_goes_than_the_burst_and_what_came_in(per_second, burst, takes):
    bucket, now_s, taken = TokenBucket(per_second, burst), 0.0, []
    for tokens, step_s in takes:
        now_s += step_s
        if bucket.try_take(tokens, now_s) == 0:
            taken.append((now_s, tokens))
    largest = max((tokens for _, tokens in taken), default=0)
    for start, (first_s, _) in enumerate(taken):
        total = 0
        for at_s, tokens in taken[start:]:
            total += tokens
            assert total <= max(burst, largest) + largest + (at_s - first_s) * per_second + 1e-6


@given(st.floats(0.5, 200), st.integers(1, 50))
def test_whoever_asks_again_when_told_gets_the_whole_rate(per_second, burst):
    bucket, now_s, taken = TokenBucket(per_second, burst), 0.0, 0
    while now_s < 60 / per_second:
        wait_s = bucket.try_take(1, now_s)
        taken += wait_s == 0
        now_s += wait_s
    assert taken >= 60 + burst - 2


def test_requests_cost_one_each_whatever_is_in_them_and_events_what_they_are():
    by_request = LocalRate(RateSettings(per_second=10, burst=2))
    by_event = LocalRate(RateSettings(per_second=10, burst=2, unit="events"))
    assert [by_request.try_take(100, 0.0) for _ in range(2)] == [0, 0]
    assert by_event.try_take(100, 0.0) == 0
    assert by_event.try_take(1, 0.0) == pytest.approx(9.9)


@pytest.mark.parametrize(("per_second", "burst"), [(50, 50), (0.5, 1), (2.6, 3)])
def test_without_a_burst_it_is_a_second_of_the_rate(per_second, burst):
    assert RateSettings(per_second=per_second).burst_or_default == burst


@pytest.mark.parametrize("per_second", [0, -1, True, "fast", float("nan"), float("inf")])
def test_a_rate_is_a_number_above_0(per_second):
    with pytest.raises(ValueError):  # noqa: PT011 pydantic's
        RateSettings(per_second=per_second)
