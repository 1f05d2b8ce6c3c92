"""The end of tasks that nobody needs any more."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_AFTER_S: Final = 2.0
"""Long enough for most to clean up after themselves, which a second cancellation would interrupt."""


async def cancelled(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel ``tasks`` and wait until they have ended, however: what they raise stays with them.

    A cancellation can be lost, for instance in ``asyncio.wait_for`` before Python 3.12 where what it waits for is done at that very
    moment, and then a task goes on for good: so it is told again until it has ended.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_AFTER_S)
