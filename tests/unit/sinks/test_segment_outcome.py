import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.partial import share_out
from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.ranges import Ranges, count_of, numbers_in
from pipeline.net.client import Answer
from pipeline.sinks.segment_message import Call, Plan
from pipeline.sinks.segment_outcome import ends_the_try, outcome_of, understood

NOW_S = 1_700_000_000.0
OK = Outcome(Verdict.DELIVERED, "200", status=200, request_bytes=10, answer_bytes=1)
BAD = Outcome(Verdict.REFUSED, "400", status=400, request_bytes=10, answer_bytes=1)
LATER = Outcome(Verdict.RETRY, "503", status=503, retry_after_s=7.0, request_bytes=10, answer_bytes=1)
STRANGER = Outcome(Verdict.REFUSED, "401", status=401, request_bytes=10, hint=Hint.UNAUTHORIZED)
GONE = Outcome(Verdict.REFUSED, "410", status=410, hint=Hint.GONE)
TOO_LARGE = Outcome(Verdict.REFUSED, "413", status=413, hint=Hint.TOO_LARGE)


def call(first: int, end: int) -> Call:
    return Call(((first, end),), [{}] * (end - first))


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, headers.get("retry_after"), body, len(body), rate_limit_reset=headers.get("reset"))


def test_a_single_call_speaks_for_the_batch() -> None:
    for outcome in (OK, BAD, LATER, STRANGER):
        told = outcome_of(Plan([call(0, 9)], []), [outcome], duration_s=2.0)
        assert (told.verdict, told.detail, told.arrived, told.refused) == (outcome.verdict, outcome.detail, (), ())
        assert told.duration_s == 2.0


def test_several_calls_that_arrive_are_a_delivery() -> None:
    told = outcome_of(Plan([call(0, 4), call(4, 9)], []), [OK, OK], duration_s=2.0)
    assert (told.verdict, told.detail) == (Verdict.DELIVERED, "9 events have arrived, in 2 requests")
    assert (told.request_bytes, told.answer_bytes, told.duration_s) == (20, 2, 2.0)


def test_a_try_that_ends_names_what_arrived_before() -> None:
    told = outcome_of(Plan([call(0, 4), call(4, 6), call(6, 9)], []), [OK, LATER], duration_s=1.0)
    assert (told.verdict, told.status, told.retry_after_s, told.arrived) == (Verdict.RETRY, 503, 7.0, ((0, 4),))
    assert told.detail == "503 (4 of 9 events have arrived)"


def test_a_try_that_ends_before_its_last_call_is_cut_short() -> None:
    plan = Plan([call(0, 4), call(4, 6), call(6, 9)], [])
    assert outcome_of(plan, [OK, LATER], duration_s=1.0).is_cut_short
    assert not outcome_of(plan, [OK, OK, LATER], duration_s=1.0).is_cut_short
    assert not outcome_of(plan, [OK, BAD, OK], duration_s=1.0).is_cut_short


def test_a_try_that_leaves_calls_to_the_next_owner_has_not_delivered_them() -> None:
    plan = Plan([call(0, 4), call(4, 6), call(6, 9)], [])
    told = outcome_of(plan, [OK], duration_s=1.0)
    assert (told.verdict, told.arrived, told.is_left) == (Verdict.RETRY, ((0, 4),), True)
    assert told.detail.startswith("4 of 9 events have arrived, the others are left")
    told = outcome_of(plan, [OK, BAD], duration_s=1.0)
    assert (told.verdict, told.arrived, told.refused) == (Verdict.RETRY, ((0, 4),), (Refusal(4, 6, "400"),))
    assert not outcome_of(plan, [OK, LATER], duration_s=1.0).is_left


def test_a_refused_call_is_given_up_alone() -> None:
    told = outcome_of(Plan([call(0, 4), call(4, 6), call(6, 9)], []), [OK, BAD, OK], duration_s=1.0)
    assert (told.verdict, told.status, told.arrived) == (Verdict.REFUSED, 400, ((0, 4), (6, 9)))
    assert told.refused == (Refusal(4, 6, "400"),)
    assert told.detail == "2 of 9 events were refused, the first: event 4: 400"


