"""Keeps the index in Redis as the table is, for the partitions that this worker owns.

What the table stores is written into the index in the same order. Twice a second the index is asked what it shows: a partition that
is not complete there (Redis was emptied, or started again), or that shows another write than the table's last when it is taken over
(its owner died between row and index), is built again from the table.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import structlog

from agents.engine import ChunkApp, ChunkTable
from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.errors import UsersUnavailableError
from pipeline.users.entries import Entry, link_entry, user_entry
from pipeline.users.index import UserIndex
from pipeline.users.model import Link, User
from pipeline.users.rows import LINKS, USERS, WRITE_KEY, decode_row, link_of_key

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.5
RETRY_PAUSE_S: Final = 0.2
ENTRIES_AT_ONCE: Final = 500
MOST_WAITING: Final = 100_000
"""How many entries wait for Redis in memory; beyond that they are dropped, and their partitions built again."""
SETTLE_S: Final = 1.0
SWEEP_AFTER_S: Final = 660.0
"""How long after a building began what it did not write again is removed; accepted updates wait for their stage far shorter."""


class _Lot(NamedTuple):
    """Entries of one partition that are due under one claim; ``write`` is what the index shows then, if anything new."""

    partition: int
    claim: bytes
    entries: Sequence[Entry]
    write: bytes | None
    done: "asyncio.Future[None] | None" = None


class IndexKeeper:
    """Writes the index. ``unfinished`` gives the partitions that are not complete, as this worker saw them last."""

    def __init__(self, app: ChunkApp, table: ChunkTable, index: UserIndex, clock: Clock, partitions: int) -> None:
        self._app = app
        self._table = table
        self._index = index
        self._clock = clock
        self._partitions = partitions
        self._waiting: deque[_Lot] = deque()
        self.waiting_entries = 0
        self._came = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._verified: dict[int, bytes] = {}
        """Partitions that show all that the table held when this worker took them over, with its claim."""
        self._shown: dict[int, bytes] = {}
        self._building: dict[int, asyncio.Task[None]] = {}
        self._sweeps: dict[int, tuple[float, int, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_away = False
        self.built_s: dict[int, float] = {}
        """By partition, how long it took to build the last time."""
        app.before_release(self._settle)

    async def open(self) -> None:
        """Begin."""
        for running in (self._write_regularly(), self._look_regularly()):
            task = asyncio.get_running_loop().create_task(running)
            task.add_done_callback(self._on_ended)
            self._tasks.append(task)

    async def close(self) -> None:
        """End; what the index lacks, the next owner finds out."""
        await cancelled([*self._tasks, *self._building.values()])
        self._tasks.clear()

    def incomplete(self) -> list[int]:
        """The partitions of this worker whose index is not complete."""
        return [each for each in self._owned() if self._verified.get(each) != self._table.claim_of(each)]

    def put(self, partition: int, entries: Sequence[Entry], write: bytes) -> None:
        """The table has stored this."""
        claim = self._table.claim_of(partition)
        if claim is None:
            return
        if self.waiting_entries > MOST_WAITING:
            self._give_up()
        self._shown[partition] = write
        self._enqueue(_Lot(partition, claim, entries, write))

    def _enqueue(self, lot: _Lot) -> None:
        self._waiting.append(lot)
        self.waiting_entries += len(lot.entries)
        self._is_idle.clear()
        self._came.set()

    def _give_up(self) -> None:
        """Redis has been away for long: forget what waits, and find out later what it lacks."""
        for lot in self._waiting:
            self._verified.pop(lot.partition, None)
            if lot.done is not None:
                lot.done.cancel()
        self._waiting.clear()
        self.waiting_entries = 0

    # writing

    async def _write_regularly(self) -> None:
        while True:
            if not self._waiting:
                self._is_idle.set()
                self._came.clear()
                await self._came.wait()
            lots = self._take()
            while not await self._write(lots):  # noqa: ASYNC110  Redis tells nobody that it is back
                await asyncio.sleep(RETRY_PAUSE_S)

    def _take(self) -> list[_Lot]:
        lots: list[_Lot] = []
        entries = 0
        while self._waiting and entries < ENTRIES_AT_ONCE:
            lots.append(self._waiting.popleft())
            entries += len(lots[-1].entries)
        self.waiting_entries -= entries
        return lots

    async def _write(self, lots: Sequence[_Lot]) -> bool:
        """Write what is still this worker's to write; ``False`` where Redis does not answer."""
        own = [lot for lot in lots if self._table.claim_of(lot.partition) == lot.claim]
        writes: dict[int, bytes] = {}
        for lot in own:
            # Until it is known that nothing is missing, the index must not seem to be up to date.
            if lot.write is not None and self._verified.get(lot.partition) == lot.claim:
                writes[lot.partition] = lot.write
        entries = [entry for lot in own for entry in lot.entries]
        if entries or writes:
            try:
                await self._index.put(entries, list(writes.items()))
            except UsersUnavailableError as error:
                self._tell_silence(error)
                return False
            self._tell_answer()
        for lot in lots:
            if lot.done is not None and not lot.done.done():
                lot.done.set_result(None)
        return True

    def _tell_silence(self, error: UsersUnavailableError) -> None:
        if not self._is_away:
            log.warning("the index of users cannot be written, trying again", error=str(error))
        self._is_away = True

    def _tell_answer(self) -> None:
        if self._is_away:
            log.info("the index of users can be written again")
        self._is_away = False

    async def _settle(self) -> None:
        """Partitions leave: what the table stored is shown before, or the next owner builds them again."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._is_idle.wait()
        except TimeoutError:
            log.warning("the index of users is not up to date as partitions leave", entries=self.waiting_entries)

    # looking after it

    def _owned(self) -> list[int]:
        app = self._app
        if app.should_stop or app.rebalancing or not app.tables.actives_ready:
            return []
        return [each for each in range(self._partitions) if self._table.claim_of(each) is not None]

    async def _look_regularly(self) -> None:
        while True:
            owned = self._owned()
            self._verified = {each: claim for each, claim in self._verified.items() if each in owned}
            if owned:
                try:
                    await self._look(owned)
                except UsersUnavailableError as error:
                    self._tell_silence(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, owned: Sequence[int]) -> None:
        shown = await self._index.state(owned)
        self._tell_answer()
        for partition, write in zip(owned, shown, strict=True):
            claim = self._table.claim_of(partition)
            if claim is None or partition in self._building:
                continue
            is_whole = write is not None
            if is_whole and self._verified.get(partition) == claim:
                await self._sweep(partition)
            elif is_whole and write == self._last_write(partition) and partition not in self._shown:
                self._verified[partition] = claim
            else:
                self._verified.pop(partition, None)
                self._build_soon(partition, claim)

    def _last_write(self, partition: int) -> bytes:
        return self._table.get(partition, WRITE_KEY) or b""

    async def _sweep(self, partition: int) -> None:
        at_s, before_us, build = self._sweeps.get(partition, (float("inf"), 0, 0))
        if self._clock.monotonic_s() >= at_s:
            del self._sweeps[partition]
            await self._index.sweep(partition, before_us, build)

    # building

    def _build_soon(self, partition: int, claim: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._build(partition, claim))
        self._building[partition] = task
        task.add_done_callback(lambda done: self._on_built(partition, done))

    async def _build(self, partition: int, claim: bytes) -> None:
        began_s, before_us = time.monotonic(), int(self._clock.wall_s() * 1e6)
        token = os.urandom(8)
        rows = 0
        try:
            build = await self._index.begin(partition, token)
            shown = self._shown.get(partition) or self._last_write(partition)
            for entries in self._entries(partition, claim):
                rows += len(entries)
                await self._put_and_wait(partition, claim, entries)
            # What was stored meanwhile is in the same queue: by now, all up to the write that was shown last is in.
            shown = self._shown.get(partition, shown)
            await self._put_and_wait(partition, claim, [])
            if self._table.claim_of(partition) != claim or not await self._index.finish(partition, token, shown):
                return  # it has left, or Redis was emptied meanwhile
        except UsersUnavailableError as error:
            self._tell_silence(error)
            return
        self._verified[partition] = claim
        self._sweeps[partition] = (self._clock.monotonic_s() + SWEEP_AFTER_S, before_us, build)
        took_s = self.built_s[partition] = time.monotonic() - began_s
        log.info("the index of users is built", partition=partition, entries=rows, seconds=round(took_s, 3))

    async def _put_and_wait(self, partition: int, claim: bytes, entries: Sequence[Entry]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Lot(partition, claim, entries, None, done))
        await done

    def _entries(self, partition: int, claim: bytes) -> Iterator[list[Entry]]:
        """The entries of all rows, some at a time; each as it is stored then, so that nothing older follows something newer."""
        for kind in (LINKS, USERS):
            first = kind
            while self._table.claim_of(partition) == claim:
                rows = list(islice(self._table.rows_from(partition, first), ENTRIES_AT_ONCE))
                found = [row for row in rows if row[0].startswith(kind)]
                if found:
                    first = found[-1][0] + b"\0"
                    yield [self._entry(key, value) for key, value in found]
                if len(found) < ENTRIES_AT_ONCE:
                    break

    def _entry(self, key: bytes, value: bytes) -> Entry:
        if key.startswith(USERS):
            return user_entry(decode_row(User, value), self._partitions)
        application, by, name = link_of_key(key)
        return link_entry(application, by, name, decode_row(Link, value), self._partitions)

    def _on_built(self, partition: int, task: "asyncio.Task[Any]") -> None:
        del self._building[partition]
        self._on_ended(task)

    def _on_ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._app.add_future(self._app.crash(error))
