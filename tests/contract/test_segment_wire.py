"""What Segment is sent, byte for byte, and what its answers lead to, over real sockets."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import pytest
import requests
from segment.analytics import request as library

from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.receiver.http_server import Request
from pipeline.receiver.read_segment import read_segment
from pipeline.receiver.receiver import Receiver
from pipeline.sinks.base import Sink, SinkContext
from pipeline.sinks.segment import SPEC
from tests.contract.test_every_sink import LOOPBACK, NOW_S, event
from tests.support.endpoint import Answering, Endpoint, Seen, in_turn, raw, reply, serving, silence

WRITE_KEY = "wr1te-k3y"
TAKEN = reply(200, b'{"success": true}')


def batch_of(*each: bytes, first: int = 0) -> Batch:
    run = EventRun.of(each)
    return Batch("seg", first, first + len(each), SealReason.COUNT, NOW_S - 1, NOW_S, run.packed_ends(), run.block)


def large(number: int, size_bytes: int = 30_000) -> bytes:
    return event(uuid=f"u-{number}", user_id="x" * size_bytes)


@asynccontextmanager
async def segment(answer: Answering, **settings: Any) -> AsyncIterator[tuple[Endpoint, Sink]]:
    client = HttpClient(AddressGuard(LOOPBACK))
    await client.open()
    try:
        async with serving(answer) as endpoint:
            given = {
                "id": "seg",
                "kind": "segment",
                "write_key": WRITE_KEY,
                "url": endpoint.url("/in"),
                "timeout_s": 5.0,
            }
            sink = SPEC.make(SPEC.settings.model_validate(given | settings), SinkContext(client, "Distributary/test"))
            await sink.open()
            yield endpoint, sink
            await sink.close()
    finally:
        await client.close()


async def outcome_of(answer: Answering, batch: Batch) -> tuple[Outcome, list[Seen]]:
    async with segment(answer) as (endpoint, sink):
        return await sink.send(batch, now_s=NOW_S), endpoint.seen


def messages(seen: Seen) -> list[dict[str, Any]]:
    return json.loads(seen.body)["batch"]


async def test_the_wire_format_is_this() -> None:
    both = batch_of(
        event(uuid="a", campaign_code="5A1F0-77A10", device_type=1, event_name="Push Sent", platform="iOS"),
        event(uuid="b", user_id="", timestamp=1_723_799_271, payload="Grüße"),
        first=16,
    )
    async with segment(TAKEN) as (endpoint, sink):
        await sink.send(both, now_s=NOW_S)
        (seen,) = endpoint.seen
        port = endpoint.port
    library_version = version("segment-analytics-python")
    body = (
        '{"batch": ['
        '{"type": "track", "event": "Push Sent", "userId": "1894410", '
        '"properties": {"message_type": "Push", "campaign_code": "5A1F0-77A10", "device_type": 1}, '
        '"timestamp": "2023-11-14T22:13:20.000Z", "messageId": "a"}, '
        '{"type": "track", "event": "Email Opened", "anonymousId": "ana@mail.example", '
        '"properties": {"message_type": "Email", "device_type": "Email"}, '
        '"timestamp": "2024-08-16T09:07:51.000Z", "messageId": "b"}], '
        f'"context": {{"library": {{"name": "distributary", "version": "{version("distributary")}"}}}}, '
        f'"sentAt": "2023-11-14T22:13:20.500Z", "writeKey": "{WRITE_KEY}"}}'
    )
    assert seen.wire.decode() == (
        "POST /in/v1/batch HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        "Accept: */*\r\n"
        "Accept-Encoding: identity\r\n"
        "Content-Type: application/json\r\n"
        f"User-Agent: analytics-python/{library_version}\r\n"
        "webhook-id: seg:16-18\r\n"
        "webhook-timestamp: 1700000000\r\n"
        "distributary-sequence: seg 16-18\r\n"
        "Authorization: Basic d3IxdGUtazN5Og==\r\n"
        f"Content-Length: {len(body)}\r\n"
        "\r\n" + body
    )


async def test_a_retry_differs_in_the_time_of_sending_alone() -> None:
    async with segment(in_turn(reply(503), TAKEN)) as (endpoint, sink):
        for delay_s in (0, 3600):
            await sink.send(batch_of(event(uuid="a"), event(uuid="b")), now_s=NOW_S + delay_s)
        first, second = (json.loads(seen.body) for seen in endpoint.seen)
    assert (first.pop("sentAt"), second.pop("sentAt")) == ("2023-11-14T22:13:20.500Z", "2023-11-14T23:13:20.500Z")
    assert first == second
    assert [message["messageId"] for message in second["batch"]] == ["a", "b"]


async def test_a_batch_over_the_size_limit_goes_in_several_calls() -> None:
    outcome, seen = await outcome_of(TAKEN, batch_of(*(large(number) for number in range(40))))
    assert (outcome.verdict, outcome.detail) == (Verdict.DELIVERED, "40 events have arrived, in 3 requests")
    assert [one.headers["webhook-id"] for one in seen] == ["seg:0-15", "seg:15-30", "seg:30-40"]
    assert all(len(one.body) <= 500_000 for one in seen)
    assert [message["messageId"] for one in seen for message in messages(one)] == [f"u-{n}" for n in range(40)]


async def test_a_batch_over_the_count_limit_goes_in_several_calls() -> None:
    outcome, seen = await outcome_of(
        TAKEN, batch_of(*(event(event_name="a", user_id="u", uuid=f"{n}") for n in range(2501)))
    )
    assert outcome.verdict is Verdict.DELIVERED
    assert [len(messages(one)) for one in seen] == [2500, 1]


async def test_what_went_before_a_failure_is_named_and_not_sent_again() -> None:
    batch = batch_of(*(large(number) for number in range(40)))
    async with segment(in_turn(TAKEN, reply(503, Retry_After="9"), TAKEN)) as (endpoint, sink):
        outcome = await sink.send(batch, now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.retry_after_s) == (Verdict.RETRY, 503, 9.0)
        assert outcome.arrived == ((0, 15),)
        assert len(endpoint.seen) == 2
        assert (await sink.send(batch.only(((15, 40),)), now_s=NOW_S)).verdict is Verdict.DELIVERED
        sent = [message["messageId"] for one in (endpoint.seen[0], *endpoint.seen[2:]) for message in messages(one)]
    assert sent == [f"u-{number}" for number in range(40)]


async def test_silence_after_what_has_arrived_gives_no_answer_and_cuts_the_try_short() -> None:
    batch = batch_of(*(large(number) for number in range(40)))
    async with segment(in_turn(TAKEN, silence()), timeout_s=1.0) as (_, sink):
        outcome = await sink.send(batch, now_s=NOW_S)
    assert (outcome.verdict, outcome.is_unanswered, outcome.is_cut_short) == (Verdict.RETRY, True, True)
    assert outcome.arrived


async def test_an_event_over_the_size_limit_is_given_up_alone() -> None:
    batch = batch_of(event(uuid="a"), large(1, 32 * 1024), event(uuid="c"))
    outcome, (seen,) = await outcome_of(TAKEN, batch)
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((0, 1), (2, 3)))
    (refusal,) = outcome.refused
    assert (refusal.first, refusal.end) == (1, 2)
    assert refusal.detail.startswith("not sent to Segment: its message has ")
    assert [message["messageId"] for message in messages(seen)] == ["a", "c"]
    assert seen.headers["distributary-sequence"] == "seg 0-1,2-3"


async def test_nothing_is_sent_where_no_event_can_be() -> None:
    outcome, seen = await outcome_of(TAKEN, batch_of(large(0, 40_000)))
    assert (outcome.verdict, outcome.refused[0].first, seen) == (Verdict.REFUSED, 0, [])


async def test_a_refused_call_does_not_stop_the_next() -> None:
    answers = in_turn(TAKEN, reply(400, b'{"code":"x","message":"no"}'), TAKEN)
    outcome, seen = await outcome_of(answers, batch_of(*(large(number) for number in range(40))))
    assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.REFUSED, 400, ((0, 15), (30, 40)))
    assert [(refusal.first, refusal.end) for refusal in outcome.refused] == [(15, 30)]
    assert len(seen) == 3


@pytest.mark.parametrize(("status", "hint"), [(401, Hint.UNAUTHORIZED), (410, Hint.GONE), (413, Hint.TOO_LARGE)])
async def test_a_refusal_that_concerns_all_ends_the_try(status: int, hint: Hint) -> None:
    outcome, seen = await outcome_of(in_turn(TAKEN, reply(status)), batch_of(*(large(number) for number in range(40))))
    assert (outcome.verdict, outcome.hint, outcome.arrived, len(seen)) == (Verdict.REFUSED, hint, ((0, 15),), 2)


async def test_a_200_that_says_it_is_no_success_parks_the_batch() -> None:
    outcome, _ = await outcome_of(reply(200, b'{"success": false, "message": "no"}'), batch_of(event(uuid="a")))
    assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.REFUSED, 200, ())
    assert outcome.detail == "the endpoint answered 200 OK, and says in its body that it has not taken the events"
    assert "no" in outcome.answer_head


async def test_a_throttle_may_name_its_end_instead_of_a_pause() -> None:
    outcome, _ = await outcome_of(reply(429, X_RateLimit_Reset="20"), batch_of(event(uuid="a")))
    assert (outcome.verdict, outcome.hint, outcome.retry_after_s) == (Verdict.RETRY, Hint.THROTTLED, 20.0)


@pytest.mark.parametrize("body", [b"[" * 60_000, b"\xff\xfe" * 100, b'{"code": {}}'], ids=["deep", "binary", "object"])
async def test_the_body_of_an_error_does_no_harm(body: bytes) -> None:
    outcome, _ = await outcome_of(reply(500, body), batch_of(event(uuid="a")))
    assert (outcome.verdict, outcome.detail) == (
        Verdict.RETRY,
        "the endpoint answered 500 Internal Server Error",
    )


async def test_the_library_tells_the_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await outcome_of(in_turn(reply(500, b"what?")), batch_of(event(uuid="a")))
        await outcome_of(raw(b"", then_close=True), batch_of(event(uuid="a")))
    assert not [record for record in caplog.records if record.name == "segment"]
    assert WRITE_KEY not in caplog.text


async def test_the_library_cannot_send_past_the_guard() -> None:
    assert not isinstance(library._session, requests.Session)
    async with serving(TAKEN) as endpoint:
        with pytest.raises(LookupError):
            library.post(WRITE_KEY, host=endpoint.url(), batch=[])
        assert endpoint.connections == 0


def segment_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("segment")]


async def until_no_segment_threads() -> None:
    async with asyncio.timeout(20):
        while segment_threads():  # noqa: ASYNC110  a thread has no event for its end
            await asyncio.sleep(0.01)


async def test_the_threads_end_with_the_last_sink() -> None:
    async with segment(TAKEN) as (_, first), segment(TAKEN) as (_, second):
        await first.send(batch_of(event(uuid="a")), now_s=NOW_S)
        assert segment_threads()
        await first.close()
        assert (await second.send(batch_of(event(uuid="a")), now_s=NOW_S)).verdict is Verdict.DELIVERED
    await until_no_segment_threads()


async def test_a_cancelled_try_hangs_up_and_leaves_no_thread_behind() -> None:
    async with segment(silence(), timeout_s=60.0) as (endpoint, sink):
        tries = [asyncio.create_task(sink.send(batch_of(event(uuid="a")), now_s=NOW_S)) for _ in range(20)]
        await endpoint.received(20)
        for each in tries:
            each.cancel()
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
    await until_no_segment_threads()


async def test_a_try_can_be_cancelled_at_any_moment() -> None:
    async with segment(TAKEN) as (_, sink):
        for moment_ms in range(30):
            sending = asyncio.create_task(sink.send(batch_of(event(uuid="a")), now_s=NOW_S))
            await asyncio.sleep(moment_ms / 10_000)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert (await sink.send(batch_of(event(uuid="a")), now_s=NOW_S)).verdict is Verdict.DELIVERED
    await until_no_segment_threads()


async def test_segments_side_takes_what_is_sent() -> None:
    async with segment(TAKEN) as (endpoint, sink):
        await sink.send(batch_of(*(large(number) for number in range(40))), now_s=NOW_S)
        deliveries = [
            read_segment(Request("POST", "/in/v1/batch", seen.headers, seen.body, len(seen.body)), write_key=WRITE_KEY)
            for seen in endpoint.seen
        ]
    assert [uuid for delivery in deliveries for uuid in delivery.uuids or ()] == [f"u-{n}" for n in range(40)]
    assert {delivery.lane for delivery in deliveries} == {"seg"}


async def test_a_receiver_of_its_kind_counts_every_event() -> None:
    receiver = Receiver(kind="segment", write_key=WRITE_KEY)
    await receiver.start()
    try:
        async with segment(TAKEN, url=receiver.url) as (_, sink):
            for first in (0, 50, 0):
                batch = batch_of(*(event(uuid=f"u-{first + n}") for n in range(50)), first=first)
                assert (await sink.send(batch, now_s=NOW_S)).verdict is Verdict.DELIVERED
        stats = receiver.stats()
    finally:
        await receiver.stop()
    assert (stats["events"], stats["unique_events"], stats["unique_uuids"]) == (150, 100, 100)
    assert (stats["duplicate_batches"], stats["missing_events"], stats["problems"]) == (1, 0, {})
