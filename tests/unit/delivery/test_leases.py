"""Leases of a shared rate where Redis is slow or something else goes wrong."""

import asyncio

import pytest

from pipeline.clock import ManualClock
from pipeline.delivery.shared_rate import SharedRate, SharedRates
from pipeline.model.integration import RateSettings
from tests.support.chunk_worker import until


class StubbornRates(SharedRates):
    """Rates whose Redis answers nobody, or fails in a way that nobody thought of."""

    def __init__(self, clock: ManualClock, error: Exception | None = None) -> None:
        super().__init__("redis://127.0.0.1:1", clock, prefix="test", share=lambda: 0.5)
        self._error = error
        self.asked = 0

    async def acquire(self, *_: object) -> bool | None:
        self.asked += 1
        if self._error is not None:
            raise self._error
        return await asyncio.get_running_loop().create_future()


async def rate_of(rates: SharedRates) -> SharedRate:
    await rates.open()
    return rates.rate("crm", RateSettings(per_second=100, shared=True))


async def test_a_lease_that_takes_its_time_is_asked_after_ever_less_often():
    clock = ManualClock()
    rates = StubbornRates(clock)
    rate, waits = await rate_of(rates), []
    for _ in range(8):
        waits.append(rate.try_take(1, clock.monotonic_s()))
        await asyncio.sleep(0)
        clock.move(waits[-1])
    assert waits == pytest.approx([0.02, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25])
    assert rates.asked == 1
    await rates.close()


async def test_an_error_of_a_lease_stays_out_of_the_event_loop_and_redis_is_left_alone_until_it_is_probed():
    unhandled: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
    clock = ManualClock()
    rates = StubbornRates(clock, ValueError("a bug"))
    rate = await rate_of(rates)

    async def ask() -> None:
        rate.try_take(1, clock.monotonic_s())
        for _ in range(5):
            await asyncio.sleep(0)

    for _ in range(9):
        await ask()
        clock.move(0.1)
    assert unhandled == []
    assert rates.is_away
    assert rates.asked == 1

    await until(lambda: rates.asked == 3)
    assert unhandled == []
    assert rates.is_away
    await rates.close()


async def test_nothing_probes_redis_any_more_once_the_rates_are_closed():
    rates = StubbornRates(ManualClock())
    await rates.open()
    rates.hold_off()
    assert len(asyncio.all_tasks()) == 2
    await rates.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    rates.hold_off()
    assert asyncio.all_tasks() == {asyncio.current_task()}
