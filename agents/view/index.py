"""Keeps a worker's index of attempts, batches, parked batches, dead letters, notices and inbound requests filled from their topics.

A consumer without a group reads the partitions that the worker owns. How far it came is stored with what it read, so nothing
is missed and nothing is there twice. A partition that comes is caught up from its topic, slowly, beside the flow; the rows of
one that leaves are removed.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import duckdb
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.kafka_clients import stop_whole
from agents.topology import Names
from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.errors import UnavailableError
from pipeline.sinks.registry import SINKS
from pipeline.view.apply import Selected
from pipeline.view.columns import Personal, Row
from pipeline.view.index.lines import Feed, Staged
from pipeline.view.index.search import search, stream
from pipeline.view.index.settings import Keep
from pipeline.view.index.store import Index
from pipeline.view.index.tables import INBOUND_REQUESTS, Table
from pipeline.view.query import Query
from pipeline.view.source import Answer

log = structlog.get_logger(__name__)

T = TypeVar("T")

WRITE_EVERY_S: Final = 2.0
BUSY_ROWS: Final = 300
BUSY_TIMES: Final = 3.0
"""With so many rows a write waits so many times as long: most of its cost is the same whatever it holds."""
WRITE_AT_BYTES: Final = 4 << 20
WRITE_AT_ROWS: Final = 20_000
RECORDS_AT_ONCE: Final = 100
FETCH_BYTES: Final = 512 << 10
FETCH_WAIT_MS: Final = 500
"""How long the broker gathers records for an answer: many small answers would cost more than what is in them."""
LOOK_EVERY_S: Final = 0.5
TRIM_EVERY_S: Final = 60.0
AGAIN_AFTER_S: Final = 5.0
REST_SHARE: Final = 2.0
"""While it catches up, it rests this many times as long as it worked."""
READERS: Final = 2
LATE_S: Final = 30.0
"""A page that is this much behind says so."""


class Standing(NamedTuple):
    """How far the index is: what is not yet in it, and since when (UNIX seconds) it knows all."""

    partitions: frozenset[int]
    is_open: bool
    is_catching_up: bool
    records_behind: int
    as_of: float


class IndexService:
    """The index of one worker. ``open`` it on the worker's event loop, ``close`` it before that ends.

    ``owned`` gives the routed partitions that are this worker's just now. ``has_inbound`` says that there is a topic of inbound
    requests.
    """

    def __init__(
        self,
        brokers: str,
        names: Names,
        owned: Callable[[], frozenset[int]],
        folder: Callable[[], Path],
        *,
        keep: Keep,
        clock: Clock,
        write_every_s: float = WRITE_EVERY_S,
        has_inbound: bool = False,
    ) -> None:
        self._brokers = brokers
        self._owned = owned
        self._keep = keep
        self._clock = clock
        self._write_every_s = write_every_s
        self.index = Index(folder)
        self.feeds = [
            *(Feed(names.batches(spec.kind), "batches", spec.kind) for spec in SINKS),
            Feed(names.attempts, "attempts"),
            Feed(names.parked, "parked"),
            Feed(names.dead_letters, "dead_letters"),
            Feed(names.notices, "notices"),
        ]
        if has_inbound:
            self.feeds.append(Feed(names.inbound_requests, "inbound_requests"))
        self._by_topic = {feed.topic: feed for feed in self.feeds}
        self._task: asyncio.Task[None] | None = None
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="index-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="index-reader")
        self._taken: frozenset[int] = frozenset()
        self._positions: dict[TopicPartition, int] = {}
        self._as_of: dict[TopicPartition, float] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._current_at = 0.0
        self._trimmed_at_s = -TRIM_EVERY_S

    async def open(self) -> None:
        """Begin to read; the topics exist."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell_failure)

    async def close(self) -> None:
        """Stop reading and close the file."""
        if self._task is not None:
            await cancelled([self._task])
            self._task = None
        self._taken = frozenset()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writing, self.index.close)
        self._writing.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    def partitions(self) -> frozenset[int]:
        """The partitions whose rows are here: owned, and not only since a moment ago."""
        return self._taken & self._owned() if self.index.is_open else frozenset()

    def standing(self) -> Standing:
        """How far the index is."""
        behind = sum(max(0, end - self._positions.get(tp, end)) for tp, end in self._ends.items())
        return Standing(self.partitions(), self.index.is_open, self.is_catching_up, behind, self._current_at)

    @property
    def is_catching_up(self) -> bool:
        """Whether what was there when the newest partition came is not all in yet."""
        return any(self._positions.get(tp, 0) < end for tp, end in self._ends.items())

    def holds(self, table: Table) -> bool:
        """Whether rows of ``table`` are read."""
        return any(feed.table == table.name for feed in self.feeds)

    # asking

    async def read(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run ``work`` on a reader's thread with a connection of its own; whoever does not wait any more stops it.

        Raises ``UnavailableError`` where the index is not open, or has not the memory for it.
        """
        if not self.index.is_open:
            raise UnavailableError("this worker's index of attempts is being opened; try again in a moment")
        cursor = self.index.cursor()
        running = asyncio.get_running_loop().run_in_executor(self._reading, work, cursor)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            cursor.interrupt()
            raise
        except duckdb.Error as error:
            raise UnavailableError(
                f"the index of attempts cannot answer: {str(error).splitlines()[0][:200]}"
            ) from error
        finally:
            running.add_done_callback(lambda done: _close(cursor, done))

    async def rows(self, table: Table, query: Query, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        """All rows in order; they are read as they are taken."""
        cursor = self.index.cursor()
        loop = asyncio.get_running_loop()
        found: Iterator[list[Row]] = stream(cursor, table, query, masks)
        try:
            while rows := await loop.run_in_executor(self._reading, next, found, None):
                for row in rows:
                    yield row
        except duckdb.Error as error:
            raise UnavailableError(
                f"the index of attempts cannot answer: {str(error).splitlines()[0][:200]}"
            ) from error
        finally:
            cursor.interrupt()
            await loop.run_in_executor(self._reading, cursor.close)

    # filling

    async def _run(self) -> None:
        while True:
            try:
                await self._feed()
            except (KafkaError, OSError, duckdb.Error) as error:
                log.warning("the index of attempts is not filled just now", error=repr(error))
                self._taken = frozenset()
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _feed(self) -> None:
        if not self.index.is_open:
            await self._write(self.index.open)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_min_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await consumer.start()
            while True:
                owned = self._owned()
                if owned != self._taken:
                    await self._take_over(consumer, owned)
                if not owned:
                    await asyncio.sleep(LOOK_EVERY_S)
                    continue
                await self._step(consumer)
        finally:
            await stop_whole(consumer)

    async def _write(self, work: Callable[..., T], *arguments: Any) -> T:
        # Shielded: a write that is under way ends, and the file is closed after it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writing, work, *arguments))

    async def _take_over(self, consumer: AIOKafkaConsumer, owned: frozenset[int]) -> None:
        """Begin with what is ours from now on where the index ends."""
        self._taken = frozenset()
        known = await self._write(self.index.positions)
        left = {partition for _, partition in known} - owned
        if left:
            await self._write(self.index.forget, left)
        tps = [TopicPartition(feed.topic, partition) for feed in self.feeds for partition in sorted(owned)]
        self._positions, self._as_of, self._ends = {}, {}, {}
        if tps:
            consumer.assign(tps)
            firsts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
            anew = {
                partition
                for (topic, partition), at in known.items()
                if _is_beyond(at.next_offset, ends, topic, partition)
            }
            if anew:
                log.warning("topics were made again, their index begins anew", partitions=sorted(anew))
                await self._write(self.index.forget, anew)
            fresh = [tp for tp in tps if (tp.topic, tp.partition) not in known or tp.partition in anew]
            starts = await self._starts(consumer, fresh, firsts, ends, len(owned))
            for tp in tps:
                self._ends[tp] = ends[tp]
                start = starts.get(tp)
                if start is None:
                    at = known[tp.topic, tp.partition]
                    start, self._as_of[tp] = at.next_offset, at.as_of
                self._positions[tp] = max(start, firsts[tp])
                consumer.seek(tp, self._positions[tp])
        self._taken = owned
        log.info("index of attempts", partitions=sorted(owned), records_behind=self.standing().records_behind)

    async def _starts(
        self,
        consumer: AIOKafkaConsumer,
        tps: list[TopicPartition],
        firsts: dict[TopicPartition, int],
        ends: dict[TopicPartition, int],
        owned: int,
    ) -> dict[TopicPartition, int]:
        """Where to begin with partitions of which nothing is known: at what is not too old and not too much."""
        if not tps:
            return {}
        oldest_ms = int((self._clock.wall_s() - self._keep.max_age_s) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(tps, max(0, oldest_ms)))
        most = self._keep.max_attempts // owned
        return {
            tp: max(firsts[tp], ends[tp] - most, ends[tp] if (at := found.get(tp)) is None else at.offset) for tp in tps
        }

    async def _step(self, consumer: AIOKafkaConsumer) -> None:
        """Read for a while, or until there is much, and write it."""
        is_behind = self.is_catching_up
        staged = await self._read_some(consumer, is_behind=is_behind)
        now = self._clock.wall_s()
        if not staged.is_empty:
            begun_s = time.perf_counter()
            await self._write(self.index.write, staged)
            if is_behind:
                await asyncio.sleep((time.perf_counter() - begun_s) * REST_SHARE)
        if staged.unreadable:
            log.debug("records that are not indexed", records=staged.unreadable)
        if not self.is_catching_up:
            self._current_at = now
        if time.monotonic() - self._trimmed_at_s > TRIM_EVERY_S:
            self._trimmed_at_s = time.monotonic()
            await self._write(self._trim)

    async def _read_some(self, consumer: AIOKafkaConsumer, *, is_behind: bool) -> Staged:
        staged = Staged()
        begun_at_s = time.monotonic()
        while True:
            every_s = self._write_every_s * (BUSY_TIMES if staged.rows > BUSY_ROWS else 1.0)
            left_s = begun_at_s + every_s - time.monotonic()
            if left_s <= 0:
                break
            timeout_ms = int(min(left_s, LOOK_EVERY_S) * 1000)
            found = await consumer.getmany(*self._next_ones(), timeout_ms=timeout_ms, max_records=RECORDS_AT_ONCE)
            begun_s = time.perf_counter()
            for tp, records in found.items():
                self._by_topic[tp.topic].stage(tp.partition, records, staged)
                self._positions[tp] = records[-1].offset + 1
                self._as_of[tp] = records[-1].timestamp / 1000
            is_much = staged.size_bytes > WRITE_AT_BYTES or staged.rows > WRITE_AT_ROWS
            if is_much or self._owned() != self._taken or (is_behind and not self.is_catching_up):
                break
            await asyncio.sleep((time.perf_counter() - begun_s) * REST_SHARE if is_behind else 0)
        return staged

    def _trim(self) -> None:
        self.index.trim(now=self._clock.wall_s(), max_age_s=self._keep.max_age_s, most_rows=self._keep.max_attempts)

    def _next_ones(self) -> list[TopicPartition]:
        """What to read next: while batches of a partition are to be caught up, tries do not run ahead of them."""
        behind: dict[int, float] = {}
        for tp, end in self._ends.items():
            if self._by_topic[tp.topic].kind is not None and self._positions[tp] < end:
                behind[tp.partition] = min(behind.get(tp.partition, float("inf")), self._as_of.get(tp, 0.0))
        return [
            tp
            for tp in self._ends
            if self._by_topic[tp.topic].kind is not None
            or self._as_of.get(tp, 0.0) <= behind.get(tp.partition, float("inf"))
        ]


class IndexedSource:
    """The rows of a table of the index, as every worker offers them for its partitions."""

    def __init__(self, service: IndexService, table: Table) -> None:
        self._service = service
        self._table = table
        self.name = table.name
        self.columns = table.columns
        self.key = table.key
        self.sort = table.time
        self.is_descending = True

    def partitions(self) -> frozenset[int]:
        """Those that the index has taken over."""
        return self._service.partitions()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find rows; a worker that still catches up says that there are more."""
        is_truncated = self._service.is_catching_up
        masks = _masks_of(self._table, masks)
        if query.limit is None:
            return Answer(self._all(query, masks), is_truncated=is_truncated)
        found = await self._service.read(lambda cursor: search(cursor, self._table, query, masks))
        return _answer(found, is_truncated=is_truncated)

    async def _all(self, query: Query, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        async with aclosing(self._service.rows(self._table, query, masks)) as rows:
            async for row in rows:
                yield row


def _answer(found: Selected, *, is_truncated: bool) -> Answer:
    return Answer(found.rows, found.has_more, found.matching, found.facets, is_truncated)


def _masks_of(table: Table, masks: frozenset[Personal]) -> frozenset[Personal]:
    """The body of an inbound request may hold anything, in fields of any name: who may not see all of it sees none."""
    return masks | {Personal.PAYLOAD} if masks and table is INBOUND_REQUESTS else masks


def _is_beyond(next_offset: int, ends: dict[TopicPartition, int], topic: str, partition: int) -> bool:
    end = ends.get(TopicPartition(topic, partition))
    return end is not None and next_offset > end


def _close(cursor: duckdb.DuckDBPyConnection, done: "asyncio.Future[Any]") -> None:
    cursor.close()
    if not done.cancelled():
        done.exception()  # whoever asked has it already, or is gone


def _tell_failure(task: "asyncio.Task[None]") -> None:
    # The flow goes on without the index; but somebody has to know.
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("attempts are not indexed any more, restart the worker", error=repr(error), exc_info=error)
