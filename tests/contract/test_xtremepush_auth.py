"""How the Xtremepush-style sink shows who sends, over real sockets: the five types, and the life of tokens."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.read_xtremepush import read_xtremepush
from pipeline.sinks.base import Sink
from pipeline.sinks.xtremepush import SPEC
from pipeline.sinks.xtremepush_auth import signature_header
from tests.contract.test_every_sink import NOW_S, batch_of, settings_of, sink_to
from tests.support.endpoint import Answering, Endpoint, Seen, in_turn, raw, reply, serving, silence

PASSWORD = "p\N{LATIN SMALL LETTER A WITH DIAERESIS}ss:w0rd"
TYPES: dict[str, dict[str, Any]] = {
    "basic": {"type": "basic", "username": "ana", "password": PASSWORD},
    "bearer": {"type": "bearer", "token": "t0ken-of-the-bearer"},
    "signed": {"type": "signed", "secret": "new-key", "previous": "old-key"},
}
"""The types that need no token endpoint."""


async def sent(auth: dict[str, Any], answer: Answering = reply(200)) -> tuple[Outcome, list[Seen], str]:  # noqa: B008
    async with serving(answer) as endpoint, sink_to(SPEC, endpoint.url(), authorization=None, auth=auth) as sink:
        return await sink.send(batch_of(1), now_s=NOW_S), endpoint.seen, repr(sink)


async def test_none_sends_what_authorization_says() -> None:
    async with serving(reply(200)) as endpoint:
        async with sink_to(SPEC, endpoint.url(), auth={"type": "none"}, authorization="Token abc") as sink:
            await sink.send(batch_of(1), now_s=NOW_S)
        async with sink_to(SPEC, endpoint.url(), authorization=None) as sink:
            await sink.send(batch_of(1), now_s=NOW_S)
    assert [seen.headers.get("authorization") for seen in endpoint.seen] == ["Token abc", None]
    assert all("x-xtremepush-signature" not in seen.headers for seen in endpoint.seen)


async def test_basic_sends_user_name_and_password() -> None:
    _, (seen,), _ = await sent(TYPES["basic"])
    scheme, _, encoded = seen.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", f"ana:{PASSWORD}")


async def test_bearer_sends_the_token() -> None:
    _, (seen,), _ = await sent(TYPES["bearer"])
    assert seen.headers["authorization"] == "Bearer t0ken-of-the-bearer"


async def test_signed_sends_one_signature_a_live_key() -> None:
    _, (seen,), _ = await sent(TYPES["signed"])
    expected = [
        hmac.new(key, b"1700000000." + seen.body, hashlib.sha256).hexdigest() for key in (b"new-key", b"old-key")
    ]
    assert seen.headers["x-xtremepush-signature"] == f"t=1700000000,v1={expected[0]},v1={expected[1]}"
    assert "authorization" not in seen.headers


def test_a_signature_is_these_bytes() -> None:
    header = signature_header(b'{"event":"message_send"}', ["topsecret"], now_s=1_700_000_000.9)
    assert header == "t=1700000000,v1=292376c8459f2b99b90671cc77d5a203cc85301f88c50fe1fea8ce4c7c15500d"


async def test_a_retry_is_signed_anew_over_the_same_bytes() -> None:
    async with (
        serving(in_turn(reply(503), reply(200))) as endpoint,
        sink_to(SPEC, endpoint.url(), authorization=None, auth=TYPES["signed"]) as sink,
    ):
        await sink.send(batch_of(1), now_s=NOW_S)
        await sink.send(batch_of(1), now_s=NOW_S + 8)
    first, second = (seen.headers["x-xtremepush-signature"] for seen in endpoint.seen)
    assert (first[:12], second[:12]) == ("t=1700000000", "t=1700000008")
    assert first[12:] != second[12:]
    assert endpoint.seen[0].body == endpoint.seen[1].body


@pytest.mark.parametrize("kind", sorted(TYPES))
async def test_no_secret_is_told_that_the_endpoint_sends_back(kind: str) -> None:
    async def echo(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await reply(400, (json.dumps(seen.headers) + PASSWORD + "new-key old-key").encode())(seen, writer)

    outcome, _, sink = await sent(TYPES[kind], echo)
    shown = repr(outcome) + sink + repr(settings_of(SPEC, "https://a.example", authorization=None, auth=TYPES[kind]))
    secrets = {
        "basic": [PASSWORD, base64.b64encode(f"ana:{PASSWORD}".encode()).decode()],
        "bearer": ["t0ken-of-the-bearer"],
        "signed": ["new-key", "old-key"],
    }
    assert [secret for secret in secrets[kind] if secret in shown] == []
    assert "***" in outcome.answer_head


# The reader


async def signed_request(**auth: str) -> Request:
    _, (seen,), _ = await sent({"type": "signed", "secret": "new-key"} | auth)
    return Request("POST", "/events", seen.headers, seen.body, len(seen.body))


@pytest.mark.parametrize("secrets", [["new-key"], ["old-key"], ["other", "old-key"]])
async def test_the_reader_takes_what_is_signed_by_a_live_key(secrets: list[str]) -> None:
    request = await signed_request(previous="old-key")
    assert read_xtremepush(request, secrets=secrets, now_s=NOW_S).lane == "crm"


@pytest.mark.parametrize(("distance_s", "is_taken"), [(-301, False), (-299, True), (299, True), (302, False)])
async def test_the_reader_takes_signatures_of_the_last_minutes_only(distance_s: float, *, is_taken: bool) -> None:
    request = await signed_request()
    if is_taken:
        read_xtremepush(request, secrets=["new-key"], now_s=NOW_S + distance_s)
    else:
        with pytest.raises(UnacceptableError, match="signed more than 300 s ago"):
            read_xtremepush(request, secrets=["new-key"], now_s=NOW_S + distance_s)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "there is no X-Xtremepush-Signature header"),
        ("", "expected X-Xtremepush-Signature: t="),
        ("t=1700000000", "no v1 signature is by a secret"),
        ("t=1700000000,v0=00,v2=00", "no v1 signature is by a secret"),
        ("t=1700000000,v1=" + "0" * 64, "no v1 signature is by a secret"),
        ("t=1700000000,v1=\xff", "no v1 signature is by a secret"),
        ("t=soon,v1=00", "expected X-Xtremepush-Signature: t="),
        ("t=1700000000,t=1700000000,v1=00", "expected X-Xtremepush-Signature: t="),
        ("v1=00", "expected X-Xtremepush-Signature: t="),
    ],
)
async def test_the_reader_refuses_other_signatures(header: str | None, words: str) -> None:
    request = await signed_request()
    del request.headers["x-xtremepush-signature"]
    if header is not None:
        request.headers["x-xtremepush-signature"] = header
    with pytest.raises(UnacceptableError, match=words) as caught:
        read_xtremepush(request, secrets=["new-key"], now_s=NOW_S)
    assert caught.value.reason == "signature"


async def test_the_reader_refuses_a_changed_body_and_a_changed_time() -> None:
    request = await signed_request()
    changed = Request("POST", "/", request.headers, request.body.replace(b"email", b"emaill"), len(request.body) + 1)
    with pytest.raises(UnacceptableError, match="no v1 signature"):
        read_xtremepush(changed, secrets=["new-key"], now_s=NOW_S)
    request.headers["x-xtremepush-signature"] = request.headers["x-xtremepush-signature"].replace("00,", "01,", 1)
    with pytest.raises(UnacceptableError, match="no v1 signature"):
        read_xtremepush(request, secrets=["new-key"], now_s=NOW_S)


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"message_send","time":1,"properties":{}}',
        b'{"event":"message_send","time":"1","properties":{"message_type":"email"}}',
        b'{"event":"message_send","properties":{"message_type":"email"}}',
        b'{"event":"message_send","time":1,"properties":{"message_type":"email","email":null}}',
        b'{"event":"message_send","time":1,"properties":{"message_type":"email","uuid":"u"}}',
        b'{"event":"message_send","time":1,"uuid":"u","properties":{"message_type":"email"}}',
        b'[{"event":"message_send","time":1,"properties":{"message_type":"email"}}]',
    ],
)
async def test_the_reader_refuses_what_is_not_as_documented(body: bytes) -> None:
    request = await signed_request()
    with pytest.raises(UnacceptableError) as caught:
        read_xtremepush(Request("POST", "/", request.headers, body, len(body)), now_s=NOW_S)
    assert caught.value.reason == "fields"


@given(st.text(max_size=60), st.binary(max_size=20))
def test_whatever_the_header_the_reader_refuses_in_words(header: str, body: bytes) -> None:
    request = Request("POST", "/", {"x-xtremepush-signature": header}, body, len(body))
    with pytest.raises(UnacceptableError):
        read_xtremepush(request, secrets=["new-key"], now_s=NOW_S)


# Tokens


def granting(*tokens: str, expires_in: int = 3600) -> Answering:
    """One token after the other; the last one stays."""
    return in_turn(
        *(
            reply(200, json.dumps({"access_token": t, "token_type": "Bearer", "expires_in": expires_in}).encode())
            for t in tokens
        )
    )


def taking(*tokens: str, refusal: int = 401) -> Answering:
    """An endpoint that takes these tokens and no others."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        is_known = seen.headers.get("authorization") in {f"Bearer {token}" for token in tokens}
        await reply(200 if is_known else refusal, str(seen.headers.get("authorization")).encode())(seen, writer)

    return answer


