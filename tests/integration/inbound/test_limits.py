"""The rate of a webhook over all workers, through a real Redis."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.inbound.limits import WebhookRates
from pipeline.clock import SystemClock
from pipeline.inbound.settings import InboundRate
from pipeline.local.servers import LocalServers
from tests.support.chunk_worker import until

CLOCK = SystemClock()
_names = (f"webhook-{number}" for number in itertools.count())


@contextlib.asynccontextmanager
async def rates(url: str, share: float = 0.5, **settings: float) -> AsyncIterator[WebhookRates]:
    made = WebhookRates("test", url, CLOCK, lambda: share, InboundRate(**settings) if settings else None)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def granted(taken_from: WebhookRates, name: str, seconds: float, pause_s: float = 0.002) -> int:
    """How many requests go on of those that come all the time."""
    count, until_s = 0, time.monotonic() + seconds
    while time.monotonic() < until_s:
        count += not await taken_from.take(name)
        await asyncio.sleep(pause_s)
    return count


async def test_without_a_rate_everything_goes_on_and_redis_is_not_asked():
    async with rates("redis://none.invalid") as unlimited:
        assert not any([await unlimited.take("any") for _ in range(1000)])


async def test_two_workers_share_the_rate_of_a_webhook(redis_url):
    name = next(_names)
    async with rates(redis_url, per_second=40) as one, rates(redis_url, per_second=40) as other:
        both = await asyncio.gather(granted(one, name, 3), granted(other, name, 3))
    # 3 s of it and what may come at once; the window slides, so the first second's worth counts twice at most
    assert 90 <= sum(both) <= 165
    assert min(both) > 0


async def test_the_first_request_after_a_quiet_time_goes_on(redis_url):
    name = next(_names)
    async with rates(redis_url, per_second=1) as one:
        assert not await one.take(name)


async def test_a_burst_goes_on_at_once_and_what_comes_beyond_learns_when_to_come_again(redis_url):
    name = next(_names)
    async with rates(redis_url, per_second=0.5, burst=5) as one:
        waits = [await one.take(name) for _ in range(8)]
    assert waits[:5] == [0.0] * 5
    assert waits[5:] == [2.0] * 3


async def test_requests_that_come_together_are_counted_each(redis_url):
    name = next(_names)
    async with rates(redis_url, per_second=1, burst=20) as one:
        waits = await asyncio.gather(*(one.take(name) for _ in range(60)))
    assert sum(not wait for wait in waits) == 20


async def test_a_webhook_has_its_rate_whatever_others_use(redis_url):
    busy, quiet = next(_names), next(_names)
    async with rates(redis_url, per_second=1, burst=2) as one:
        assert not all([not await one.take(busy) for _ in range(10)])
        assert not await one.take(quiet)


async def test_without_redis_each_worker_keeps_to_its_share():
    async with rates("redis://127.0.0.1:1", share=0.5, per_second=20, burst=20) as one:
        assert 8 <= sum([not await one.take("any") for _ in range(40)]) <= 12


async def test_the_rate_is_shared_again_when_redis_is_back(tmp_path: Path):
    servers = LocalServers(tmp_path, names=["redis"])
    servers.acquire()
    try:
        async with rates(servers.addresses.redis, per_second=2, burst=10) as one:
            assert not await one.take("any")
            servers.down()
            await until_alone(one)
            servers.up()
            await until(lambda: not one._shared.is_away, 15)
            await granted(one, "any", 0.2)
            await until_shared(one)
    finally:
        servers.release()
        servers.down()  # one that was started again stays up by itself


async def until_alone(taken_from: WebhookRates) -> None:
    async with asyncio.timeout(10):
        while not taken_from._shared.is_away:
            await taken_from.take("any")
            await asyncio.sleep(0.02)


async def until_shared(taken_from: WebhookRates) -> None:
    async with asyncio.timeout(20):
        while taken_from._shared.is_away:
            await taken_from.take("any")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("per_second", [0.5, 3.0, 250.0])
async def test_any_rate_grants_its_burst_at_once(redis_url, per_second):
    name = next(_names)
    async with rates(redis_url, per_second=per_second) as one:
        assert not await one.take(name)
