import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conform.judge import Grade, Reply, came_of, is_quick, refuses, takes

statuses = st.integers(100, 599)


def reply(status: int | None, duration_s: float = 0.004, head: str = "") -> Reply:
    return Reply(status, duration_s, "connection refused" if status is None else "", head)


@given(st.lists(st.integers(200, 299), min_size=1))
def test_2xx_throughout_is_taken(given_statuses: list[int]) -> None:
    replies = [reply(status) for status in given_statuses]
    assert takes()(replies).grade is Grade.PASS
    assert refuses("it was taken")(replies) == (Grade.FAIL, "it was taken")


@given(st.lists(st.integers(200, 299)), st.one_of(st.none(), statuses.filter(lambda status: status // 100 != 2)))
def test_one_that_is_not_taken_fails_all_and_is_explained(good: list[int], bad: int | None) -> None:
    grade, advice = takes()([*(reply(status) for status in good), reply(bad)])
    assert grade is Grade.FAIL
    assert advice.endswith((".", ")."))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "No answer: connection refused"),
        (302, "Redirects are not followed"),
        (401, "--secret"),
        (410, "halt"),
        (422, "refuses the events for good"),
        (503, "sent again"),
    ],
)
def test_the_advice_fits_the_answer(status: int | None, words: str) -> None:
    assert words in takes()([reply(status)]).advice


def test_advice_of_the_check_goes_before_the_usual_one_and_the_answer_is_quoted() -> None:
    finding = takes(unless="Look the id up.")([reply(409, head="I know\nthis one")])
    assert finding == (Grade.FAIL, 'Look the id up. It said: "I know this one"')


def test_what_can_be_lived_with_is_a_warning() -> None:
    assert takes(softly=frozenset({413}), hint="Smaller.")([reply(413)]) == (Grade.WARN, "Smaller.")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_for_good_is_what_bad_requests_deserve(status: int) -> None:
    assert refuses("taken")([reply(status)]).grade is Grade.PASS


@pytest.mark.parametrize("status", [None, 408, 429, 500, 503])
def test_a_bad_request_that_would_be_sent_again_is_a_warning(status: int | None) -> None:
    assert refuses("taken")([reply(status)]).grade is Grade.WARN


def test_slow_answers_are_a_warning() -> None:
    assert is_quick(4.9).grade is Grade.PASS
    assert is_quick(5.1).grade is Grade.WARN


def test_what_came_is_told_in_a_few_words() -> None:
    assert came_of([]) == ""
    assert came_of([reply(200)]) == "200 in 4 ms"
    assert came_of([reply(200), reply(503), reply(200), reply(None, 1.26)]) == "2 x 200, 503, no answer in 1.3 s"
