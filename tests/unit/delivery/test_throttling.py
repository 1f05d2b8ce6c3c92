"""What a lane does when its endpoint asks for less."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.delivery.throttling import TAKES_OTHERS_S, LanePause, asks_for_less, counts_as_attempt
from pipeline.model.attempt import Hint, Outcome, Verdict
from tests.support.simulated_lane import OK, QuotaEndpoint, Reply, SimulatedLane, TokenBucketEndpoint, throttled

FAILED = Outcome(Verdict.RETRY, "500", status=500)
BARE_503 = throttled(None, status=503)


def counts(outcome: Outcome, *, delivered: float | None, before: float | None = None, now: float = 1000.0) -> bool:
    return counts_as_attempt(outcome, last_delivered_at=delivered, tried_before_at=before, now=now)


def test_429_asks_for_less_and_so_does_503_that_says_how_long():
    assert asks_for_less(throttled(None))
    assert asks_for_less(throttled(3, status=503))
    assert asks_for_less(Outcome(Verdict.RETRY, "RESOURCE_EXHAUSTED", status=8, hint=Hint.THROTTLED))


def test_a_bare_503_is_a_failure_like_any_other():
    assert not asks_for_less(BARE_503)
    assert not asks_for_less(FAILED)


def test_a_throttled_try_does_not_count_while_the_endpoint_takes_others():
    assert not counts(throttled(None), delivered=1000 - TAKES_OTHERS_S)
    assert counts(throttled(None), delivered=1000 - TAKES_OTHERS_S - 1)
    assert counts(throttled(None), delivered=None)


@pytest.mark.parametrize("outcome", [throttled(0.0), throttled(15), throttled(15, status=503)])
@pytest.mark.parametrize("delivered", [None, 1000.0 - TAKES_OTHERS_S - 1, 1000.0])
def test_a_throttled_try_never_counts_where_the_endpoint_named_a_time(outcome, delivered):
    assert not counts(outcome, delivered=delivered)


def test_a_bare_503_does_not_count_where_others_were_delivered_since_the_batch_was_tried_before():
    assert not counts(BARE_503, delivered=999, before=998)
    assert counts(BARE_503, delivered=998, before=999)
    assert counts(BARE_503, delivered=999, before=None)


def test_any_other_failure_counts():
    assert counts(FAILED, delivered=1000, before=1)


def ended(pause: LanePause, outcome: Outcome, started_s: float, now_s: float) -> None:
    pause.on_started(started_s)
    pause.on_ended(outcome, started_s=started_s, now_s=now_s)


def test_a_lane_that_was_never_throttled_waits_for_nothing():
    pause = LanePause()
    for number in range(1000):
        ended(pause, OK, 5.0, 5.0)
        assert pause.ready_at(5.0) <= 5.0, number
    assert pause.paused_until_s is None


def test_no_try_of_the_lane_begins_before_the_pause_that_the_endpoint_asked_for_is_over():
    pause = LanePause()
    ended(pause, throttled(20), 5.0, 5.1)
    assert pause.ready_at(5.1) == pytest.approx(25.1)
    assert pause.paused_until_s == pytest.approx(25.1)


def test_where_it_names_no_time_the_pauses_grow():
    pause, now_s, pauses = LanePause(), 0.0, []
    for _ in range(9):
        ended(pause, throttled(None), now_s, now_s)
        pauses.append(pause.ready_at(now_s) - now_s)
        now_s = pause.ready_at(now_s)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_answers_to_what_was_under_way_already_do_not_make_the_pause_grow():
    pause = LanePause()
    for started_s in (1.0, 1.0, 1.1, 1.2):
        pause.on_started(started_s)
    for number, started_s in enumerate((1.0, 1.0, 1.1, 1.2)):
        pause.on_ended(throttled(None), started_s=started_s, now_s=1.3 + number / 10)
    assert pause.ready_at(1.6) == pytest.approx(1.6 + 0.5)


def test_an_answer_that_asks_for_less_time_does_not_shorten_the_pause():
    pause = LanePause()
    pause.on_started(1.0)
    pause.on_started(1.0)
    pause.on_ended(throttled(60), started_s=1.0, now_s=1.1)
    pause.on_ended(throttled(2), started_s=1.0, now_s=1.2)
    assert pause.ready_at(1.2) == pytest.approx(61.1)


def test_a_delivery_of_what_was_under_way_already_does_not_spare_the_lane_the_scout():
    pause = LanePause()
    pause.on_started(1.0)
    pause.on_started(1.0)
    pause.on_ended(throttled(2), started_s=1.0, now_s=1.1)
    pause.on_ended(OK, started_s=1.0, now_s=1.2)
    pause.on_started(4.0)
    assert pause.ready_at(4.0) > 60


def test_after_a_pause_one_try_goes_alone():
    pause = LanePause()
    ended(pause, throttled(2), 0.0, 0.0)
    pause.on_started(2.0)
    assert pause.ready_at(2.0) > 60
    pause.on_ended(OK, started_s=2.0, now_s=2.1)
    assert pause.ready_at(2.1) < 4


def test_the_one_try_is_waited_for_however_long_it_takes():
    pause = LanePause()
    ended(pause, throttled(2), 0.0, 0.0)
    pause.on_started(2.0)
    assert pause.ready_at(1e6) > 1e6


def test_a_failure_of_another_kind_ends_the_scouting_too():
    pause = LanePause()
    ended(pause, throttled(2), 0.0, 0.0)
    ended(pause, FAILED, 2.0, 2.1)
    assert pause.ready_at(2.1) < 4


def test_a_pause_that_grew_begins_anew_after_a_delivery():
    pause, now_s = LanePause(), 0.0
    for outcome in (throttled(None), throttled(None), throttled(None), OK):
        ended(pause, outcome, now_s, now_s)
        now_s = max(now_s, pause.ready_at(now_s))
    ended(pause, throttled(None), now_s, now_s)
    assert pause.ready_at(now_s) - now_s == pytest.approx(0.5)


def test_an_endpoint_cannot_stop_a_lane_for_longer_than_a_day():
    pause = LanePause()
    ended(pause, throttled(1e9), 0.0, 0.0)
    assert pause.ready_at(0.0) == 86_400


@example([(0.0, "ok", 9.5e-262), (0.0, "busy", 9.5e-262)])
@given(
    st.lists(
        st.tuples(
            st.floats(0, 30), st.sampled_from(["ok", "failed", "busy", "busy for 3 s", "busy for 0 s"]), st.floats(0, 5)
        ),
        max_size=60,
    )
)
def test_a_lane_that_is_asked_for_nothing_more_is_free_again_in_the_end(story):
    outcomes = {
        "ok": OK,
        "failed": FAILED,
        "busy": throttled(None),
        "busy for 3 s": throttled(3),
        "busy for 0 s": throttled(0),
    }
    pause, now_s = LanePause(), 0.0
    for idle_s, answer, duration_s in story:
        now_s = max(now_s + idle_s, pause.ready_at(now_s))
        pause.on_started(now_s)
        pause.on_ended(outcomes[answer], started_s=now_s, now_s=now_s + duration_s)
        now_s += duration_s
        assert pause.ready_at(now_s) - now_s <= 60  # a pause of its own, or one of the slowest pace
        pace = pause.pace_per_s(now_s)
        assert pace is None or pace > 0
    assert pause.pace_per_s(now_s + 3600) is None


ENDPOINTS = {
    "750 a minute, in windows": lambda says_when: QuotaEndpoint(750, 60, says_when=says_when),
    "100 in 10 s, in windows": lambda says_when: QuotaEndpoint(100, 10, says_when=says_when),
    "50 a second, in windows": lambda says_when: QuotaEndpoint(50, 1, says_when=says_when),
    "50 a second": lambda says_when: TokenBucketEndpoint(50, 50, says_when=says_when),
    "10 a second": lambda says_when: TokenBucketEndpoint(10, 10, says_when=says_when),
    "10 a second, none in advance": lambda says_when: TokenBucketEndpoint(10, 1, says_when=says_when),
    "1 a second, none in advance": lambda says_when: TokenBucketEndpoint(1, 1, says_when=says_when),
}


@pytest.mark.parametrize("says_when", [True, False], ids=["with Retry-After", "without"])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_storm_settles_within_a_tenth_of_the_allowed_rate_and_parks_nothing(name, says_when):
    endpoint = ENDPOINTS[name](says_when)
    lane = SimulatedLane(endpoint, max_in_flight=16)

    lane.run(360)

    assert lane.parked_s == []
    assert lane.per_second(60, 360) >= 0.9 * endpoint.per_second


@pytest.mark.parametrize("says_when", [True, False], ids=["with Retry-After", "without"])
def test_a_lane_that_has_settled_is_refused_a_few_percent_of_its_requests(says_when):
    lane = SimulatedLane(TokenBucketEndpoint(50, 50, says_when=says_when), max_in_flight=16)
    lane.run(300)
    late = [at_s for at_s in lane.throttled_s if at_s > 60]
    assert len(late) <= 0.01 * 240 * 50


def test_a_limit_that_is_raised_is_made_use_of():
    endpoint = TokenBucketEndpoint(10, 10)
    lane = SimulatedLane(endpoint)
    lane.run(120)
    endpoint.per_second = endpoint.burst = 100
    lane.run(360)
    assert lane.per_second(300, 360) >= 90


def test_a_limit_that_is_lowered_is_kept_to():
    endpoint = TokenBucketEndpoint(100, 100)
    lane = SimulatedLane(endpoint)
    lane.run(120)
    endpoint.per_second = endpoint.burst = 10
    lane.run(360)
    assert 9 <= lane.per_second(240, 360) <= 10.1
    assert lane.parked_s == []


def test_an_endpoint_that_refuses_everyone_for_long_uses_up_its_batches_tries():
    lane = SimulatedLane(lambda _now_s: Reply(throttled(None), 0.01))
    lane.run(3600)
    assert lane.parked_s
    assert len(lane.started_s) <= 3600 / 30 + 20
