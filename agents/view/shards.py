"""What travels between workers that gather rows: the question, a worker's head, its rows line by line, and the reply so far."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.view.columns import Personal, Row
from pipeline.view.coverage import Shard
from pipeline.view.query import Query

ROWS_A_LINE: Final = 200
LINE_BYTES: Final = 256 << 10
LONGEST_LINE_S: Final = 0.3
"""How long rows that are slow to come wait for others on their line."""


class Asked(msgspec.Struct):
    """What one worker asks of another."""

    source: str
    query: Query
    masks: frozenset[Personal]
    only: list[str] = msgspec.field(default_factory=list)
    """Columns to give; all where there are none."""


class Head(msgspec.Struct):
    """The first line of a worker's answer. ``problem`` is not empty where it has no rows to give."""

    partitions: list[int]
    generation: int
    as_of: float
    problem: str = ""
    has_more: bool = False
    matching: int | None = None
    facets: dict[str, list[tuple[Any, int]]] = msgspec.field(default_factory=dict)
    is_truncated: bool = False


@dataclass(slots=True)
class Reply:
    """What one worker answered so far. ``expected`` are the partitions that it owns as far as the asker knows."""

    worker: str
    expected: frozenset[int]
    head: Head | None = None
    problem: str = ""
    rows: list[Row] | None = None
    stream: AsyncGenerator[Row] | None = None

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that it answered for."""
        return frozenset(self.head.partitions) if self.head is not None and not self.problem else frozenset()

    def shard(self) -> Shard:
        """What it is for the coverage."""
        if self.head is None or self.problem:
            return Shard(self.worker, self.expected, self.problem or "it said nothing")
        return Shard(self.worker, self.partitions, is_truncated=self.head.is_truncated, as_of=self.head.as_of)


def encode(value: Any) -> bytes:
    """As JSON on one line; text that is no proper Unicode travels too."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value)).encode()


def decode(line: bytes) -> Any:
    """What ``encode`` made; raises ``MsgspecError`` or ``JSONDecodeError``."""
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return json.loads(line)


def only_columns(rows: list[Row] | AsyncIterator[Row], names: Sequence[str]) -> list[Row] | AsyncIterator[Row]:
    """The rows with these columns alone; whole where none are named."""
    if not names or not isinstance(rows, list):
        return rows
    return [{name: row.get(name) for name in names} for row in rows]


def is_moving(replies: Sequence[Reply]) -> bool:
    """Whether the workers do not agree on who owns what, or are about to."""
    seen: set[int] = set()
    generations: set[int] = set()
    for reply in replies:
        if reply.head is None:
            continue  # it is silent: to ask again would take the whole deadline again
        if reply.problem or reply.partitions != reply.expected or seen & reply.partitions:
            return True
        seen |= reply.partitions
        if reply.expected:
            generations.add(reply.head.generation)
    return len(generations) > 1


def leave_out_former_owners(replies: Sequence[Reply]) -> None:
    """Where two answer for the same partition, the one with the older assignment does not count."""
    newest_first = sorted(
        (reply for reply in replies if reply.head is not None and not reply.problem),
        key=lambda reply: reply.head.generation if reply.head is not None else 0,
        reverse=True,
    )
    seen: set[int] = set()
    for reply in newest_first:
        if seen & reply.partitions:
            reply.problem = "some of its partitions went to another worker while it answered"
        seen |= reply.partitions


async def close_all(replies: Sequence[Reply]) -> None:
    """End the streams of all that were not read to their end."""
    for reply in replies:
        if reply.stream is not None:
            await reply.stream.aclose()


async def as_lines(rows: list[Row] | AsyncIterator[Row]) -> AsyncGenerator[bytes]:
    """Rows as lines, several on each."""
    if isinstance(rows, list):
        for start in range(0, len(rows), ROWS_A_LINE):
            yield encode(rows[start : start + ROWS_A_LINE])
            await asyncio.sleep(0)
        return
    parts: list[bytes] = []
    size_bytes, began_s = 0, time.monotonic()
    async for row in rows:
        parts.append(encode(row))
        size_bytes += len(parts[-1])
        if len(parts) >= ROWS_A_LINE or size_bytes >= LINE_BYTES or time.monotonic() - began_s > LONGEST_LINE_S:
            yield b"[" + b",".join(parts) + b"]"
            parts, size_bytes, began_s = [], 0, time.monotonic()
    if parts:
        yield b"[" + b",".join(parts) + b"]"
