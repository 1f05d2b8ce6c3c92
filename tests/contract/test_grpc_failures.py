"""The gRPC sink and servers that fail, over real connections."""

import asyncio

import grpc
import pytest

from pipeline.model.attempt import Hint, Refusal, Verdict
from pipeline.sinks.grpc import SPEC
from tests.contract.test_every_sink import NOW_S, sink_to
from tests.support.closed_port import closed_port
from tests.support.endpoint import raw, reset, serving, silence
from tests.support.grpc_batches import batch_of, batch_of_events, event_of, outcome_of
from tests.support.grpc_endpoint import GrpcEndpoint, Stream, answering, ending, in_turn, serving_grpc
from tests.support.grpc_endpoint import silence as no_answers

FINAL = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "UNAUTHENTICATED",
}
HINTS = {
    "RESOURCE_EXHAUSTED": Hint.THROTTLED,
    "UNAUTHENTICATED": Hint.UNAUTHORIZED,
    "PERMISSION_DENIED": Hint.UNAUTHORIZED,
}
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
async def test_a_status_says_whether_another_try_can_help(code: grpc.StatusCode) -> None:
    outcome = await outcome_of(ending(code, "for a reason"))
    assert outcome.verdict is (Verdict.REFUSED if code.name in FINAL else Verdict.RETRY)
    assert (outcome.status, outcome.hint) == (code.value[0], HINTS.get(code.name))
    assert outcome.detail == f"the stream ended with {code.name}: for a reason"
    assert outcome.answer_head == "for a reason"


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
async def test_the_status_is_known_although_the_stream_ends_while_events_are_written(code: grpc.StatusCode) -> None:
    outcome = await outcome_of(ending(code, retry_after="7"), batch_of(3000))
    assert outcome.status == code.value[0]
    assert outcome.retry_after_s == (None if code.name in FINAL else 7)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED])
async def test_what_was_answered_before_a_failure_has_arrived(code: grpc.StatusCode) -> None:
    outcome = await outcome_of(ending(code, after=3), batch_of(10))
    assert outcome.arrived == ((0, 3),)
    assert outcome.detail == f"the stream ended with {code.name} (3 of 10 events have arrived)"


async def test_a_failure_after_every_event_was_answered_delivers_the_batch() -> None:
    async def answer(stream: Stream) -> None:
        await stream.answer(event.uuid for event in await stream.read_all())
        await stream.context.abort(grpc.StatusCode.INTERNAL, "log disk full")

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.status, outcome.hint) == (Verdict.DELIVERED, 13, None)
    assert outcome.detail == "3 events have arrived; the stream ended with INTERNAL: log disk full"


@pytest.mark.parametrize(
    ("trailing", "pause_s"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "Tue, 14 Nov 2023 22:14:20 GMT"}, 59.5),
        ({"retry_after": "soon"}, None),
        ({"grpc_retry_pushback_ms": "1500"}, 1.5),
        ({"grpc_retry_pushback_ms": "1500", "retry_after": "17"}, 1.5),
        ({"grpc_retry_pushback_ms": "-1", "retry_after": "17"}, 17.0),
        ({"grpc_retry_pushback_ms": "nan"}, None),
        ({"retry_after": "999999999"}, 86_400.0),
        ({}, None),
    ],
    ids=str,
)
async def test_a_pause_is_passed_on(trailing: dict[str, str], pause_s: float | None) -> None:
    outcome = await outcome_of(ending(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", **trailing))
    assert (outcome.verdict, outcome.hint, outcome.retry_after_s) == (Verdict.RETRY, Hint.THROTTLED, pause_s)


async def test_an_error_in_the_receiver_is_retried() -> None:
    async def answer(stream: Stream) -> None:
        raise ValueError("oops")

    outcome = await outcome_of(answer)
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, 2)


async def test_a_receiver_that_ends_the_stream_early_in_good_order_gets_the_rest_again() -> None:
    async def answer(stream: Stream) -> None:
        await stream.answer(event.uuid for event in await stream.read())

    outcome = await outcome_of(answer, batch_of(3000))
    assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.RETRY, 0, ((0, 1),))
    assert outcome.detail == "2999 of 3000 events were not answered"


async def test_a_refused_connection_is_retried() -> None:
    with closed_port() as port:
        async with sink_to(SPEC, f"grpc://127.0.0.1:{port}") as sink:
            outcome = await sink.send(batch_of(3), now_s=NOW_S)
    assert (outcome.verdict, outcome.status, outcome.detail) == (
        Verdict.RETRY,
        14,
        f"connection refused by 127.0.0.1:{port}",
    )
    assert outcome.request_bytes == 0


