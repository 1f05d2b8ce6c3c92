"""Sends text in pieces of a good size, and lets others run in between: the events' flow shares the loop with the view."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

PIECE_BYTES: Final = 32 << 10
TURN_S: Final = 0.004
PARTS_AT_ONCE: Final = 32


class Turns:
    """Gives the loop to others when this task has had it for four milliseconds."""

    def __init__(self) -> None:
        self._until_s = time.monotonic() + TURN_S

    async def pause(self) -> None:
        """Call often."""
        if time.monotonic() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = time.monotonic() + TURN_S


async def in_pieces(texts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join what is small; the first piece goes out as it comes, so that the reader sees something at once."""
    turns = Turns()
    parts: list[bytes] = []
    size, is_first = 0, True
    async for text in texts:
        parts.append(text)
        size += len(text)
        if size >= PIECE_BYTES or is_first:
            yield b"".join(parts)
            parts, size, is_first = [], 0, False
        await turns.pause()
    if parts:
        yield b"".join(parts)


async def paced(texts: Iterable[str]) -> AsyncIterator[bytes]:
    """Text that is made as it is read, as bytes: the first part by itself, then some parts at once, since they are small."""
    parts: list[str] = []
    most = 1
    for text in texts:
        parts.append(text)
        if len(parts) >= most:
            yield "".join(parts).encode()
            parts, most = [], PARTS_AT_ONCE
    if parts:
        yield "".join(parts).encode()