@asynccontextmanager
async def oauth(grants: Answering, answer: Answering, **more: Any) -> AsyncIterator[tuple[Endpoint, Endpoint, Sink]]:
    async with serving(grants) as tokens, serving(answer) as endpoint:
        auth = {
            "type": "oauth2",
            "token_url": tokens.url("/token"),
            "client_id": "us",
            "client_secret": "cl13nt-s3cret",
        }
        async with sink_to(SPEC, endpoint.url(), authorization=None, auth=auth, **more) as sink:
            yield tokens, endpoint, sink


async def test_a_token_is_fetched_once_for_many_batches_at_once() -> None:
    async with oauth(granting("t-1"), taking("t-1")) as (tokens, endpoint, sink):
        outcomes = await asyncio.gather(*(sink.send(batch_of(2, first=2 * k), now_s=NOW_S) for k in range(50)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
        assert (len(tokens.seen), len(endpoint.seen)) == (1, 100)


async def test_no_token_is_fetched_before_there_is_something_to_send() -> None:
    async with oauth(granting("t-1"), taking("t-1")) as (tokens, _, __):
        assert tokens.connections == 0


async def test_a_401_fetches_another_token_and_tries_again_at_once() -> None:
    async with oauth(granting("old", "new"), taking("new")) as (tokens, endpoint, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
        assert outcome.verdict is Verdict.DELIVERED
        assert [seen.headers["authorization"] for seen in endpoint.seen] == ["Bearer old", "Bearer new"]
        assert endpoint.seen[0].body == endpoint.seen[1].body
        assert endpoint.seen[0].headers["webhook-id"] == endpoint.seen[1].headers["webhook-id"]
        assert len(tokens.seen) == 2


async def test_a_401_for_many_at_once_fetches_one_other_token() -> None:
    async with oauth(granting("old", "new"), taking("new")) as (tokens, _, sink):
        outcomes = await asyncio.gather(*(sink.send(batch_of(1, first=k), now_s=NOW_S) for k in range(50)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
        assert len(tokens.seen) == 2


async def test_a_second_401_means_that_the_credentials_are_refused() -> None:
    async with oauth(granting("a", "b", "c"), taking()) as (tokens, endpoint, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.hint) == (Verdict.REFUSED, 401, Hint.UNAUTHORIZED)
        assert len(endpoint.seen) == 2
        await asyncio.gather(*(sink.send(batch_of(1, first=k), now_s=NOW_S) for k in range(1, 20)))
        assert len(tokens.seen) == 2  # no storm of fetches that cannot help


async def test_a_403_is_no_matter_of_the_token() -> None:
    async with oauth(granting("a", "b"), taking(refusal=403)) as (tokens, endpoint, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
        assert (outcome.verdict, outcome.status, outcome.hint) == (Verdict.REFUSED, 403, Hint.UNAUTHORIZED)
        assert (len(tokens.seen), len(endpoint.seen)) == (1, 1)


async def test_a_token_that_is_about_to_end_is_renewed_without_anybody_waiting() -> None:
    async with oauth(granting("one", "two", expires_in=1), taking("one", "two")) as (tokens, endpoint, sink):
        async with asyncio.timeout(10):
            number = 0
            while "Bearer two" not in {seen.headers["authorization"] for seen in endpoint.seen}:
                outcome = await sink.send(batch_of(1, first=number), now_s=NOW_S)
                assert outcome.verdict is Verdict.DELIVERED
                number += 1
                await asyncio.sleep(0.02)
        assert len(tokens.seen) == 2


FAILING = {
    "500": reply(500),
    "401": reply(401, b'{"error":"invalid_client"}'),
    "redirect": reply(302, Location="/login"),
    "rubbish": reply(200, b"<html>"),
    "no token": reply(200, b'{"token_type":"Bearer"}'),
    "other type": reply(200, b'{"access_token":"t","token_type":"mac"}'),
    "huge": reply(200, b'{"access_token":"' + b"x" * 100_000 + b'"}'),
    "garbage": raw(b"\x00garbage\r\n\r\n", then_close=True),
    "closed": raw(b"", then_close=True),
    "silence": silence(),
}


@pytest.mark.parametrize("failing", sorted(FAILING))
async def test_without_a_token_nothing_is_sent_and_the_batch_is_tried_again(failing: str) -> None:
    async with oauth(FAILING[failing], reply(200), timeout_s=0.3) as (tokens, endpoint, sink):
        outcomes = await asyncio.gather(*(sink.send(batch_of(3, first=3 * k), now_s=NOW_S) for k in range(20)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.RETRY}
        assert {outcome.status for outcome in outcomes} == {None}
        assert all("nothing was sent, for want of an access token; the token endpoint" in o.detail for o in outcomes)
        assert all(outcome.arrived == outcome.refused == () for outcome in outcomes)
        assert (len(tokens.seen), endpoint.connections) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (reply(401), Hint.UNAUTHORIZED),
        (reply(400, b'{"error":"invalid_client"}'), Hint.UNAUTHORIZED),
        (reply(200, b'{"error":"invalid_client"}'), Hint.UNAUTHORIZED),
        (reply(400, b'{"error":"invalid_scope"}'), None),
        (reply(500), None),
    ],
    ids=["401", "400 invalid_client", "200 invalid_client", "400 invalid_scope", "500"],
)
async def test_a_refused_client_is_told_as_refused_credentials_in_the_pause_too(
    answer: Answering, hint: Hint | None
) -> None:
    async with oauth(answer, reply(200)) as (tokens, _, sink):
        outcomes = [await sink.send(batch_of(1), now_s=NOW_S) for _ in range(2)]
        assert [(outcome.verdict, outcome.hint) for outcome in outcomes] == [(Verdict.RETRY, hint)] * 2
        assert len(tokens.seen) == 1


async def test_a_token_endpoint_that_recovers_lets_the_batch_through() -> None:
    grants = in_turn(reply(503, Retry_After="1"), granting("t"))
    async with oauth(grants, taking("t")) as (_, __, sink):
        first = await sink.send(batch_of(1), now_s=NOW_S)
        assert (first.verdict, first.retry_after_s) == (Verdict.RETRY, 1.0)
        async with asyncio.timeout(10):
            while (await sink.send(batch_of(1), now_s=NOW_S)).verdict is not Verdict.DELIVERED:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_401_with_no_other_token_to_be_had_is_tried_again_later() -> None:
    async with oauth(in_turn(granting("old"), reply(503)), taking("new")) as (_, endpoint, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
        assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
        assert len(endpoint.seen) == 1


async def test_a_token_endpoint_at_an_inward_address_is_never_connected_to() -> None:
    async with serving(granting("t")) as tokens, serving(reply(200)) as endpoint:
        auth = {
            "type": "oauth2",
            "token_url": tokens.url(host="localhost"),
            "client_id": "us",
            "client_secret": "cl13nt-s3cret",
        }
        async with sink_to(SPEC, endpoint.url(), allow=(), authorization=None, auth=auth) as sink:
            outcome = await sink.send(batch_of(1), now_s=NOW_S)
        assert outcome.verdict is Verdict.RETRY
        assert "is not public" in outcome.detail
        assert (tokens.connections, endpoint.connections) == (0, 0)


@pytest.mark.parametrize("length", [40, 5000], ids=["short", "longer than what is read of an answer"])
async def test_a_token_is_not_told_that_the_endpoint_sends_back(length: int) -> None:
    token = "t0ken." + "abcdefghij" * (length // 10)
    async with oauth(granting(token), taking(refusal=400)) as (_, __, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
    assert outcome.answer_head == "Bearer ***"


async def test_a_token_is_not_quoted_from_garbage() -> None:
    async def garbage(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await raw(b"HTTP/1.1 " + seen.headers["authorization"].encode() + b"\r\n\r\n", then_close=True)(seen, writer)

    async with oauth(granting("t0ken." + "abcdefghij" * 100), garbage) as (_, __, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
    assert outcome.detail.startswith("answered garbage: ")
    assert "t0ken" not in outcome.detail


async def test_the_files_of_tls_hold_for_the_token_endpoint_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with serving(granting("t"), tls=context) as tokens, serving(taking("t"), tls=context) as endpoint:
        auth = {
            "type": "oauth2",
            "token_url": tokens.url(host="localhost"),
            "client_id": "us",
            "client_secret": "cl13nt-s3cret",
        }
        url, tls = endpoint.url(host="localhost"), {"ca": str(tmp_path / "ca.pem")}
        async with sink_to(SPEC, url, authorization=None, auth=auth, tls=tls) as sink:
            assert (await sink.send(batch_of(1), now_s=NOW_S)).verdict is Verdict.DELIVERED


async def test_the_clients_secret_is_not_told_that_the_token_endpoint_sends_back() -> None:
    async with oauth(raw(b"HTTP/1.1 cl13nt-s3cret\r\n\r\n"), reply(200)) as (_, __, sink):
        outcome = await sink.send(batch_of(1), now_s=NOW_S)
    assert "cl13nt" not in repr(outcome) + repr(sink)


async def test_closing_while_a_token_is_fetched_leaves_nothing_behind() -> None:
    async with oauth(silence(), reply(200)) as (tokens, _, sink):
        sending = asyncio.create_task(sink.send(batch_of(1), now_s=NOW_S))
        await tokens.received(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await sink.close()
        await asyncio.wait_for(tokens.hung_up.wait(), 20)


# Settings


OAUTH = {"type": "oauth2", "token_url": "https://a.example/token", "client_id": "us", "client_secret": "abc"}


@pytest.mark.parametrize(
    ("given", "place", "words"),
    [
        ({"auth": {"type": "digest"}}, ("auth",), "Input tag 'digest'"),
        ({"auth": {"type": "basic", "username": "ana"}}, ("auth", "basic", "password"), "Field required"),
        ({"auth": {"type": "bearer", "token": "Bearer x"}}, ("auth", "bearer", "token"), "give the token alone"),
        ({"auth": {"type": "bearer", "token": "x\n"}}, ("auth", "bearer", "token"), "white space or a line break"),
        ({"auth": {"type": "signed", "secret": ""}}, ("auth", "signed", "secret"), "is empty"),
        (
            {"auth": {"type": "signed", "secret": "a", "previous": "a"}},
            ("auth", "signed", "previous"),
            "is the same as secret",
        ),
        (
            {"auth": OAUTH | {"token_url": "ftp://a.example"}},
            ("auth", "oauth2", "token_url"),
            "must begin with https://",
        ),
        (
            {"auth": OAUTH | {"token_url": "https://a:b@c.example"}},
            ("auth", "oauth2", "token_url"),
            "holds credentials",
        ),
        ({"auth": OAUTH | {"scope": ""}}, ("auth", "oauth2", "scope"), "must be 1 or more printable characters"),
        ({"auth": OAUTH, "authorization": "Bearer x"}, ("authorization",), "cannot stand beside auth of type oauth2"),
        (
            {"auth": TYPES["bearer"], "authorization": "Bearer x"},
            ("authorization",),
            "cannot stand beside auth of type bearer",
        ),
    ],
)
def test_wrong_settings_are_refused_where_they_stand(given: dict[str, Any], place: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings_of(SPEC, "https://a.example/", **{"authorization": None} | given)
    (found,) = caught.value.errors()
    assert found["loc"] == place
    assert words in found["msg"]