def test_an_event_that_no_call_carries_is_given_up_alone() -> None:
    refusal = Refusal(3, 4, "too large")
    told = outcome_of(Plan([Call(((0, 3), (4, 9)), [{}] * 8)], [refusal]), [OK], duration_s=1.0)
    assert (told.verdict, told.arrived, told.refused) == (Verdict.REFUSED, ((0, 3), (4, 9)), (refusal,))


def test_a_batch_that_no_call_carries_is_refused() -> None:
    told = outcome_of(Plan([], [Refusal(0, 1, "too large")]), [], duration_s=1.0)
    assert (told.verdict, told.detail) == (
        Verdict.REFUSED,
        "1 of 1 events were refused, the first: event 0: too large",
    )


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(OK, False), (BAD, False), (LATER, True), (STRANGER, True), (GONE, True), (TOO_LARGE, True)],
)
def test_what_concerns_more_than_one_call_ends_the_try(outcome: Outcome, *, expected: bool) -> None:
    assert ends_the_try(outcome) is expected


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([OK, BAD, LATER, STRANGER, None])), min_size=1, max_size=8),
)
def test_every_event_is_accounted_for_exactly_once(steps: list[tuple[int, Outcome | None]]) -> None:
    calls, refused, made, expected = [], [], [], {}
    position, has_ended = 0, False
    for size, outcome in steps:
        numbers = range(position, position + size)
        position += size
        if outcome is None:
            refused += [Refusal(number, number + 1, "too large") for number in numbers]
            expected |= dict.fromkeys(numbers, "refused")
            continue
        calls.append(call(numbers.start, numbers.stop))
        if has_ended:
            expected |= dict.fromkeys(numbers, "rest")
            continue
        made.append(outcome)
        has_ended = ends_the_try(outcome)
        expected |= dict.fromkeys(numbers, {OK: "arrived", BAD: "refused"}.get(outcome, "rest"))

    whole: Ranges = ((0, position),)
    told = outcome_of(Plan(calls, refused), made, duration_s=1.0)
    share = share_out(whole, told)
    if len(calls) == 1 and not refused and made == [BAD]:
        assert share.rest == whole  # the batch's own verdict says it
        return
    given_up = [*numbers_in(share.refused)]
    found = dict.fromkeys(numbers_in(share.arrived), "arrived") | dict.fromkeys(given_up, "refused")
    found |= dict.fromkeys(numbers_in(share.rest), "rest")
    assert found == expected
    assert count_of(share.arrived) + len(given_up) + count_of(share.rest) == position


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": false}',
        b' {"success":false,"message":"no"}',
        b'{"error": "bad key"}',
        b'{"error":{"code":1}}',
        b'\xef\xbb\xbf{"success": false}',
        b'{"success": false, "message": "caf\xe9"}',
    ],
)
def test_a_success_that_says_it_is_none_is_a_refusal(body: bytes) -> None:
    told = understood(OK, answer(body=body), now_s=NOW_S)
    assert told.verdict is Verdict.REFUSED
    assert told.detail == "200, and says in its body that it has not taken the events"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b'{"success": true}',
        b'{"success": 0}',
        b'{"error": null}',
        b"[1]",
        b"{",
        b"\xff",
        b"{" * 5000,
        b'{"a":' * 3000,
        b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_any_other_body_changes_nothing(body: bytes) -> None:
    assert understood(OK, answer(body=body), now_s=NOW_S) is OK


@pytest.mark.parametrize(
    ("reset", "expected"),
    [("30", 30.0), ("1700000012", 12.0), ("1600000000", 0.0), ("9999999999", 86_400.0), ("soon", None), (None, None)],
)
def test_a_pause_may_stand_in_the_rate_limit(reset: str | None, expected: float | None) -> None:
    throttled = Outcome(Verdict.RETRY, "429", status=429)
    told = understood(throttled, answer(429, reset=reset), now_s=NOW_S)
    assert told.retry_after_s == expected


def test_retry_after_wins_over_the_rate_limit() -> None:
    assert understood(LATER, answer(503, reset="30"), now_s=NOW_S).retry_after_s == 7.0
