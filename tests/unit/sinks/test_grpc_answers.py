"""What an endpoint's answers add up to."""

import hypothesis.strategies as st
from hypothesis import given

from pipeline.model.attempt import Refusal
from pipeline.model.ranges import numbers_in
from pipeline.sinks.grpc_answers import Answers, merged, status_name
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import EventResult

SUCCESS, FAILED, REJECTED = EventResult.Success, EventResult.Failed, EventResult.Rejected
UUIDS = ("a", "b", "c", "d", "b")  # b twice: numbers 1 and 4

said = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "x"]), st.sampled_from([0, 1, 2, 3, 4, 99])), max_size=30
)


def answers_to(results: list[tuple[str, int]]) -> Answers:
    answers = Answers(lambda text: text.replace("secret", "***"))
    answers.expect((uuid, number) for number, uuid in enumerate(UUIDS))
    answers.take([EventResult(uuid=uuid, status=status, message="a secret\nword") for uuid, status in results])
    return answers


@given(said)
def test_an_event_has_arrived_when_any_answer_says_so(results) -> None:
    answers = answers_to(results)
    successful = {uuid for uuid, status in results if status == SUCCESS}
    assert {*numbers_in(answers.arrived)} == {number for number, uuid in enumerate(UUIDS) if uuid in successful}


@given(said)
def test_an_event_is_rejected_when_an_answer_says_so_and_none_says_success(results) -> None:
    answers = answers_to(results)
    successful = {uuid for uuid, status in results if status == SUCCESS}
    rejected = {uuid for uuid, status in results if status == REJECTED} - successful
    assert {refusal.first for refusal in answers.rejected()} == {n for n, uuid in enumerate(UUIDS) if uuid in rejected}


@given(said)
def test_every_event_that_was_answered_arrived_or_is_rejected_or_failed(results) -> None:
    answers = answers_to(results)
    parts = [
        {*numbers_in(answers.arrived)},
        {refusal.first for refusal in answers.rejected()},
        {number for number, _ in answers.failed()},
    ]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert set.union(*parts) == {*numbers_in(answers.answered)}
    assert answers.are_complete == (len(set.union(*parts)) == len(UUIDS))


@given(said, st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(results, random) -> None:
    shuffled = random.sample(results, len(results))
    one, other = answers_to(results), answers_to(shuffled)
    assert (one.arrived, one.answered, one.unknown) == (other.arrived, other.answered, other.unknown)
    assert [number for number, _ in one.failed()] == [number for number, _ in other.failed()]


def test_what_is_odd_is_counted() -> None:
    answers = answers_to([("x", 1), ("a", 1), ("a", 1), ("a", 2), ("c", 2), ("c", 2)])
    assert answers.oddities() == [
        "1 answer to events that were not sent",
        "2 answers that repeated another",
        "1 answer that contradicted another",
    ]


def test_words_are_one_line_without_secrets() -> None:
    assert answers_to([("a", FAILED)]).failed() == [(0, "Failed: a *** word")]


def test_a_status_of_a_newer_proto_has_its_number() -> None:
    assert (status_name(SUCCESS), status_name(17)) == ("Success", "status 17")


def test_neighbours_with_the_same_reason_are_one_refusal() -> None:
    refusals = [Refusal(4, 5, "a"), Refusal(1, 2, "a"), Refusal(2, 3, "a"), Refusal(3, 4, "b")]
    assert merged(refusals) == (Refusal(1, 3, "a"), Refusal(3, 4, "b"), Refusal(4, 5, "a"))
