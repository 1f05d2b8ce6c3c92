"""A rate that workers share through a real Redis."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import SystemClock
from pipeline.delivery.shared_rate import SharedRate, SharedRates, window_of
from pipeline.local.process import wait_until
from pipeline.local.servers import LocalServers
from pipeline.model.integration import RateSettings
from tests.support.chunk_worker import until

CLOCK = SystemClock()
_names = (f"integration-{number}" for number in itertools.count())


@contextlib.asynccontextmanager
async def worker(url: str, share: float = 0.5) -> AsyncIterator[SharedRates]:
    rates = SharedRates(url, CLOCK, prefix="test", share=lambda: share)
    await rates.open()
    try:
        yield rates
    finally:
        await rates.close()


async def take_for(rate: SharedRate, seconds: float, *, events: int = 1) -> list[float]:
    """Take whatever one gets, and tell when."""
    taken, until_s = [], time.monotonic() + seconds
    while (now_s := time.monotonic()) < until_s:
        wait_s = rate.try_take(events, now_s)
        if wait_s:
            await asyncio.sleep(min(wait_s, until_s - now_s))
        else:
            taken.append(now_s)
    return taken


async def take_one(rate: SharedRate, *, within_s: float = 10.0) -> None:
    until_s = time.monotonic() + within_s
    while (wait_s := rate.try_take(1, now_s := time.monotonic())) > 0:
        assert now_s < until_s, "nothing was granted"
        await asyncio.sleep(wait_s)


async def test_two_workers_share_a_rate_within_a_tenth(redis_url):
    name, settings = next(_names), RateSettings(per_second=50, shared=True)
    async with worker(redis_url) as one, worker(redis_url) as other:
        first, second = await asyncio.gather(
            take_for(one.rate(name, settings), 5), take_for(other.rate(name, settings), 5)
        )

    start_s = min(first[0], second[0]) + 1  # the first second may use up the burst
    settled = [at_s for at_s in first + second if start_s <= at_s < start_s + 3]
    assert 45 <= len(settled) / 3 <= 55
    assert min(len(first), len(second)) >= 0.25 * len(first + second)


async def test_what_one_worker_does_not_use_the_other_gets(redis_url):
    name, settings = next(_names), RateSettings(per_second=50, shared=True)
    async with worker(redis_url) as one, worker(redis_url) as other:
        await take_one(other.rate(name, settings))
        taken = await take_for(one.rate(name, settings), 4)

    assert 45 <= sum(taken[0] + 1 <= at_s < taken[0] + 3 for at_s in taken) / 2 <= 55


async def test_batches_larger_than_the_burst_go_at_the_rate_of_their_events(redis_url):
    name, settings = next(_names), RateSettings(per_second=200, burst=200, unit="events", shared=True)
    async with worker(redis_url) as one:
        taken = await take_for(one.rate(name, settings), 8, events=500)

    # 500 go at once where 200 are here, and the next ones wait until that is made up for.
    assert 2 <= len(taken) <= 4
    assert all(later_s - earlier_s >= 2.0 for earlier_s, later_s in itertools.pairwise(taken))


async def test_asking_waits_for_nothing_also_where_redis_hangs():
    server = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(30), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, worker(f"redis://127.0.0.1:{port}/0") as rates:
        rate = rates.rate(next(_names), RateSettings(per_second=50, shared=True))
        slowest_s, until_s = 0.0, time.monotonic() + 0.5
        while time.monotonic() < until_s:
            before_s = time.perf_counter()
            rate.try_take(1, time.monotonic())
            slowest_s = max(slowest_s, time.perf_counter() - before_s)
            await asyncio.sleep(0.005)

    assert slowest_s < 0.1


async def test_without_redis_a_worker_keeps_to_its_share_and_shares_again_when_it_is_back(tmp_path):
    servers = LocalServers(tmp_path / "redis", names=["redis"])
    name, settings = next(_names), RateSettings(per_second=100, burst=10, shared=True)
    servers.acquire()
    try:
        url = servers.addresses.redis
        async with worker(url, share=0.25) as rates:
            rate = rates.rate(name, settings)
            await take_one(rate)
            assert not rates.is_away

            await asyncio.to_thread(servers.down)
            while not rates.is_away:
                rate.try_take(1, time.monotonic())
                await asyncio.sleep(0.01)
            taken = await take_for(rate, 3)
            assert 20 <= len(taken) / 3 <= 30

            await asyncio.to_thread(_up_again, servers, url)
            async with asyncio.timeout(40):
                while rates.is_away:
                    await take_for(rate, 0.1)
            taken = await take_for(rate, 3)
            assert len(taken) / 3 > 60
    finally:
        servers.down()


async def test_rates_are_shared_again_once_redis_is_back_also_while_nothing_is_sent(tmp_path):
    servers = LocalServers(tmp_path / "redis", names=["redis"])
    servers.acquire()
    try:
        url = servers.addresses.redis
        async with worker(url) as rates:
            rate = rates.rate(next(_names), RateSettings(per_second=100, shared=True))
            await take_one(rate)
            await asyncio.to_thread(servers.down)
            while not rates.is_away:
                rate.try_take(1, time.monotonic())
                await asyncio.sleep(0.01)
            await asyncio.to_thread(_up_again, servers, url)
            await until(lambda: not rates.is_away, 40)
    finally:
        servers.down()


def _up_again(servers: LocalServers, url: str) -> None:
    servers.acquire()
    assert wait_until(lambda: servers.addresses.redis == url, 10), "Redis is to come back at its address"


@pytest.mark.parametrize(
    ("per_second", "burst", "tokens", "seconds"),
    [(50, None, 50, 1), (50, 100, 100, 2), (50, 10, 50, 1), (0.5, None, 1, 2), (0.7, None, 7, 10), (2000, 1, 2000, 1)],
)
def test_redis_counts_in_whole_seconds(per_second, burst, tokens, seconds):
    window = window_of(RateSettings(per_second=per_second, burst=burst))
    assert (window.amount, window.get_expiry()) == (tokens, seconds)


@given(st.floats(0.001, 1_000_000), st.none() | st.integers(1, 1_000_000))
def test_what_redis_counts_is_the_rate_or_a_little_less(per_second, burst):
    window = window_of(RateSettings(per_second=per_second, burst=burst))
    counted = window.amount / window.get_expiry()
    assert 0.98 * per_second <= counted <= per_second * (1 + 1e-6)
