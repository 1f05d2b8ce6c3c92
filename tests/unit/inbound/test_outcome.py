import pytest

from pipeline.inbound.outcome import Outcome


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_label_a_status_and_a_sentence_for_people(outcome: Outcome) -> None:
    assert outcome.label
    assert 200 <= outcome.status < 600
    assert outcome.meaning.endswith(".")


def test_no_two_outcomes_have_the_same_label() -> None:
    assert len({outcome.label for outcome in Outcome}) == len(Outcome)


def test_a_success_is_what_is_answered_with_200() -> None:
    assert {outcome for outcome in Outcome if outcome.is_success} == {
        outcome for outcome in Outcome if outcome.status == 200
    }


def test_what_may_succeed_later_is_what_callers_repeat() -> None:
    assert {outcome for outcome in Outcome if outcome.is_temporary} == {
        outcome for outcome in Outcome if outcome.status in {429, 503}
    }


def test_no_request_is_answered_as_a_fault_of_the_server_that_is_not_temporary() -> None:
    assert {outcome.status for outcome in Outcome if outcome.status >= 500} == {503}


def test_the_documented_reasons_are_spelled_as_documented() -> None:
    assert Outcome.AUTH_REJECTED.label == "Auth rejected"
    assert Outcome.IDENTIFIER_MISSING.label == "User identifier field missing"
