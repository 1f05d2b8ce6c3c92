"""The gRPC sink and what receivers say of each event, over real connections."""

import asyncio

import pytest

from pipeline.model.attempt import Outcome, Refusal, Verdict
from pipeline.sinks import grpc_exchange
from pipeline.sinks.grpc import SPEC
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverResponse, EventResult
from tests.contract.test_every_sink import NOW_S, SECRET, sink_to
from tests.support.grpc_batches import batch_of, batch_of_events, event_of, outcome_of
from tests.support.grpc_endpoint import Status, Stream, answering, in_turn, serving_grpc, silence


async def stream_of(batch, **more) -> Stream:
    """What arrives for ``batch`` at an endpoint that takes everything."""
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), **more) as sink:
        outcome = await sink.send(batch, now_s=NOW_S)
        assert outcome.verdict is Verdict.DELIVERED, outcome
        (stream,) = endpoint.streams
        return stream


async def test_a_batch_whose_events_are_all_answered_with_success_is_delivered() -> None:
    outcome = await outcome_of(answering(), batch_of(50))
    assert (outcome.verdict, outcome.status, outcome.detail) == (Verdict.DELIVERED, 0, "50 events have arrived")
    assert (outcome.arrived, outcome.refused, outcome.hint) == ((), (), None)
    assert outcome.request_bytes > 50 * 40
    assert outcome.answer_bytes > 50 * 5
    assert 0 < outcome.duration_s < 5


async def test_metadata_say_which_events_come_and_who_sends_them() -> None:
    stream = await stream_of(batch_of(3, first=7))
    assert stream.metadata["webhook-id"] == "crm:7-10"
    assert stream.metadata["webhook-timestamp"] == "1700000000"
    assert stream.metadata["distributary-sequence"] == "crm 7-10"
    assert stream.metadata["authorization"] == SECRET
    assert stream.metadata["user-agent"].startswith("Distributary/test ")
    assert "distributary-purpose" not in stream.metadata


async def test_metadata_say_why_events_come_that_have_not_just_happened() -> None:
    assert (await stream_of(batch_of(1, lane="crm~backfill"))).metadata["distributary-purpose"] == "backfill"


async def test_one_event_travels_in_a_message() -> None:
    stream = await stream_of(batch_of(5, first=7))
    assert len(stream.messages) == 5
    assert [(event.uuid, event.sequence) for event in stream.events] == [(f"u-{n}", n) for n in range(7, 12)]


async def test_several_events_travel_in_a_message_where_the_receiver_takes_them() -> None:
    stream = await stream_of(batch_of(10), max_events_per_message=4)
    assert (len(stream.messages), len(stream.events)) == (3, 10)


async def test_the_events_that_failed_are_sent_again_and_no_others() -> None:
    batch = batch_of(4)
    async with (
        serving_grpc(in_turn(answering(u_1=Status.Failed, u_3=Status.Failed), answering())) as endpoint,
        sink_to(SPEC, endpoint.url()) as sink,
    ):
        first = await sink.send(batch, now_s=NOW_S)
        second = await sink.send(batch.only(((1, 2), (3, 4))), now_s=NOW_S + 1)
    assert (first.verdict, first.arrived, first.refused) == (Verdict.RETRY, ((0, 1), (2, 3)), ())
    assert first.detail == "2 of 4 events were not taken, the first: event 1: Failed"
    assert (second.verdict, second.detail) == (Verdict.DELIVERED, "2 events have arrived")
    assert endpoint.streams[1].uuids == ["u-1", "u-3"]
    assert endpoint.streams[1].metadata["webhook-id"] == "crm:1-4~2"
    assert endpoint.streams[1].metadata["distributary-sequence"] == "crm 1-2,3-4"


async def test_a_retry_sends_the_same_bytes() -> None:
    batch = batch_of(30, payload="Welcome 👋")
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), max_events_per_message=7) as sink:
        await sink.send(batch, now_s=NOW_S)
        await sink.send(batch, now_s=NOW_S + 60)
    assert endpoint.streams[0].messages == endpoint.streams[1].messages


async def test_a_rejected_event_is_given_up_alone() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        await stream.answer(["u-0", "u-2"])
        await stream.answer(["u-1"], Status.Rejected, "no such\ncampaign")

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((0, 1), (2, 3)))
    assert outcome.refused == (Refusal(1, 2, "Rejected: no such campaign"),)
    assert outcome.detail == "1 of 3 events are given up, the first: event 1: Rejected: no such campaign"


async def test_events_that_failed_are_retried_although_another_is_rejected() -> None:
    outcome = await outcome_of(answering(u_0=Status.Rejected, u_1=Status.Failed))
    assert (outcome.verdict, outcome.arrived, outcome.refused) == (
        Verdict.RETRY,
        ((2, 3),),
        (Refusal(0, 1, "Rejected"),),
    )


