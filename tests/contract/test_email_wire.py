"""The email sink's requests, byte for byte, and what it makes of events that lack something."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from pydantic import ValidationError

from pipeline.ingest.match import MatchIndex
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.read_email import read_email
from pipeline.sinks.email import SPEC, EmailIntegration, EmailStatus
from tests.contract.test_every_sink import NOW_S, batch_of, event, settings_of, sink_to
from tests.support.endpoint import Seen, in_turn, reply, serving, silence
from tests.support.events import decoded, events

WHOLE = event(
    event_name="Email Sent",
    message_id=200_123_258,
    campaign_id=961_048,
    payload="Sommer \N{SUN WITH FACE} sale",
    journey_title="",
    journey_point_title="5_summer sale_new",
    campaign_code="S-1",
    device_type="3",
    error_message="no",
    trigger_id="t",
    profile_id="p",
    device_id="d",
    email="other@mail.example",
    live_activity_id="l",
    uuid="u",
)
DOCUMENTED = (
    "event_name", "message_id", "message_code", "campaign_id", "platform", "application_code", "hwid", "user_id",
    "payload", "timestamp", "journey_title", "journey_point_title",
)  # fmt: skip
REQUIRED = {"event_name", "message_code", "platform", "application_code", "hwid", "user_id", "timestamp"}


def batch(*encoded: bytes, lane: str = "crm", first: int = 16) -> Batch:
    run = EventRun.of(encoded)
    return Batch(lane, first, first + len(encoded), SealReason.AGE, NOW_S, NOW_S, run.packed_ends(), run.block)


async def seen_from(*encoded: bytes, **settings: Any) -> list[Seen]:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url(), **settings) as sink:
        outcome = await sink.send(batch(*encoded), now_s=NOW_S)
        assert outcome.verdict is Verdict.DELIVERED, outcome
        return endpoint.seen


def request(seen: Seen) -> Request:
    return Request("POST", "/events", seen.headers, seen.body, len(seen.body))


async def test_the_wire_format_is_this() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url("/hook"), authorization=None) as sink:
        await sink.send(batch(WHOLE, lane="mailbox"), now_s=NOW_S)
        port, wire = endpoint.port, endpoint.seen[0].wire
    body = (
        '{"event_name":"Email Sent","message_id":200123258,"message_code":"E682-E6D92B9A-53E24868","campaign_id":961048,'
        '"platform":"Email","application_code":"32E5A-9B411","hwid":"ana@mail.example","user_id":"1894410",'
        '"payload":"Sommer \N{SUN WITH FACE} sale","timestamp":1700000000,"journey_title":"",'
        '"journey_point_title":"5_summer sale_new"}'
    ).encode()
    assert wire == (
        b"POST /hook HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(port).encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\n"
        b"User-Agent: Distributary/test\r\n"
        b"webhook-id: mailbox:16-17\r\n"
        b"webhook-timestamp: 1700000000\r\n"
        b"distributary-sequence: mailbox 16-17\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n"
        b"\r\n" + body
    )


async def test_what_an_event_does_not_have_is_left_out_unless_it_is_required() -> None:
    bare = b'{"event_name":"Email Sent","platform":"Email","application_code":"A","timestamp":1,"user_id":"7"}'
    (seen,) = await seen_from(bare)
    assert seen.body == (
        b'{"event_name":"Email Sent","message_code":"","platform":"Email","application_code":"A","hwid":"",'
        b'"user_id":"7","timestamp":1}'
    )


async def test_the_address_stands_in_for_a_hwid_that_is_not_there() -> None:
    bare = b'{"email":"a@b.example","event_name":"Email Sent","platform":"Email","application_code":"A","timestamp":1}'
    (seen,) = await seen_from(bare)
    assert json.loads(seen.body)["hwid"] == "a@b.example"


@given(events(platforms=("Email",)))
def test_any_event_becomes_the_documented_fields_in_their_order(encoded: bytes) -> None:
    written = json.loads(body_of(encoded))
    had = json.loads(encoded)
    assert [*written] == [name for name in DOCUMENTED if name in written]
    assert written.keys() >= REQUIRED
    assert written.keys() - REQUIRED == had.keys() & (set(DOCUMENTED) - REQUIRED)
    assert {name: value for name, value in written.items() if had.get(name)} == {
        name: had[name] for name in DOCUMENTED if had.get(name)
    }


@given(events(platforms=("Email",)))
def test_the_reader_takes_what_the_sink_makes_of_any_event(encoded: bytes) -> None:
    body = body_of(encoded)
    headers = {
        "webhook-id": "crm:7-8",
        "webhook-timestamp": "1700000000",
        "distributary-sequence": "crm 7-8",
        "content-type": "application/json",
    }
    delivery = read_email(Request("POST", "/", headers, body, len(body)))
    assert (delivery.lane, delivery.first, delivery.end, delivery.uuids) == ("crm", 7, 8, [None])


def body_of(encoded: bytes) -> bytes:
    return msgspec.json.encode(EmailStatus.of(decoded(encoded)))


@pytest.mark.parametrize("ordered", [True, False])
async def test_each_event_is_a_request_that_the_reader_takes(*, ordered: bool) -> None:
    seen = await seen_from(*(event(payload=str(number)) for number in range(9)), ordered=ordered)
    found = [(read_email(request(one)).first, json.loads(one.body)["payload"]) for one in seen]
    expected = [(16 + number, str(number)) for number in range(9)]
    assert (found if ordered else sorted(found)) == expected


async def test_few_requests_are_under_way_at_once() -> None:
    async with serving(silence()) as endpoint, sink_to(SPEC, endpoint.url(), timeout_s=0.3) as sink:
        outcome = await sink.send(batch_of(50), now_s=NOW_S)
        assert outcome.verdict is Verdict.RETRY
        assert endpoint.connections == 4


async def test_a_refused_event_is_given_up_alone() -> None:
    answers = in_turn(reply(200), reply(422), reply(200))
    async with serving(answers) as endpoint, sink_to(SPEC, endpoint.url(), ordered=True) as sink:
        outcome = await sink.send(batch_of(5), now_s=NOW_S)
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((0, 1), (2, 5)))
    assert [(one.first, one.end) for one in outcome.refused] == [(1, 2)]


async def test_what_arrived_before_a_failure_is_not_sent_again() -> None:
    async with serving(in_turn(reply(200), reply(503), reply(200))) as endpoint:
        async with sink_to(SPEC, endpoint.url(), ordered=True) as sink:
            first = await sink.send(batch_of(4), now_s=NOW_S)
            second = await sink.send(
                msgspec.structs.replace(batch_of(3, first=1), first=0, rest=((1, 4),)), now_s=NOW_S
            )
        ids = [seen.headers["webhook-id"] for seen in endpoint.seen]
    assert (first.verdict, first.arrived) == (Verdict.RETRY, ((0, 1),))
    assert second.verdict is Verdict.DELIVERED
    assert ids == ["crm:0-1", "crm:1-2", "crm:1-2", "crm:2-3", "crm:3-4"]


async def test_an_event_that_lacks_what_the_format_needs_is_given_up_alone_and_never_sent() -> None:
    async with serving(reply(200)) as endpoint, sink_to(SPEC, endpoint.url(), ordered=True) as sink:
        outcome: Outcome = await sink.send(batch(event(), b'{"event_name":"Email Sent"}', event()), now_s=NOW_S)
        assert len(endpoint.seen) == 2
    assert (outcome.verdict, outcome.arrived) == (Verdict.REFUSED, ((16, 17), (18, 19)))
    assert "does not have the fields that the format needs" in outcome.refused[0].detail


async def test_the_time_of_a_request_is_its_own_not_that_of_the_batch() -> None:
    async def slowly(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.1)
        await reply(200)(seen, writer)

    async with serving(slowly) as endpoint, sink_to(SPEC, endpoint.url(), ordered=True) as sink:
        await sink.send(batch_of(2), now_s=NOW_S)
        times = [int(seen.headers["webhook-timestamp"]) for seen in endpoint.seen]
    assert times == [1_700_000_000, 1_700_000_001]


@pytest.mark.parametrize("platforms", ["*", "iOS", ["Email", "iOS"]])
def test_other_platforms_are_refused_with_words(platforms: Any) -> None:
    with pytest.raises(ValidationError, match="must be Email alone"):
        settings_of(SPEC, "https://a.example/", platforms=platforms)


def test_other_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Input should be 'known'"):
        settings_of(SPEC, "https://a.example/", fields="all")


def test_the_settings_need_little_and_let_nothing_wait() -> None:
    settings = EmailIntegration.model_validate({"id": "mailbox", "kind": "email", "url": "https://a.example/"})
    assert (settings.events, settings.platforms, settings.fields) == (("*",), ("Email",), "known")
    assert (settings.batch.max_events, settings.batch.max_age_s) == (100, 0.0)
    assert EmailIntegration.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(("platform", "is_matched"), [("Email", True), ("iOS", False)])
def test_only_email_events_are_matched(platform: str, *, is_matched: bool) -> None:
    settings = EmailIntegration.model_validate({"id": "mailbox", "kind": "email", "url": "https://a.example/"})
    index = MatchIndex([(settings, "mailbox")])
    found = index.match(decoded(event(platform=platform)))
    assert [*found] == (["mailbox"] if is_matched else [])


def changed(body: bytes, **fields: Any) -> bytes:
    return json.dumps(
        {name: value for name, value in (json.loads(body) | fields).items() if value != "absent"}
    ).encode()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"uuid": "u"}, "fields"),
        ({"hwid": "absent"}, "fields"),
        ({"message_code": "absent"}, "fields"),
        ({"payload": None}, "fields"),
        ({"timestamp": "1700000000"}, "fields"),
        ({"campaign_id": -1}, "fields"),
        ({"event_name": ""}, "fields"),
    ],
)
async def test_the_reader_refuses_what_is_not_as_documented(fields: dict[str, Any], reason: str) -> None:
    (seen,) = await seen_from(WHOLE)
    body = changed(seen.body, **fields)
    with pytest.raises(UnacceptableError) as caught:
        read_email(Request("POST", "/", seen.headers, body, len(body)))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, b'{"event_name"', "json"),
        ({}, b"\xff", "json"),
        ({}, b"[]", "fields"),
        ({"content-type": "text/plain"}, None, "content-type"),
        ({"webhook-timestamp": "now"}, None, "timestamp"),
        ({"distributary-sequence": "crm 16-18", "webhook-id": "crm:16-18"}, None, "count"),
        ({"distributary-sequence": "crm 17-18"}, None, "webhook-id"),
        ({"distributary-sequence": ""}, None, "sequence"),
    ],
)
async def test_the_reader_refuses_other_requests(headers: dict[str, str], body: bytes | None, reason: str) -> None:
    (seen,) = await seen_from(WHOLE)
    body = seen.body if body is None else body
    with pytest.raises(UnacceptableError) as caught:
        read_email(Request("POST", "/", seen.headers | headers, body, len(body)))
    assert caught.value.reason == reason
