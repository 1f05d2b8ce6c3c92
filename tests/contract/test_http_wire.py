"""The HTTP sink's requests, byte for byte, and its three kinds of body."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.model.attempt import Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.sinks.http import SPEC, HttpIntegration
from tests.contract.test_every_sink import NOW_S, batch_of, outcome_of, settings_of, sink_to
from tests.support.endpoint import Seen, in_turn, reply, serving, silence

EVENTS = (
    b'{"event_name":"Email Opened","message_code":"E682-E6D92B9A-53E24868","platform":"Email","uuid":"a"}',
    b'{"event_name":"Push Sent","message_code":"C3F8-C3863ED4-334AD4F1","platform":"iOS","payload":"\xf0\x9f\x8e\x89","uuid":"b"}',
)


def published() -> Batch:
    run = EventRun.of(EVENTS)
    return Batch("crm~2", 16, 18, SealReason.AGE, NOW_S - 1, NOW_S, run.packed_ends(), run.block)


async def seen_from(batch: Batch, **settings: Any) -> list[Seen]:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url("/events?key=1"), **settings) as sink:
        outcome = await sink.send(batch, now_s=NOW_S)
        assert outcome.verdict is Verdict.DELIVERED
        return endpoint.seen


async def test_the_wire_format_is_this() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url("/events?key=1")) as sink:
        await sink.send(published(), now_s=NOW_S)
        port = endpoint.port
        wire = endpoint.seen[0].wire
    assert wire == (
        b"POST /events?key=1 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(port).encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"User-Agent: Distributary/test\r\n"
        b"Authorization: Bearer s3cret-t0ken\r\n"
        b"webhook-id: crm~2:16-18\r\n"
        b"webhook-timestamp: 1700000000\r\n"
        b"distributary-sequence: crm~2 16-18\r\n"
        b"Content-Length: 213\r\n"
        b"\r\n"
        b"[" + EVENTS[0] + b"," + EVENTS[1] + b"]"
    )


async def test_the_batch_id_holds_no_dot() -> None:
    assert "." not in (await seen_from(published()))[0].headers["webhook-id"]


async def test_no_authorization_header_is_sent_where_none_is_set() -> None:
    assert "authorization" not in (await seen_from(published(), authorization=None))[0].headers


async def test_an_envelope_names_the_batch_around_the_events() -> None:
    (seen,) = await seen_from(published(), body="envelope")
    assert seen.body == (
        b'{"batch":"crm~2:16-18","lane":"crm~2","first":16,"end":18,"events":[' + EVENTS[0] + b"," + EVENTS[1] + b"]}"
    )
    assert len(json.loads(seen.body)["events"]) == 2


async def test_small_bodies_are_not_compressed() -> None:
    (seen,) = await seen_from(published(), compression="gzip")
    assert "content-encoding" not in seen.headers
    assert seen.body.startswith(b"[")


@pytest.mark.parametrize("count", [50, 3000], ids=["on the event loop", "on a thread"])
async def test_larger_bodies_are_compressed_the_same_each_time(count: int) -> None:
    batch = batch_of(count)
    seen = (await seen_from(batch, compression="gzip"))[0]
    again = (await seen_from(batch, compression="gzip"))[0]
    assert seen.headers["content-encoding"] == "gzip"
    assert gzip.decompress(seen.body) == b"[" + batch.block + b"]"
    assert len(seen.body) < len(batch.block) / 3
    assert seen.body == again.body


@pytest.mark.parametrize("ordered", [True, False])
async def test_object_sends_each_event_alone(*, ordered: bool) -> None:
    seen = await seen_from(batch_of(9, first=16), body="object", ordered=ordered)
    requests = [
        (one.headers["webhook-id"], one.headers["distributary-sequence"], json.loads(one.body)["uuid"]) for one in seen
    ]
    expected = [(f"crm:{n}-{n + 1}", f"crm {n}-{n + 1}", f"u-{n}") for n in range(16, 25)]
    assert (requests if ordered else sorted(requests)) == expected


async def test_object_has_few_requests_under_way_at_once() -> None:
    async with serving(silence()) as endpoint, sink_to(SPEC, endpoint.url(), body="object", timeout_s=0.4) as sink:
        outcome = await sink.send(batch_of(50), now_s=NOW_S)
        assert outcome.verdict is Verdict.RETRY
        assert endpoint.connections == 4


async def test_object_is_unanswered_where_the_failure_that_it_tells_of_is() -> None:
    for answers, is_unanswered in (
        (in_turn(reply(200), silence()), True),
        (in_turn(reply(200), reply(503)), False),
        (reply(200), False),
    ):
        async with serving(answers) as endpoint:
            settings = {"body": "object", "ordered": True, "timeout_s": 0.4}
            async with sink_to(SPEC, endpoint.url(), **settings) as sink:
                assert (await sink.send(batch_of(3), now_s=NOW_S)).is_unanswered is is_unanswered


async def test_object_says_what_has_arrived_and_sends_only_the_rest_again() -> None:
    answers = in_turn(reply(200), reply(200), reply(503, Retry_After="5"), reply(200))
    async with serving(answers) as endpoint, sink_to(SPEC, endpoint.url(), body="object", ordered=True) as sink:
        first = await sink.send(batch_of(5), now_s=NOW_S)
        assert (first.verdict, first.status, first.retry_after_s) == (Verdict.RETRY, 503, 5.0)
        assert first.detail == "event 2: the endpoint answered 503 Service Unavailable (2 of 5 events have arrived)"
        assert first.arrived == ((0, 2),)
        second = await sink.send(batch_of(5).only(((2, 5),)), now_s=NOW_S)
        assert (second.verdict, second.arrived) == (Verdict.DELIVERED, ())
        assert [seen.headers["webhook-id"] for seen in endpoint.seen] == [
            "crm:0-1", "crm:1-2", "crm:2-3", "crm:2-3", "crm:3-4", "crm:4-5",
        ]  # fmt: skip


async def test_object_gives_a_refused_event_up_alone() -> None:
    async with serving(in_turn(reply(200), reply(422), reply(200))) as endpoint:
        async with sink_to(SPEC, endpoint.url(), body="object", ordered=True) as sink:
            outcome = await sink.send(batch_of(5), now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.REFUSED, 422, ((0, 1), (2, 5)))
        assert [(refusal.first, refusal.end) for refusal in outcome.refused] == [(1, 2)]
        assert len(endpoint.seen) == 5


@pytest.mark.parametrize(("status", "requests"), [(401, 3), (403, 3), (410, 2)])
async def test_object_stops_where_the_refusal_concerns_every_event(status: int, requests: int) -> None:
    """The first 401 or 403 after an event has arrived may be about its own event, the second is about the credentials."""
    async with serving(in_turn(reply(200), reply(status))) as endpoint:
        async with sink_to(SPEC, endpoint.url(), body="object", ordered=True) as sink:
            outcome = await sink.send(batch_of(50), now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.arrived) == (Verdict.REFUSED, status, ((0, 1),))
        assert [(refusal.first, refusal.end) for refusal in outcome.refused] == [(1, 2)][: requests - 2]
        assert len(endpoint.seen) == requests


async def test_object_can_be_cancelled_and_tried_again() -> None:
    answers = in_turn(reply(200), silence(), reply(200))
    async with serving(answers) as endpoint, sink_to(SPEC, endpoint.url(), body="object", ordered=True) as sink:
        sending = asyncio.create_task(sink.send(batch_of(3), now_s=NOW_S))
        await endpoint.received(2)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert (await sink.send(batch_of(3), now_s=NOW_S)).verdict is Verdict.DELIVERED


async def test_a_part_that_is_left_goes_by_a_name_of_its_own() -> None:
    (seen,) = await seen_from(batch_of(9).only(((1, 3), (7, 8))))
    assert seen.headers["webhook-id"] == "crm:1-8~3"
    assert seen.headers["distributary-sequence"] == "crm 1-3,7-8"
    assert [event["uuid"] for event in json.loads(seen.body)] == ["u-1", "u-2", "u-7"]


@pytest.mark.parametrize(("lane", "purpose"), [("crm", None), ("crm~3", None), ("crm~test", "test")])
async def test_what_has_not_just_happened_is_marked(lane: str, purpose: str | None) -> None:
    (seen,) = await seen_from(batch_of(2, lane=lane))
    assert seen.headers.get("distributary-purpose") == purpose


async def test_a_missing_certificate_file_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"integration crm: .*cert /nowhere\.pem.*No such file"):
        async with sink_to(SPEC, "https://a.example/", tls={"cert": "/nowhere.pem"}):
            pass


async def test_a_key_behind_a_password_does_not_ask_on_the_terminal(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(ConfigError):
        async with sink_to(SPEC, "https://a.example/", tls={"cert": str(tmp_path / "key.pem")}):
            pass


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tls": {"key": "k.pem"}}, "key needs cert"),
        ({"url": "http://a.example/", "tls": {"ca": "c.pem"}}, "tls needs a url that begins with https"),
        ({"body": "list"}, "'array', 'object' or 'envelope'"),
        ({"compression": "zstd"}, "'none' or 'gzip'"),
    ],
)
def test_wrong_settings_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings_of(SPEC, **({"url": "https://a.example/"} | more))


def test_the_settings_know_their_defaults() -> None:
    settings = settings_of(SPEC, "https://a.example/")
    assert isinstance(settings, HttpIntegration)
    assert (settings.body, settings.compression, settings.tls) == ("array", "none", None)


async def test_the_first_1_kib_of_an_answer_is_kept() -> None:
    outcome = await outcome_of(SPEC, reply(500, "ä".encode() * 40_000))
    assert outcome.answer_head == "ä" * 1024
    assert outcome.answer_bytes == 80_000
