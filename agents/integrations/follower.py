"""Follows the changelog of the integrations on every worker, and puts to work what it reads there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.engine import CLAIM_KEY, ChunkApp, sift
from agents.kafka_clients import start_whole, stop_whole
from agents.shared import Shared
from pipeline.cancelling import cancelled
from pipeline.errors import ConfigError, UnavailableError
from pipeline.integrations.changes import changed_kinds
from pipeline.integrations.kept import Kept
from pipeline.integrations.snapshot import Snapshot
from pipeline.model.integration import Integration

log = structlog.get_logger(__name__)

RETRY_PAUSE_S: Final = 0.2
METADATA_PAUSE_S: Final = 0.05
FETCH_WAIT_MS: Final = 500
SLICE_S: Final = 0.005

PutToWork = Callable[[Mapping[str, Integration | None], Callable[[], None]], Awaitable[None]]
"""Puts changed integrations to work: by id, ``None`` for a removed one; what is called when they take effect, all at once."""

OnChange = Callable[[Snapshot, Snapshot], None]
"""Told of the snapshots before and after a change that has taken effect; quick, and raises nothing."""


class Follower:
    """What is in force on this worker: ``snapshot``; and what has been read of the changelog: ``kept``, and whose claim it is.

    Each is changed by this class alone.
    """

    def __init__(self, app: ChunkApp, tp: TopicPartition, kept: Kept, *, brokers: str) -> None:
        self.snapshot = Snapshot(0, {})
        self.kept = kept
        self.claim: bytes | None = None
        """The claim under which was written what was read last."""
        self._app = app
        self._tp = tp
        self._brokers = brokers
        self._put_to_work: PutToWork | None = None
        self._callbacks: list[OnChange] = []
        self._before_reading: list[Callable[[], None]] = []
        self._consumer: AIOKafkaConsumer | None = None
        self._writer: bytes | None = None
        self._read_offset = self._in_force_offset = 0
        self._end_offset = Shared(self._find_end_offset)
        self._moved = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()

    def on_change(self, callback: OnChange) -> None:
        """Have ``callback`` called after each change that has taken effect here."""
        self._callbacks.append(callback)

    def before_reading(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called before each look at the changelog, some times a second; quick, and raises nothing."""
        self._before_reading.append(callback)

    async def open(self, put_to_work: PutToWork) -> None:
        """Read the changelog to its end, put to work what is in force, and follow from then on; the topic exists."""
        self._put_to_work = put_to_work
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        await start_whole(consumer)
        self._consumer = consumer
        while not consumer.partitions_for_topic(self._tp.topic):  # the broker may have heard of it just before
            await consumer._client.force_metadata_update()  # noqa: SLF001 aiokafka has no public way to ask for one topic
            await asyncio.sleep(METADATA_PAUSE_S)
        consumer.assign([self._tp])
        await consumer.seek_to_beginning(self._tp)
        end = await self._find_end_offset()
        while self._read_offset < end:
            await self._read_more(consumer)
        await self._take_effect()
        for running in (self._follow(consumer), self._put_what_is_read_to_work()):
            task = asyncio.get_running_loop().create_task(running)
            task.add_done_callback(self._on_followed)
            self._tasks.add(task)

    async def close(self) -> None:
        """Follow no longer."""
        await cancelled(self._tasks)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_whole(consumer)

    async def caught_up(self) -> None:
        """Wait until all that stands in the changelog now is put to work here."""
        end = await self._end_offset.get()
        await self.until(lambda: self._in_force_offset >= end)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until what was read, or is in force, is as ``is_so`` says."""
        async with self._moved:
            await self._moved.wait_for(is_so)

    async def _find_end_offset(self) -> int:
        while True:
            consumer = self._consumer
            if consumer is None:
                raise UnavailableError("this worker does not follow the integrations: it is starting or stopping")
            try:
                offsets = await consumer.end_offsets([self._tp])
                return int(offsets[self._tp])
            except (KafkaError, TimeoutError) as error:
                log.warning("the end of a changelog cannot be found out, trying again", error=repr(error))
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for callback in self._before_reading:
                callback()
            try:
                await self._read_more(consumer)
            except (KafkaError, TimeoutError) as error:
                log.warning("the changelog of the integrations cannot be read, trying again", error=repr(error))
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _read_more(self, consumer: AIOKafkaConsumer) -> None:
        """Take what comes next, at most a fetch."""
        fetched = await consumer.getmany(self._tp, timeout_ms=FETCH_WAIT_MS)
        for records in fetched.values():
            found = sift(records, self.claim, self._writer)
            self.claim, self._writer = found.claim, found.writer
            self.kept.take(row for row in found.rows if row[0] != CLAIM_KEY)
        began_s = time.monotonic()
        while not self.kept.is_read:
            self.kept.read_next()
            if time.monotonic() - began_s > SLICE_S:
                await asyncio.sleep(0)
                began_s = time.monotonic()
        offset = await consumer.position(self._tp)
        if offset != self._read_offset:
            self._read_offset = offset
            await self._tell_move()

    async def _put_what_is_read_to_work(self) -> None:
        """Changes that come while others are put to work take effect together."""
        while True:
            await self.until(lambda: self._read_offset > self._in_force_offset)
            await self._take_effect()

    async def _tell_move(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _take_effect(self) -> None:
        """Put to work what was read; raises ``ConfigError`` where faust.yml makes an integration another kind than it was."""
        if problems := changed_kinds(self.kept):
            raise ConfigError(problems)
        offset, before, after = self._read_offset, self.snapshot, self.kept.snapshot()
        changes, webhooks = after.changes_from(before), after.webhook_changes_from(before)

        def take_effect() -> None:
            self.snapshot = after

        if changes and self._put_to_work is not None:
            await self._put_to_work(changes, take_effect)
        else:
            take_effect()
        self._in_force_offset = offset
        await self._tell_move()
        if not changes and not webhooks:
            return
        if before.revision and changes:
            log.info("integrations changed", revision=after.revision, changed=len(changes), integrations=len(after))
        if before.revision and webhooks:
            log.info("webhooks changed", revision=after.revision, changed=len(webhooks), webhooks=len(after.webhooks))
        for callback in self._callbacks:
            callback(before, after)

    def _on_followed(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Going on with integrations that are out of date would send events to where they do not belong.
            self._app.add_future(self._app.crash(error))
