"""How many sign-ins may fail."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.view import throttle
from pipeline.view.throttle import FailureThrottle, retry_after


def test_a_client_waits_after_ten_failures_and_not_before() -> None:
    counting = FailureThrottle()
    waits = []
    for _ in range(10):
        waits.append(counting.wait_s("a", 0.0))
        counting.failed("a", 0.0)
    assert waits == [0.0] * 10
    assert counting.wait_s("a", 1.0) == 59.0


def test_one_client_does_not_make_another_wait() -> None:
    counting = FailureThrottle()
    for _ in range(50):
        counting.failed("a", 0.0)
    assert counting.wait_s("b", 0.0) == 0.0


def test_many_clients_together_make_strangers_wait_but_nobody_who_signed_in_before() -> None:
    counting = FailureThrottle()
    counting.succeeded("known")
    for number in range(100):
        counting.failed(f"stranger-{number}", 0.0)
    assert counting.wait_s("new", 0.0) == 60.0
    assert counting.wait_s("known", 0.0) == 0.0


def test_success_does_not_pay_for_failures() -> None:
    counting = FailureThrottle()
    for _ in range(10):
        counting.failed("a", 0.0)
        counting.succeeded("a")
    assert counting.wait_s("a", 0.0) == 60.0


def test_what_is_kept_of_clients_is_bounded() -> None:
    counting = FailureThrottle()
    for number in range(throttle.MOST_CLIENTS + 10):
        counting.failed(str(number), 0.0)
        counting.succeeded(str(number))
    assert len(counting._failures) == len(counting._known) == throttle.MOST_CLIENTS


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 200.0)), max_size=60), st.floats(0.0, 300.0))
def test_never_more_failures_within_a_minute_than_permitted(tries: list[tuple[str, float]], later_s: float) -> None:
    counting = FailureThrottle(most_of_a_client=3, most_in_all=5)
    failed: list[tuple[str, float]] = []
    for client, now_s in sorted(tries, key=lambda each: each[1]):
        if counting.wait_s(client, now_s) == 0:
            counting.failed(client, now_s)
            failed.append((client, now_s))
    for at in (now_s for _, now_s in failed):
        within = [client for client, now_s in failed if at <= now_s < at + 60]
        assert len(within) <= 5
        assert within.count("a") <= 3
    last_s = max((now_s for _, now_s in failed), default=0.0)
    assert counting.wait_s("a", last_s + 60 + later_s) == 0.0


def test_retry_after_is_whole_seconds_and_never_none() -> None:
    assert [retry_after(wait_s) for wait_s in (0.0, 0.2, 1.0, 59.1)] == ["1", "1", "1", "60"]
