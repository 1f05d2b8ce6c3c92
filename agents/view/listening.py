"""Sends server-sent events to one reader."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from aiohttp import web

from pipeline.view.formats import events as sse


async def tell_all(response: web.StreamResponse, events: AsyncIterator[sse.Told]) -> None:
    """Send events as they come, and a sign of life where none come for a while."""
    async with aclosing(events):  # type: ignore[type-var]
        following = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=sse.HEARTBEAT_S)
                if not done:
                    await response.write(sse.HEARTBEAT)
                    continue
                event = following.result()
                if event is None:
                    return
                await response.write(sse.told(event))
                following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            await asyncio.wait({following})
