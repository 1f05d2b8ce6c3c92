"""Waits that end in time."""

import asyncio
import time

import pytest

from agents.engine.deadline import ends_within


async def test_work_that_ends_in_time_is_true_and_its_error_is_raised():
    assert await ends_within(5, asyncio.sleep(0))

    async def fails():
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        await ends_within(5, fails())


async def test_work_that_swallows_its_cancellation_does_not_hold_the_caller():
    ended = asyncio.Event()

    async def stubborn():
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue

    began = time.monotonic()
    assert not await ends_within(0.02, stubborn())
    assert time.monotonic() - began < 1
    ended.set()


async def test_work_that_is_cancelled_from_within_is_not_done():
    async def gives_up():
        raise asyncio.CancelledError

    assert not await ends_within(5, gives_up())


async def test_a_caller_that_is_cancelled_takes_the_work_along():
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    caller = asyncio.ensure_future(ends_within(5, work()))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(cancelled.wait(), 1)