@pytest.mark.parametrize("status", [Status.Unspecified, Status.Failed, 4, 99, -1])
async def test_whatever_is_not_success_is_sent_again(status: int) -> None:
    outcome = await outcome_of(answering(u_1=status))
    assert (outcome.verdict, outcome.arrived, outcome.refused) == (Verdict.RETRY, ((0, 1), (2, 3)), ())


async def test_answers_to_events_that_were_not_sent_change_nothing() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        await stream.answer(["u-9", "", "u-0", "u-1"])

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((0, 2),))
    assert outcome.detail == "1 of 3 events were not answered; 2 answers to events that were not sent"


async def test_the_same_answer_twice_counts_once() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        await stream.answer(["u-0", "u-1", "u-0"])
        await stream.answer(["u-1", "u-2"])

    outcome = await outcome_of(answer)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.detail == "3 events have arrived; 2 answers that repeated another"


@pytest.mark.parametrize("order", [(Status.Success, Status.Failed), (Status.Failed, Status.Success)])
async def test_of_contradicting_answers_success_counts(order: tuple[int, int]) -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        for status in order:
            await stream.answer(stream.uuids, status)

    outcome = await outcome_of(answer)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.detail == "3 events have arrived; 3 answers that contradicted another"


async def test_two_events_of_the_same_uuid_share_its_answer() -> None:
    batch = batch_of_events([event_of(0), event_of(1), event_of(0)])
    outcome = await outcome_of(answering(u_0=Status.Failed), batch)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((1, 2),))


async def test_silence_until_the_receiver_ends_the_stream_is_retried() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.RETRY, 0, ())
    assert outcome.detail == "3 of 3 events were not answered"


async def test_silence_until_the_deadline_is_retried() -> None:
    outcome = await outcome_of(silence(), timeout_s=0.3)
    assert (outcome.verdict, outcome.arrived, outcome.detail) == (Verdict.RETRY, (), "no answer within 0.3 s")
    assert 0.3 <= outcome.duration_s < 2


async def test_what_was_answered_before_the_deadline_has_arrived() -> None:
    outcome = await outcome_of(silence(after=2), timeout_s=0.5)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((0, 2),))
    assert outcome.detail == "1 of 3 events were not answered within 0.5 s (2 of 3 events have arrived)"


async def test_the_receiver_knows_the_deadline() -> None:
    left: list[float] = []

    async def answer(stream: Stream) -> None:
        left.append(stream.context.time_remaining())
        await answering()(stream)

    await outcome_of(answer, timeout_s=3.0)
    assert 2 < left[0] <= 3.1


async def test_a_stream_that_is_left_open_does_not_hold_up_what_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_exchange, "_CLOSING_S", 0.1)

    async def answer(stream: Stream) -> None:
        await stream.answer(event.uuid for event in await stream.read_all())
        await asyncio.Event().wait()

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.duration_s < 2) == (Verdict.DELIVERED, True)
    assert outcome.detail == "3 events have arrived; the endpoint answered every event but left the stream open"


async def test_answers_after_the_last_event_count() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        for uuid in reversed(stream.uuids):
            await stream.answer([uuid])

    assert (await outcome_of(answer)).verdict is Verdict.DELIVERED


async def test_answers_are_not_waited_for_between_events() -> None:
    async def answer(stream: Stream) -> None:
        while len(stream.events) < 500:  # nothing is answered before all have come
            await stream.read()
        await stream.answer(stream.uuids)

    assert (await outcome_of(answer, batch_of(500))).verdict is Verdict.DELIVERED


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x05\x0a\x03\xff\xfe\xfd"])
async def test_garbage_is_retried_and_what_was_answered_before_it_has_arrived(garbage: bytes) -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        await stream.answer(["u-0"])
        await stream.context.write(garbage)

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((0, 1),))
    assert "garbage" in outcome.detail


async def test_an_answer_from_a_newer_receiver_is_understood() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        known = DeliverResponse(results=[EventResult(uuid=uuid, status=1) for uuid in stream.uuids])
        await stream.context.write(known.SerializeToString() + b"\xfa\x01\x03new")

    assert (await outcome_of(answer)).verdict is Verdict.DELIVERED


async def test_what_the_receiver_says_is_kept_without_the_secret() -> None:
    async def answer(stream: Stream) -> None:
        await stream.read_all()
        await stream.answer(stream.uuids, Status.Failed, f"{stream.metadata['authorization']} is odd, s3cret-t0ken too")

    outcome: Outcome = await outcome_of(answer)
    assert outcome.answer_head.splitlines()[0] == "event 0: Failed: *** is odd, *** too"
    assert "s3cret" not in outcome.detail + outcome.answer_head
    assert len(outcome.answer_head) <= 1024
