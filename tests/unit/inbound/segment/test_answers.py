import json
import re

import pytest

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import PONG, REFUSALS, TAKEN, failure_answer, meaning, refused
from pipeline.inbound.segment.reasons import Reason

SEGMENT_SENDS_AGAIN = {408, 423, 429, *range(500, 600)} - {501}


def test_what_is_taken_is_answered_with_nothing() -> None:
    assert TAKEN == (200, b"", "")


def test_a_ping_is_answered_with_an_empty_object() -> None:
    assert PONG == (200, b"{}", "application/json")


@pytest.mark.parametrize("outcome", REFUSALS)
def test_a_refusal_has_the_status_of_its_outcome(outcome: Outcome) -> None:
    assert refused(outcome).answer.status == outcome.status


@pytest.mark.parametrize("outcome", REFUSALS)
def test_segment_sends_again_what_may_pass_later_and_nothing_else(outcome: Outcome) -> None:
    assert (refused(outcome).answer.status in SEGMENT_SENDS_AGAIN) == outcome.is_temporary


@pytest.mark.parametrize("outcome", REFUSALS)
def test_a_refusal_has_a_message_for_callers_that_read_it(outcome: Outcome) -> None:
    assert list(json.loads(refused(outcome).answer.body)) == ["message"]


@pytest.mark.parametrize("outcome", [*REFUSALS, Outcome.IDENTIFIER_MISSING])
def test_nobody_who_calls_as_segment_does_is_told_of_a_webhook(outcome: Outcome) -> None:
    assert not {"webhook", "secret", "sample"} & set(re.findall(r"\w+", meaning(outcome)))


def test_a_message_is_written_as_the_vendors_service_writes_json() -> None:
    answer = failure_answer("post event", 'a "quoted" <tag> & \u2028é')
    assert answer.body == (
        b'{"action":"post event","status":"failure",'
        b'"error":{"message":"a \\"quoted\\" \\u003ctag\\u003e \\u0026 \\u2028\xc3\xa9"}}'
    )


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert reason.label
    assert reason.meaning.endswith(".")
