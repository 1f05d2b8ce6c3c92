"""The life of access tokens, against a real token endpoint and a clock that stands still until it is moved."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from pipeline.clock import ManualClock
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.net.oauth import AccessToken, ClientCredentials, NoToken, TokenSource
from tests.support.endpoint import Answering, Endpoint, Seen, in_turn, raw, reply, reset, serving, silence

SECRET = "s3cret/+ key"


def granting(token: str = "t", **more: Any) -> Answering:
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600} | more
    return reply(200, json.dumps({name: value for name, value in answer.items() if value is not None}).encode())


def counting(expires_in: object = 3600) -> Answering:
    """Tokens t-1, t-2 and so on."""
    given = 0

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        given += 1
        await granting(f"t-{given}", expires_in=expires_in)(seen, writer)

    return answer


class Scene:
    def __init__(self, endpoint: Endpoint, source: TokenSource, clock: ManualClock) -> None:
        self.endpoint, self.source, self.clock = endpoint, source, clock

    @property
    def fetches(self) -> int:
        return len(self.endpoint.seen)

    async def value(self) -> str:
        token = await self.source.token()
        assert isinstance(token, AccessToken), token
        return token.value

    async def failure(self) -> NoToken:
        token = await self.source.token()
        assert isinstance(token, NoToken), token
        return token

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not is_true():  # noqa: ASYNC110  a token has no event for its renewal
                await asyncio.sleep(0.005)


@asynccontextmanager
async def scene(answer: Answering, *, timeout_s: float = 5.0, **credentials: Any) -> AsyncIterator[Scene]:
    clock = ManualClock()
    client = HttpClient(AddressGuard(["127.0.0.0/8"]), connect_timeout_s=2.0)
    await client.open()
    try:
        async with serving(answer) as endpoint:
            source = TokenSource(
                client,
                client.endpoint(endpoint.url("/token?tenant=1"), timeout_s=timeout_s),
                ClientCredentials(**{"client_id": "us", "client_secret": SECRET} | credentials),
                user_agent="Distributary/test",
                clock=clock,
            )
            yield Scene(endpoint, source, clock)
            await source.close()
    finally:
        await client.close()


async def test_the_request_for_a_token_is_this() -> None:
    async with scene(granting(), scope="events:write more") as it:
        await it.value()
        port, wire = it.endpoint.port, it.endpoint.seen[0].wire
    assert wire == (
        b"POST /token?tenant=1 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(port).encode() + b"\r\n"
        b"Accept: application/json\r\n"
        b"Accept-Encoding: identity\r\n"
        b"User-Agent: Distributary/test\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Authorization: Basic dXM6czNjcmV0JTJGJTJCK2tleQ==\r\n"
        b"Content-Length: 55\r\n"
        b"\r\n"
        b"grant_type=client_credentials&scope=events%3Awrite+more"
    )


async def test_the_credentials_may_stand_in_the_body() -> None:
    async with scene(granting(), client_auth="post") as it:
        await it.value()
        (seen,) = it.endpoint.seen
    assert "authorization" not in seen.headers
    assert parse_qs(seen.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["us"],
        "client_secret": [SECRET],
    }


async def test_a_token_is_fetched_once_however_many_wait_for_it() -> None:
    async with scene(counting()) as it:
        assert set(await asyncio.gather(*(it.value() for _ in range(50)))) == {"t-1"}
        assert await it.value() == "t-1"
        assert it.fetches == 1


async def test_one_who_gives_up_waiting_takes_the_token_from_nobody() -> None:
    release = asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await granting("late")(seen, writer)

    async with scene(answer) as it:
        first, second = asyncio.create_task(it.value()), asyncio.create_task(it.value())
        await it.endpoint.received(1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        release.set()
        assert await second == "late"
        assert it.fetches == 1


async def test_closing_gives_up_a_fetch() -> None:
    async with scene(silence()) as it:
        waiting = asyncio.create_task(it.source.token())
        await it.endpoint.received(1)
        await it.source.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.parametrize(
    ("expires_in", "renewed_after_s"),
    [(3600, 3540), ("3600", 3540), (100, 90), (1, 0.9), (0, 0.9), (-5, 0.9), (10**9, 86_340), (None, 270), (True, 270),
     ("soon", 270), ([3], 270), ("9" * 400, 86_340), (int("9" * 400), 86_340), (-int("9" * 400), 0.9)],
)  # fmt: skip
async def test_a_token_is_renewed_a_little_before_it_ends(expires_in: object, renewed_after_s: float) -> None:
    async with scene(counting(expires_in)) as it:
        assert await it.value() == "t-1"
        it.clock.move(renewed_after_s - 0.01)
        assert await it.value() == "t-1"
        assert it.fetches == 1
        it.clock.move(0.02)
        assert await it.value() == "t-1"  # it is still good, so nobody waits for the next one
        await it.endpoint.received(2)
        await it.until(lambda: it.source._token is not None and it.source._token.value == "t-2")
        assert await it.value() == "t-2"
        assert it.fetches == 2


async def test_a_token_that_has_ended_is_not_used() -> None:
    async with scene(counting(100)) as it:
        assert await it.value() == "t-1"
        it.clock.move(100)
        assert await it.value() == "t-2"


async def test_the_old_token_serves_until_it_ends_while_it_cannot_be_renewed() -> None:
    async with scene(in_turn(granting("old", expires_in=100), reply(503))) as it:
        assert await it.value() == "old"
        it.clock.move(95)
        assert await it.value() == "old"
        await it.endpoint.received(2)
        await it.until(lambda: it.source._failures == 1)
        assert await it.value() == "old"
        assert not it.source._is_fetching()  # no second try within the pause
        it.clock.move(5)
        assert "503 Service Unavailable" in (await it.failure()).detail


async def test_failed_fetches_have_growing_pauses_between_them() -> None:
    async with scene(reply(500)) as it:
        for fetches, pause_s in enumerate([1, 2, 4, 8, 8, 8], start=1):
            assert set(await asyncio.gather(*(it.source.token() for _ in range(20)))) == {await it.failure()}
            assert it.fetches == fetches
            it.clock.move(pause_s - 0.01)
            await it.failure()
            assert it.fetches == fetches
            it.clock.move(0.01)


async def test_after_a_success_the_pauses_begin_anew() -> None:
    async with scene(in_turn(reply(500), reply(500), granting(expires_in=1), reply(500), granting())) as it:
        for pause_s in (1, 2):
            await it.failure()
            it.clock.move(pause_s)
        await it.value()
        it.clock.move(1)
        await it.failure()
        it.clock.move(1)
        await it.value()


async def test_a_pause_that_the_token_endpoint_asks_for_is_kept_and_passed_on() -> None:
    async with scene(in_turn(reply(429, Retry_After="20"), granting())) as it:
        assert (await it.failure()).retry_after_s == 20.0
        it.clock.move(15)
        assert (await it.failure()).retry_after_s == pytest.approx(5.0)
        assert it.fetches == 1
        it.clock.move(5)
        await it.value()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(400, b'{"error":"invalid_client"}'), "answered 400 Bad Request (invalid_client)"),
        (reply(401, b'{"error":"no such <b>client</b>"}'), "answered 401 Unauthorized"),
        (reply(302, Location="/login"), "answered 302 Found; redirects are not followed, set token_url"),
        (reply(204), "answered 204 No Content"),
        (reply(200, b"<html>Welcome</html>"), "answered 200, but not with JSON"),
        (reply(200, b"\xff\xfe"), "answered 200, but not with JSON"),
        (reply(200, b"[" * 60_000), "answered 200, but not with JSON"),
        (reply(200), "answered 200, but not with JSON"),
        (reply(200, b"[]"), "answered 200, but without an access_token"),
        (reply(200, b'{"error":"invalid_scope"}'), "without an access_token (invalid_scope)"),
        (granting(""), "without an access_token"),
        (granting("a b"), "its access_token holds characters that a header cannot carry"),
        (granting("a\r\nX-Admin: yes"), "its access_token holds characters that a header cannot carry"),
        (granting("\N{EURO SIGN}"), "its access_token holds characters that a header cannot carry"),
        (granting(token_type="mac"), "its token_type is not Bearer"),
        (granting(token_type=7), "its token_type is not Bearer"),
        (granting("x" * 70_000), "bytes or more, which is no token"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 5000), "with 1000000000 bytes or more"),
        (raw(b"garbage s3cret-token\r\n\r\n", then_close=True), "gave no token, answered garbage"),
        (raw(b"", then_close=True), "gave no token, 127.0.0.1:"),
        (reset(), "gave no token, 127.0.0.1:"),
        (silence(), "gave no token, no answer within 0.3 s"),
    ],
)  # fmt: skip
async def test_a_token_endpoint_that_gives_none_is_told_in_words(answer: Answering, words: str) -> None:
    async with scene(answer, timeout_s=0.3) as it:
        failure = await it.failure()
    assert words in failure.detail
    assert failure.detail.startswith("the token endpoint 127.0.0.1:")
    assert len(failure.detail) < 250
    assert "s3cret" not in failure.detail
    assert "tenant" not in failure.detail


@pytest.mark.parametrize(
    "more", [{"token_type": "bearer"}, {"token_type": None}, {"scope": "x"}, {"refresh_token": "r"}]
)
async def test_what_other_servers_write_beside_the_token_does_no_harm(more: dict[str, Any]) -> None:
    async with scene(granting(**more)) as it:
        assert await it.value() == "t"


async def test_a_token_of_60_kib_can_be_read() -> None:
    async with scene(granting("x" * 60_000)) as it:
        assert len(await it.value()) == 60_000


async def test_a_refused_token_is_replaced_once_for_all_who_held_it() -> None:
    async with scene(counting()) as it:
        token = await it.source.token()
        assert isinstance(token, AccessToken)
        others = await asyncio.gather(*(it.source.another(token) for _ in range(50)))
        assert {other.value for other in others if isinstance(other, AccessToken)} == {"t-2"}
        assert it.fetches == 2


async def test_tokens_that_are_refused_one_after_the_other_are_not_replaced_at_once() -> None:
    async with scene(counting()) as it:
        first = await it.source.token()
        second = await it.source.another(first)  # type: ignore[arg-type]
        assert await it.source.another(second) is None  # type: ignore[arg-type]
        assert await it.value() == "t-2"
        it.clock.move(30)
        third = await it.source.another(second)  # type: ignore[arg-type]
        assert isinstance(third, AccessToken)
        assert (third.value, it.fetches) == ("t-3", 3)


async def test_a_token_that_worked_is_replaced_whenever_it_is_refused() -> None:
    async with scene(counting()) as it:
        token = await it.source.token()
        for number in range(2, 5):
            token = await it.source.another(token)  # type: ignore[arg-type]
            assert isinstance(token, AccessToken)
            assert token.value == f"t-{number}"
            it.source.accepted(token)


async def test_nothing_shows_a_secret() -> None:
    credentials = ClientCredentials("us", SECRET)
    async with scene(granting("t0ken")) as it:
        shown = repr(credentials) + repr(await it.source.token()) + repr(it.source)
    assert "s3cret" not in shown
    assert "t0ken" not in shown
