"""The retry rule."""

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.delivery.rows import Fate
from pipeline.delivery.schedule import Decision, decide
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.integration import Retry

NOW = 1_700_000_000.0
DAY_S = 86_400.0
CONTRACT = Retry()

delays = st.lists(st.floats(0, DAY_S), max_size=6).map(tuple)
retries = st.builds(
    lambda delays, on_exhausted: Retry(delays=delays, on_exhausted=on_exhausted),
    delays,
    st.sampled_from(["park", "discard"]),
)
pauses = st.none() | st.floats(0, 10 * DAY_S)


def after(outcome: Outcome, attempts: int, retry: Retry = CONTRACT, deadline: float = NOW + 3 * DAY_S) -> Decision:
    return decide(outcome, attempts=attempts, retry=retry, deadline=deadline, now=NOW)


def failed(retry_after_s: float | None = None) -> Outcome:
    return Outcome(Verdict.RETRY, "503 Service Unavailable", retry_after_s=retry_after_s)


def test_by_default_there_are_tries_after_1_3_and_8_seconds_and_then_the_batch_is_parked():
    pauses_s = [after(failed(), attempts).next_at - NOW for attempts in (1, 2, 3)]
    assert pauses_s == [1, 3, 8]
    assert after(failed(), 4) == Decision(Fate.PARKED, reason="retries exhausted: 503 Service Unavailable")


def test_what_the_endpoint_asks_for_wins_over_a_shorter_pause_and_not_over_a_longer_one():
    assert after(failed(30), 1).next_at == NOW + 30
    assert after(failed(2), 3).next_at == NOW + 8


def test_a_refused_batch_is_not_tried_again():
    refused = Outcome(Verdict.REFUSED, "404 Not Found")
    assert after(refused, 1) == Decision(Fate.PARKED, reason="refused: 404 Not Found")
    assert after(refused, 1, Retry(on_exhausted="discard")).fate is Fate.DISCARDED


@given(retries, st.integers(1, 8), pauses)
def test_there_is_one_try_more_than_pauses(retry, attempts, pause):
    assert (after(failed(pause), attempts, retry).fate is None) == (attempts <= len(retry.delays_s))


@given(retries, st.integers(1, 8), pauses, st.floats(-DAY_S, 10 * DAY_S))
def test_a_next_try_is_due_neither_before_its_pause_is_over_nor_after_the_deadline(
    retry, attempts, pause, deadline_in_s
):
    deadline = NOW + deadline_in_s
    decision = after(failed(pause), attempts, retry, deadline)
    assume(decision.fate is None)
    wanted = NOW + max(retry.delays_s[attempts - 1], pause or 0)
    assert NOW <= decision.next_at <= max(deadline, NOW)
    assert decision.next_at == wanted or (decision.next_at == max(deadline, NOW) and deadline < wanted)


@given(retries, st.integers(1, 8))
def test_a_delivered_batch_is_done_whatever_came_before(retry, attempts):
    assert after(Outcome(Verdict.DELIVERED, "200 OK"), attempts, retry) == Decision(Fate.DELIVERED)


@given(retries, st.integers(1, 8), st.sampled_from([Verdict.RETRY, Verdict.REFUSED]))
def test_giving_up_follows_the_setting(retry, attempts, verdict):
    decision = after(Outcome(verdict, "no"), attempts, retry)
    assume(decision.fate is not None)
    assert decision.fate is (Fate.PARKED if retry.on_exhausted == "park" else Fate.DISCARDED)
