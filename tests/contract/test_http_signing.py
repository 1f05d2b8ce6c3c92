"""Signed requests of the HTTP sink, verified as a receiver would."""

import gzip
import json
import time
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.model.attempt import Verdict
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.receiver import Receiver
from pipeline.receiver.signature import verify_signature
from pipeline.sinks.http import SPEC
from tests.contract.test_every_sink import NOW_S, batch_of, settings_of, sink_to
from tests.support.endpoint import Seen, in_turn, reply, serving

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
STRANGE = "whsec_dGhpcyBpcyBub3QgYSBzZWNyZXQgb2Ygb3Vycw=="


async def seen_from(*secrets: str, now_s: float = NOW_S, count: int = 3, **settings: Any) -> list[Seen]:
    given = {"signing": {"secrets": list(secrets)}} | settings
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url(), **given) as sink:
        assert (await sink.send(batch_of(count), now_s=now_s)).verdict is Verdict.DELIVERED
        return endpoint.seen


async def test_the_standards_library_verifies_a_request() -> None:
    (seen,) = await seen_from(NEW, now_s=time.time())
    assert Webhook(NEW).verify(seen.body, seen.headers) == json.loads(seen.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(STRANGE).verify(seen.body, seen.headers)


async def test_two_live_secrets_sign_both() -> None:
    (seen,) = await seen_from(NEW, OLD, now_s=time.time())
    assert len(seen.headers["webhook-signature"].split(" ")) == 2
    for secret in (NEW, OLD):
        Webhook(secret).verify(seen.body, seen.headers)
        verify_signature(seen.headers, seen.body, [secret], time.time())


async def test_requests_are_not_signed_unless_told_to() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        await sink.send(batch_of(3), now_s=NOW_S)
        assert "webhook-signature" not in endpoint.seen[0].headers


async def test_each_event_of_object_is_signed_by_itself() -> None:
    seen = await seen_from(NEW, body="object", now_s=time.time())
    assert len(seen) == 3
    for one in seen:
        Webhook(NEW).verify(one.body, one.headers)


async def test_what_is_signed_of_a_compressed_body_is_the_text_inside() -> None:
    (seen,) = await seen_from(NEW, compression="gzip", count=50, now_s=time.time())
    assert seen.headers["content-encoding"] == "gzip"
    Webhook(NEW).verify(gzip.decompress(seen.body), seen.headers)
    verify_signature(seen.headers, seen.body, [NEW], time.time())


async def test_a_large_body_is_signed_too() -> None:
    (seen,) = await seen_from(NEW, count=9000, now_s=time.time())
    assert len(seen.body) > 1024 * 1024
    Webhook(NEW).verify(seen.body, seen.headers)


async def test_a_retry_is_signed_with_its_own_time() -> None:
    async with (
        serving(in_turn(reply(503), reply(200))) as endpoint,
        sink_to(SPEC, endpoint.url(), signing={"secrets": [NEW]}) as sink,
    ):
        for now_s in (NOW_S, NOW_S + 1000):
            await sink.send(batch_of(3), now_s=now_s)
        first, second = endpoint.seen
    assert first.body == second.body
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    verify_signature(second.headers, second.body, [NEW], NOW_S + 1000)
    with pytest.raises(UnacceptableError):
        verify_signature(first.headers, first.body, [NEW], NOW_S + 1000)


@pytest.mark.parametrize("settings", [{}, {"body": "envelope"}, {"body": "object"}, {"compression": "gzip"}], ids=str)
async def test_a_receiver_with_the_secret_takes_every_body(settings: dict[str, Any]) -> None:
    receiver = Receiver(secrets=[NEW])
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url, signing={"secrets": [OLD, NEW]}, **settings) as sink:
            outcome = await sink.send(batch_of(30), now_s=time.time())
        assert outcome.verdict is Verdict.DELIVERED, outcome
        async with sink_to(SPEC, receiver.url, signing={"secrets": [STRANGE]}, **settings) as sink:
            outcome = await sink.send(batch_of(30, first=30), now_s=time.time())
        assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, 401)
        assert receiver.stats()["unique_events"] == 30
    finally:
        await receiver.stop()


@pytest.mark.parametrize("echo", [OLD, OLD.removeprefix("whsec_")])
async def test_a_secret_is_never_told(echo: str) -> None:
    settings = {"signing": {"secrets": [NEW, OLD]}}
    async with serving(reply(400, echo.encode())) as endpoint, sink_to(SPEC, endpoint.url(), **settings) as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
        told = [repr(outcome), repr(sink), repr(settings_of(SPEC, endpoint.url(), **settings))]
        told.append(settings_of(SPEC, endpoint.url(), **settings).model_dump_json())
    assert outcome.answer_head == "***"
    for text in told:
        assert "MfKQ" not in text
        assert "C2FVs" not in text