async def test_a_server_that_comes_back_is_found_at_once() -> None:
    """A channel that failed would itself wait before it connects again."""
    endpoint = GrpcEndpoint(answering())
    await endpoint.start()
    await endpoint.stop()
    async with sink_to(SPEC, endpoint.url()) as sink:
        failed = [await sink.send(batch_of(3), now_s=NOW_S) for _ in range(5)]
        await endpoint.start()
        back = await sink.send(batch_of(3), now_s=NOW_S)
    await endpoint.stop()
    assert {outcome.detail for outcome in failed} == {f"connection refused by 127.0.0.1:{endpoint.port}"}
    assert back.verdict is Verdict.DELIVERED


async def test_a_connection_that_breaks_in_mid_stream_is_retried() -> None:
    endpoint: GrpcEndpoint

    async def answer(stream: Stream) -> None:
        await stream.answer(event.uuid for event in await stream.read())
        stopping.append(asyncio.ensure_future(endpoint.stop()))
        await asyncio.Event().wait()

    stopping: list[asyncio.Future[None]] = []
    endpoint = GrpcEndpoint(answer)
    await endpoint.start()
    async with sink_to(SPEC, endpoint.url()) as sink:
        outcome = await sink.send(batch_of(100), now_s=NOW_S)
    await asyncio.gather(*stopping)
    assert (outcome.verdict, outcome.duration_s < 3) == (Verdict.RETRY, True)
    assert "the stream ended with " in outcome.detail


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reset(), "no connection to 127.0.0.1:"),
        (raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "http1.x server"),
    ],
    ids=["reset", "HTTP/1.1"],
)
async def test_what_does_not_speak_grpc_is_retried(answer, words: str) -> None:
    async with serving(answer) as endpoint, sink_to(SPEC, f"grpc://127.0.0.1:{endpoint.port}", timeout_s=2.0) as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
    assert outcome.verdict is Verdict.RETRY
    assert words in outcome.detail


async def test_a_server_that_accepts_connections_and_says_nothing_times_out() -> None:
    async with (
        serving(silence()) as endpoint,
        sink_to(SPEC, f"grpc://127.0.0.1:{endpoint.port}", timeout_s=0.3) as sink,
    ):
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
    assert (outcome.verdict, outcome.detail) == (Verdict.RETRY, "no answer within 0.3 s")
    assert outcome.duration_s < 2


async def test_another_service_refuses() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with sink_to(SPEC, f"grpc://127.0.0.1:{port}") as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
    await server.stop(0)
    assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, 12)


async def test_an_event_over_max_message_is_given_up_alone_and_never_sent() -> None:
    batch = batch_of_events([event_of(0), event_of(1, payload="x" * 2000), event_of(2)])
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), max_message="1KiB") as sink:
        outcome = await sink.send(batch, now_s=NOW_S)
    assert endpoint.streams[0].uuids == ["u-0", "u-2"]
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((0, 1), (2, 3)))
    assert outcome.refused == (Refusal(1, 2, "the event is a message of 2066 bytes, and at most 1024 can be sent"),)


async def test_nothing_is_opened_where_nothing_can_be_sent() -> None:
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), max_message="1KiB") as sink:
        outcome = await sink.send(batch_of(2, payload="x" * 2000), now_s=NOW_S)
    assert endpoint.streams == []
    assert (outcome.verdict, outcome.arrived, [(each.first, each.end) for each in outcome.refused]) == (
        Verdict.REFUSED,
        (),
        [(0, 1), (1, 2)],
    )


async def test_a_receivers_own_limit_is_kept_from_the_next_try_on() -> None:
    batch = batch_of_events([event_of(0), event_of(1), event_of(2, payload="x" * 3000), event_of(3)])
    async with (
        serving_grpc(answering(), max_message_bytes=256) as endpoint,
        sink_to(SPEC, endpoint.url(), max_events_per_message=10) as sink,
    ):
        first = await sink.send(batch, now_s=NOW_S)
        second = await sink.send(batch.only(((0, 2), (3, 4))), now_s=NOW_S)
    assert (first.verdict, first.status, first.hint, first.arrived) == (Verdict.RETRY, 8, None, ())
    assert [(each.first, each.end) for each in first.refused] == [(2, 3)]
    assert second.verdict is Verdict.DELIVERED
    assert max(len(message) for message in endpoint.streams[-1].messages) <= 256


async def test_a_receivers_own_limit_is_believed_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sinks.grpc_stream._LIMIT_KEPT_S", 0.0)
    misled = ending(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (1 vs. 1)")
    async with serving_grpc(in_turn(misled, answering())) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        first = await sink.send(batch_of(3), now_s=NOW_S)
        second = await sink.send(batch_of(3), now_s=NOW_S)
    assert [first.verdict, second.verdict] == [Verdict.REFUSED, Verdict.DELIVERED]


async def test_a_large_event_travels() -> None:
    payload = "ä" * 500_000
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        outcome = await sink.send(batch_of(3, payload=payload), now_s=NOW_S)
    assert outcome.verdict is Verdict.DELIVERED
    assert [event.payload for event in endpoint.streams[0].events] == [payload] * 3


async def test_events_that_do_not_fit_the_proto_are_given_up_alone() -> None:
    events = [event_of(0), event_of(1, campaign_id=-1), event_of(2, uuid=""), b'{"uuid":"u-3"}', event_of(4)]
    outcome = await outcome_of(answering(), batch_of_events(events))
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((0, 1), (4, 5)))
    assert [(each.first, each.end) for each in outcome.refused] == [(1, 2), (2, 3), (3, 4)]


