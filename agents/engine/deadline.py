"""Waits that end in time, whatever it is that they wait for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

STOP_DEADLINE_S: Final = 5.0
"""How long a worker that stops waits for the broker: whoever stops it may send SIGKILL soon."""


async def ends_within(deadline_s: float, work: Coroutine[Any, Any, Any]) -> bool:
    """Run ``work``, and give ``False`` where it has not ended after ``deadline_s``, or was cancelled; raises what it raises.

    Unlike with ``asyncio.timeout``, work that is late is cancelled but not waited for: several of Faust's and aiokafka's waits
    swallow a cancellation and go on.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
    finally:
        task.cancel()
    if not done:
        task.add_done_callback(_ignore)
        return False
    if task.cancelled():
        return False
    task.result()
    return True


def _ignore(late: "asyncio.Task[Any]") -> None:
    if not late.cancelled():
        late.exception()  # asked for, so that asyncio does not report it as never retrieved
