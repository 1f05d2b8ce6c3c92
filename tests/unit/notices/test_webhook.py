"""Notices to an operations webhook on a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from pipeline.clock import SystemClock
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.notices.notice import Cause, Notice
from pipeline.notices.settings import NoticeSettings
from pipeline.notices.webhook import NoticeWebhook
from tests.support.endpoint import Answering, Endpoint, in_turn, reply, reset, serving, silence

QUICK_S = (0.01, 0.01, 0.01)
LOOPBACK = ["127.0.0.0/8"]


def notice(number: int) -> Notice:
    return Notice(f"id-{number}", Cause.BATCHES_PARKED, 1.0, f"number {number}", "crm")


def ids(endpoint: Endpoint) -> list[str]:
    return [seen.headers["webhook-id"] for seen in endpoint.seen]


class Lost(list[int]):
    """How many were lost, as told."""

    def __init__(self) -> None:
        super().__init__()
        self.happened = asyncio.Event()

    def __call__(self, count: int) -> None:
        self.append(count)
        self.happened.set()


@contextlib.asynccontextmanager
async def posting(
    endpoint: Endpoint,
    lost: Lost | None = None,
    *,
    delays_s: tuple[float, ...] = QUICK_S,
    allowed: list[str] = LOOPBACK,
    stops_in_s: float = 2.0,
) -> AsyncIterator[NoticeWebhook]:
    settings = NoticeSettings.model_validate({"webhook": endpoint.url("/hooks/ops"), "authorization": "Bearer s3cret"})
    client = HttpClient(AddressGuard(allowed))
    await client.open()
    webhook = NoticeWebhook(
        settings,
        client,
        SystemClock(),
        app="events-eu",
        user_agent="Distributary/test",
        on_lost=Lost() if lost is None else lost,
        delays_s=delays_s,
    )
    webhook.open()
    try:
        yield webhook
    finally:
        await webhook.close(stops_in_s)
        await client.close()


async def test_a_notice_is_posted_as_json_with_an_id_and_the_authorization():
    async with serving(reply(200)) as endpoint, posting(endpoint) as webhook:
        webhook.offer(notice(1))
        await endpoint.received(1)

    (seen,) = endpoint.seen
    assert seen.request_line == "POST /hooks/ops HTTP/1.1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"] == "Bearer s3cret"
    assert seen.headers["user-agent"] == "Distributary/test"
    assert seen.headers["webhook-id"] == "id-1"
    assert seen.headers["webhook-timestamp"].isdigit()
    body = json.loads(seen.body)
    assert body["app"] == "events-eu"
    assert body["text"].startswith("events-eu: crm: batches were parked")


async def test_notices_are_posted_in_order():
    async with serving(reply(204)) as endpoint, posting(endpoint) as webhook:
        for number in range(5):
            webhook.offer(notice(number))
        await endpoint.received(5)
    assert ids(endpoint) == ["id-0", "id-1", "id-2", "id-3", "id-4"]


@pytest.mark.parametrize("failure", [reply(500), reply(429), reply(408), reset()], ids=["500", "429", "408", "reset"])
async def test_what_is_not_taken_is_posted_again_with_the_same_id(failure: Answering):
    lost = Lost()
    async with serving(in_turn(failure, failure, reply(200))) as endpoint, posting(endpoint, lost) as webhook:
        webhook.offer(notice(1))
        await endpoint.received(3)
    assert ids(endpoint) == ["id-1"] * 3
    assert lost == []


async def test_after_the_last_try_it_is_given_up_and_the_next_one_has_its_turn():
    lost = Lost()
    answers = in_turn(*[reply(503)] * (1 + len(QUICK_S)), reply(200))
    async with serving(answers) as endpoint, posting(endpoint, lost) as webhook:
        webhook.offer(notice(1))
        webhook.offer(notice(2))
        await endpoint.received(5)
    assert ids(endpoint) == ["id-1"] * 4 + ["id-2"]
    assert lost == [1]


@pytest.mark.parametrize("status", [301, 400, 401, 404])
async def test_what_is_refused_is_not_posted_again(status: int):
    lost = Lost()
    async with serving(in_turn(reply(status), reply(200))) as endpoint, posting(endpoint, lost) as webhook:
        webhook.offer(notice(1))
        webhook.offer(notice(2))
        await endpoint.received(2)
    assert ids(endpoint) == ["id-1", "id-2"]
    assert lost == [1]


async def test_retry_after_makes_a_pause_longer():
    async with serving(in_turn(reply(429, Retry_After="1"), reply(200))) as endpoint, posting(endpoint) as webhook:
        began_s = asyncio.get_running_loop().time()
        webhook.offer(notice(1))
        await endpoint.received(2)
        assert asyncio.get_running_loop().time() - began_s >= 1.0


async def test_an_address_that_outbound_does_not_permit_is_not_connected_to():
    lost = Lost()
    async with serving(reply(200)) as endpoint, posting(endpoint, lost, allowed=[]) as webhook:
        webhook.offer(notice(1))
        async with asyncio.timeout(5):
            await lost.happened.wait()
        assert endpoint.connections == 0


async def test_offering_never_waits_and_beyond_a_hundred_the_oldest_are_given_up():
    lost = Lost()
    async with serving(silence()) as endpoint, posting(endpoint, lost, stops_in_s=0.1) as webhook:
        for number in range(150):
            webhook.offer(notice(number))
        assert sum(lost) == 50
    assert sum(lost) == 150


async def test_a_stop_does_not_wait_out_a_pause_but_tries_once_more():
    lost = Lost()
    async with serving(in_turn(reply(500), reply(200))) as endpoint:
        async with posting(endpoint, lost, delays_s=(600.0,)) as webhook:
            webhook.offer(notice(1))
            await endpoint.received(1)
        assert ids(endpoint) == ["id-1", "id-1"]
    assert lost == []


async def test_a_stop_gives_an_endpoint_that_hangs_no_longer_than_its_time():
    lost = Lost()
    async with serving(silence()) as endpoint:
        began_s = asyncio.get_running_loop().time()
        async with posting(endpoint, lost, stops_in_s=0.2) as webhook:
            webhook.offer(notice(1))
            webhook.offer(notice(2))
            await endpoint.received(1)
        assert asyncio.get_running_loop().time() - began_s < 2.0
    assert lost == [2]