async def test_a_cancelled_try_leaves_nothing_behind() -> None:
    async def never_read(stream: Stream) -> None:
        await asyncio.Event().wait()

    async with serving_grpc(in_turn(never_read, answering())) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        before = asyncio.all_tasks()
        sending = asyncio.create_task(sink.send(batch_of(2000, payload="x" * 1000), now_s=NOW_S))
        await endpoint.opened(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(5):
            await endpoint.streams[0].is_cancelled.wait()
        assert {task for task in asyncio.all_tasks() - before if "sinks" in str(task.get_coro())} == set()
        again = await sink.send(batch_of(3), now_s=NOW_S)
    assert again.verdict is Verdict.DELIVERED


async def test_an_endpoint_that_is_silent_or_not_there_gives_no_answer() -> None:
    assert (await outcome_of(no_answers(), timeout_s=0.5)).is_unanswered
    async with serving_grpc(answering()) as endpoint:
        url = endpoint.url()
    async with sink_to(SPEC, url) as sink:
        assert (await sink.send(batch_of(3), now_s=NOW_S)).is_unanswered
    async with sink_to(SPEC, url, allow=()) as sink:
        assert (await sink.send(batch_of(3), now_s=NOW_S)).is_unanswered


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
async def test_an_endpoint_that_ends_the_stream_itself_has_answered(code: grpc.StatusCode) -> None:
    assert not (await outcome_of(ending(code))).is_unanswered


async def test_an_endpoint_that_falls_silent_after_an_answer_has_answered() -> None:
    outcome = await outcome_of(no_answers(after=1), timeout_s=0.5)
    assert (outcome.verdict, outcome.arrived, outcome.is_unanswered) == (Verdict.RETRY, ((0, 1),), False)


async def test_a_slow_reader_holds_the_sender_back() -> None:
    async def never_read(stream: Stream) -> None:
        await asyncio.Event().wait()

    batch = batch_of(4000, payload="x" * 2000)
    outcome = await outcome_of(never_read, batch, timeout_s=1.0)
    assert (outcome.verdict, outcome.detail) == (Verdict.RETRY, "no answer within 1 s")
    assert outcome.request_bytes < len(batch.block) / 2


async def test_batches_share_a_connection_and_it_is_kept() -> None:
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        await asyncio.gather(*(sink.send(batch_of(20, first=first), now_s=NOW_S) for first in range(0, 80, 20)))
        await sink.send(batch_of(20, first=80), now_s=NOW_S)
    assert len(endpoint.streams) == 5
    assert len({stream.peer for stream in endpoint.streams}) == 1


async def test_a_try_that_fails_does_not_break_off_its_neighbours() -> None:
    release = asyncio.Event()

    async def wait_then_take(stream: Stream) -> None:
        await release.wait()
        await answering()(stream)

    answers = in_turn(wait_then_take, ending(grpc.StatusCode.UNAVAILABLE))
    async with serving_grpc(answers) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        slow = asyncio.create_task(sink.send(batch_of(3), now_s=NOW_S))
        await endpoint.opened(1)
        failed = await sink.send(batch_of(3, first=3), now_s=NOW_S)
        release.set()
        outcome = await slow
    assert (failed.verdict, outcome.verdict) == (Verdict.RETRY, Verdict.DELIVERED)


async def test_many_scattered_ranges_do_not_outgrow_the_metadata() -> None:
    batch = batch_of(4000).only(tuple((number, number + 1) for number in range(0, 4000, 2)))
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), max_events_per_message=100) as sink:
        outcome = await sink.send(batch, now_s=NOW_S)
    assert outcome.verdict is Verdict.DELIVERED
    assert endpoint.streams[0].metadata["distributary-sequence"] == "crm 0-3999~2000"
    assert [event.sequence for event in endpoint.streams[0].events] == [*range(0, 4000, 2)]


async def test_secrets_are_in_no_text() -> None:
    answer = ending(grpc.StatusCode.UNAUTHENTICATED, "got Bearer s3cret-t0ken")
    async with serving_grpc(answer) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
        assert "s3cret" not in repr(sink) + repr(vars(sink))
    assert outcome.detail == "the stream ended with UNAUTHENTICATED: got ***"
    assert "s3cret" not in repr(outcome)
