"""Tasks end when they are cancelled, whatever becomes of the first word."""

import asyncio

import pytest

from pipeline.cancelling import cancelled


class Deaf:
    """Goes on after it was cancelled for as many times as it is told to."""

    def __init__(self, swallows: int) -> None:
        self.left = swallows

    async def run(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.left -= 1
                if self.left < 0:
                    raise


@pytest.mark.timeout(10)
async def test_a_task_that_loses_a_cancellation_is_told_again():
    tasks = [asyncio.ensure_future(Deaf(swallows).run()) for swallows in (0, 1)]
    await asyncio.sleep(0)
    await cancelled(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_what_has_ended_is_left_alone():
    async def fail() -> None:
        raise ValueError("of old")

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    await cancelled([task])
    assert isinstance(task.exception(), ValueError)
    await cancelled([])
