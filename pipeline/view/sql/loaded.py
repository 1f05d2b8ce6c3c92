"""Tables that were loaded a moment ago, so that a query which is changed and asked again need not gather them anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from pathlib import Path

from pipeline.view.coverage import Coverage


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """A table's database: how many ``rows``, whether they are all, what they cover, and when they were gathered (UNIX seconds)."""

    file: Path
    rows: int
    is_cut: bool
    coverage: Coverage
    as_of: float


class LoadedTables:
    """Keeps each table for ``kept_s`` seconds. A key is all that its rows depend on: the table and what was masked."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._kept: dict[Hashable, LoadedTable] = {}
        self._turns: dict[Hashable, asyncio.Lock] = {}
        self._ends: dict[Hashable, asyncio.TimerHandle] = {}

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[LoadedTable | None]:
        """What is kept under ``key``; within the block nobody else loads it, and its file stays."""
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            yield self._kept.get(key)

    def keep(self, key: Hashable, table: LoadedTable) -> None:
        """Keep a table for others, within its turn."""
        self._kept[key] = table
        self._ends[key] = asyncio.get_running_loop().call_later(self._kept_s, self._forget, key)

    def _forget(self, key: Hashable) -> None:
        turn = self._turns.get(key)
        if turn is not None and turn.locked():  # somebody is giving its file a name of his own
            self._ends[key] = asyncio.get_running_loop().call_later(self._kept_s / 10, self._forget, key)
            return
        self._turns.pop(key, None)
        self._ends.pop(key, None)
        self._kept.pop(key).file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all, with their files."""
        for end in self._ends.values():
            end.cancel()
        for table in self._kept.values():
            table.file.unlink(missing_ok=True)
        self._kept.clear()
        self._turns.clear()
        self._ends.clear()
