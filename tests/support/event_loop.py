"""Waiting without time passing."""

import asyncio


async def settle() -> None:
    """Let everything happen that is only a few turns of the event loop away."""
    for _ in range(10):
        await asyncio.sleep(0)
