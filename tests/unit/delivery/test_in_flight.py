"""How many tries may be under way at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.in_flight import InFlightCap
from tests.support.simulated_lane import QueueingEndpoint, SimulatedLane


def ends(cap: InFlightCap, times: int, now_s: float, *, duration_s: float = 0.01, full: bool = True, **what) -> None:
    for _ in range(times):
        cap.on_ended(
            delivered=what.get("delivered", True),
            throttled=what.get("throttled", False),
            duration_s=duration_s,
            in_flight=cap.cap if full else 1,
            now_s=now_s,
        )


@pytest.mark.parametrize(("maximum", "first"), [(0, 0), (1, 1), (3, 3), (4, 4), (64, 4)])
def test_it_begins_with_four_or_with_its_maximum(maximum, first):
    assert InFlightCap(maximum).cap == first


def test_it_grows_while_it_is_in_full_use_up_to_its_maximum():
    cap = InFlightCap(8)
    ends(cap, 300, 1.0)
    assert cap.cap == 8


def test_it_does_not_grow_while_it_is_not_used():
    cap = InFlightCap(64)
    ends(cap, 1000, 1.0, full=False)
    assert cap.cap == 4


def test_it_shrinks_once_a_round_trip_however_many_are_throttled():
    cap = InFlightCap(64)
    ends(cap, 2000, 1.0)
    before = cap.cap
    ends(cap, 20, 2.0, throttled=True, delivered=False, duration_s=0.1)
    assert cap.cap == pytest.approx(before * 0.8, abs=1)
    ends(cap, 20, 2.5, throttled=True, delivered=False, duration_s=0.1)
    assert cap.cap == pytest.approx(before * 0.64, abs=1)


def test_it_never_shrinks_below_one_and_grows_again_from_there():
    cap = InFlightCap(64)
    for second in range(100):
        ends(cap, 1, float(second), throttled=True, delivered=False)
    assert cap.cap == 1
    ends(cap, 10, 200.0)
    assert cap.cap >= 3


def test_a_cap_that_shrank_is_back_at_four_within_a_few_deliveries():
    cap = InFlightCap(64)
    for second in range(100):
        ends(cap, 1, float(second), throttled=True, delivered=False)
    ends(cap, 12, 200.0)
    assert cap.cap == 4


def test_an_ordered_lane_has_one_whatever_happens():
    cap = InFlightCap(1)
    ends(cap, 100, 1.0)
    ends(cap, 10, 2.0, throttled=True, delivered=False)
    assert cap.cap == 1


def test_small_rises_do_nothing_however_large_they_are_in_proportion():
    cap = InFlightCap(16)
    ends(cap, 1000, 1.0, duration_s=0.002)
    ends(cap, 500, 2.0, duration_s=0.040)
    assert cap.cap == 16


def test_quick_failures_do_not_pass_for_a_quick_endpoint():
    cap = InFlightCap(16)
    ends(cap, 100, 1.0, duration_s=0.5)
    ends(cap, 1000, 2.0, duration_s=0.001, delivered=False)
    assert cap.usual_s == pytest.approx(0.5)


def test_time_outs_shrink_it():
    cap = InFlightCap(16)
    ends(cap, 1000, 1.0, duration_s=0.5)
    ends(cap, 64, 40.0, duration_s=30.0, delivered=False)
    assert cap.cap == 8


def test_an_endpoint_that_became_slower_for_good_is_found_out():
    cap, now_s = InFlightCap(16), 1.0
    ends(cap, 200, now_s, duration_s=0.2)
    for _ in range(4000):
        now_s += 0.05
        ends(cap, 1, now_s, duration_s=0.4)
    assert cap.cap >= 12
    assert cap.usual_s == pytest.approx(0.4)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("capacity", [2, 8, 24])
def test_it_converges_near_what_the_endpoint_can_do_at_once(capacity, noise):
    lane = SimulatedLane(QueueingEndpoint(capacity, 0.2, noise=noise, seed=capacity), max_in_flight=256)

    lane.run(600)

    late = sorted(lane.caps[len(lane.caps) // 2 :])
    assert capacity * 0.9 <= late[len(late) // 2] <= capacity * 1.6
    assert lane.per_second(300, 600) >= 0.9 * capacity / 0.2


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_does_not_keep_it_from_its_maximum(seed):
    lane = SimulatedLane(QueueingEndpoint(200, 0.2, noise=0.6, seed=seed), max_in_flight=32)
    lane.run(300)
    late = lane.caps[len(lane.caps) // 2 :]
    assert sum(late) / len(late) >= 0.9 * 32


@given(
    st.integers(0, 64),
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.floats(0, 60), st.integers(1, 300), st.floats(0, 10)), max_size=200
    ),
)
def test_it_stays_between_one_and_its_maximum(maximum, story):
    cap, now_s = InFlightCap(maximum), 0.0
    for delivered, throttled, duration_s, in_flight, step_s in story:
        now_s += step_s
        cap.on_ended(
            delivered=delivered and not throttled,
            throttled=throttled,
            duration_s=duration_s,
            in_flight=in_flight,
            now_s=now_s,
        )
        assert min(1, maximum) <= cap.cap <= maximum
