"""The integrations that are in force: followed by every worker, changed by one.

Table ``integrations`` lies on one partition. Its owner leads: it alone decides on changes, one after the other, and writes
them under its claim. Every worker, the leader too, follows the changelog and puts to work what it reads there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.engine import CLAIM_KEY, ChunkApp, RowGroup, sift
from agents.kafka_clients import start_whole
from agents.shared import Shared
from agents.topology import Topology
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError, InvalidChangeError, UnavailableError
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change, decide, missing_kinds, recorded
from pipeline.integrations.kept import Kept
from pipeline.integrations.reading import read_integration
from pipeline.integrations.snapshot import Snapshot
from pipeline.integrations.stored import AuditEntry, Stored
from pipeline.model.integration import Integration
from pipeline.net.client import HttpClient
from pipeline.sinks.readiness import require_ready

log = structlog.get_logger(__name__)

PARTITION: Final = 0
"""The partition of table ``integrations`` that is used; whoever owns it leads."""

LEADER_WITHIN_S: Final = 10.0
WRITTEN_WITHIN_S: Final = 10.0
APPLIED_WITHIN_S: Final = 5.0
RETRY_PAUSE_S: Final = 0.2
METADATA_PAUSE_S: Final = 0.05
FETCH_WAIT_MS: Final = 500
SLICE_S: Final = 0.005


class Leaders(Protocol):
    """How a worker asks the one that leads; ``agents.view.peers.Peers`` is one."""

    @property
    def own_url(self) -> str: ...  # noqa: D102

    def owner_of(self, partition: int) -> str | None: ...  # noqa: D102

    async def call(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> bytes: ...  # noqa: D102

    def serve(self, path: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None: ...  # noqa: D102


PutToWork = Callable[[Mapping[str, Integration | None], Callable[[], None]], Awaitable[None]]
"""Puts changed integrations to work: by id, ``None`` for a removed one; what is called when they take effect, all at once."""

OnChange = Callable[[Snapshot, Snapshot], None]
"""Told of the snapshots before and after a change that has taken effect; quick, and raises nothing."""


class _Asked(msgspec.Struct, frozen=True):
    """What the leader is asked to do: to apply a change, or to record an act that changes nothing."""

    change: Change | None = None
    actor: tuple[str, str, str] = ("", "", "")
    entry: AuditEntry | None = None


class _Told(msgspec.Struct, frozen=True):
    """What the leader answers; ``is_leading`` is false where it was asked in vain, and then nothing was done."""

    is_leading: bool
    stored: Stored | None = None
    entry: AuditEntry | None = None
    revision: int = 0


_encode = msgspec.json.Encoder().encode
_decode_asked = msgspec.json.Decoder(_Asked).decode
_decode_told = msgspec.json.Decoder(_Told).decode


class Integrations:
    """The integrations in force on this worker, and how they are changed.

    ``snapshot`` is what every stage goes by now. ``open`` reads what is stored before any chunk is handed out.
    """

    def __init__(
        self, app: ChunkApp, topology: Topology, settings: Settings, *, brokers: str, clock: Clock, client: HttpClient
    ) -> None:
        self._app = app
        self._table = topology.integrations
        self._settings = settings
        self._brokers = brokers
        self._clock = clock
        self._client = client
        self._peers: Leaders | None = None
        self._put_to_work: PutToWork | None = None
        self._callbacks: list[OnChange] = []
        self.snapshot = Snapshot(0, {})
        # what was read of the changelog
        self._kept = Kept(settings.integrations)
        self._consumer: AIOKafkaConsumer | None = None
        self._tp = TopicPartition(topology.names.integrations_changelog, PARTITION)
        self._claim: bytes | None = None
        self._writer: bytes | None = None
        self._read_offset = self._in_force_offset = 0
        self._end_offset = Shared(self._find_end_offset)
        self._moved = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()
        # of leading
        self._leading = asyncio.Lock()
        self._is_giving_back = False
        self._kinds_told_under: bytes | None = None
        self._written: tuple[bytes | None, int] = (None, 0)
        """The claim and the revision of the last decision."""
        app.before_release(self._give_back)
        app.on_partitions_assigned.connect(self._on_assigned)

    # wiring

    def ask_by(self, peers: Leaders) -> None:
        """Reach the leader through ``peers``, and answer there when this worker leads; before the worker starts."""
        self._peers = peers
        peers.serve("integrations/lead", self._answer)

    def on_change(self, callback: OnChange) -> None:
        """Have ``callback`` called after each change that has taken effect here."""
        self._callbacks.append(callback)

    @property
    def in_file(self) -> int:
        """How many integrations ``faust.yml`` names."""
        return len(self._settings.integrations)

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
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    # following

    async def caught_up(self) -> None:
        """Wait until all that stands in the changelog now is put to work here.

        For whoever meets an integration that is not known: another worker may have heard of it earlier.
        """
        end = await self._end_offset.get()
        await self._until(lambda: self._in_force_offset >= end)

    def audit(self) -> list[AuditEntry]:
        """The audit log, the newest entry first."""
        return self._kept.audit()

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

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with self._moved:
            await self._moved.wait_for(is_so)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._tell_kinds()
            try:
                await self._read_more(consumer)
            except (KafkaError, TimeoutError) as error:
                log.warning("the changelog of the integrations cannot be read, trying again", error=repr(error))
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _read_more(self, consumer: AIOKafkaConsumer) -> None:
        """Take what comes next, at most a fetch."""
        fetched = await consumer.getmany(self._tp, timeout_ms=FETCH_WAIT_MS)
        for records in fetched.values():
            found = sift(records, self._claim, self._writer)
            self._claim, self._writer = found.claim, found.writer
            self._kept.take(row for row in found.rows if row[0] != CLAIM_KEY)
        began_s = time.monotonic()
        while not self._kept.is_read:
            self._kept.read_next()
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
            await self._until(lambda: self._read_offset > self._in_force_offset)
            await self._take_effect()

    async def _tell_move(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _take_effect(self) -> None:
        """Put to work what was read."""
        offset, before, after = self._read_offset, self.snapshot, self._kept.snapshot()
        changes = after.changes_from(before)

        def take_effect() -> None:
            self.snapshot = after

        if changes and self._put_to_work is not None:
            await self._put_to_work(changes, take_effect)
        else:
            take_effect()
        self._in_force_offset = offset
        await self._tell_move()
        if changes:
            if before.revision:
                log.info("integrations changed", revision=after.revision, changed=len(changes), integrations=len(after))
            for callback in self._callbacks:
                callback(before, after)

    def _on_followed(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Going on with integrations that are out of date would send events to where they do not belong.
            self._app.add_future(self._app.crash(error))

    # changing

    async def apply(self, change: Change, actor: Actor) -> Stored:
        """Have the leader apply ``change``, and wait until it has taken effect on this worker.

        Returns what is stored then; a deleted integration as it was, under the revision of its deletion. Raises what
        :func:`pipeline.integrations.changes.decide` raises, and ``UnavailableError`` where nobody leads just now, or where it
        is not known what became of the change: the message says which.
        """
        told = await self._ask(_Asked(change=change, actor=tuple(actor)))
        assert told.stored is not None
        await self._applied(told.revision)
        return told.stored

    async def record(self, entry: AuditEntry) -> AuditEntry:
        """Have the leader write an act that changes no integration into the audit log; returns it with its revision."""
        told = await self._ask(_Asked(entry=entry))
        assert told.entry is not None
        await self._applied(told.revision)
        return told.entry

    async def _applied(self, revision: int) -> None:
        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                await self._until(lambda: self.snapshot.revision >= revision)
        except TimeoutError:
            raise UnavailableError(
                f"the change is stored, as revision {revision}, but has not taken effect on this worker within "
                f"{APPLIED_WITHIN_S:g} s; do not repeat it"
            ) from None

    async def _ask(self, asked: _Asked) -> _Told:
        deadline_s = self._clock.monotonic_s() + LEADER_WITHIN_S
        while True:
            told = await self._ask_once(asked)
            if told.is_leading:
                return told
            if self._clock.monotonic_s() > deadline_s:
                raise UnavailableError(
                    "no worker keeps the integrations just now, so nothing was changed: partitions are being assigned, or a "
                    "worker is recovering; try again in a moment"
                )
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _ask_once(self, asked: _Asked) -> _Told:
        if self._own_claim() is not None:
            return await self._lead_to_the_end(asked)
        url = self._peers.owner_of(PARTITION) if self._peers is not None else None
        if self._peers is None or url is None or url == self._peers.own_url:
            return _Told(is_leading=False)
        answer = await self._peers.call(url, "integrations/lead", _encode(asked), LEADER_WITHIN_S + WRITTEN_WITHIN_S)
        return _decode_told(answer)

    # leading

    async def _answer(self, body: bytes) -> bytes:
        return _encode(await self._lead_to_the_end(_decode_asked(body)))

    def _own_claim(self) -> bytes | None:
        """The claim under which this worker leads; ``None`` where it does not."""
        app = self._app
        if self._is_giving_back or app.should_stop or app.rebalancing or not app.tables.actives_ready:
            return None
        return self._table.claim_of(PARTITION)

    async def _lead_to_the_end(self, asked: _Asked) -> _Told:
        """Decide, also where whoever asked goes away meanwhile."""
        task = asyncio.get_running_loop().create_task(self._lead(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _lead(self, asked: _Asked) -> _Told:
        """Decide, write, and wait until the decision is read back: the next one stands on it."""
        async with self._leading:
            if not await self._knows_all():
                return _Told(is_leading=False)
            if asked.entry is not None:
                rows, entry = recorded(asked.entry, self._kept)
                await self._write([rows], entry.revision)
                return _Told(is_leading=True, entry=entry, revision=entry.revision)
            assert asked.change is not None
            actor = Actor(*asked.actor)
            decided = decide(asked.change, self._kept, self._settings, now_s=self._clock.wall_s(), actor=actor)
            if decided.rows:
                if asked.change.action != "delete":
                    await self._require_ready(decided.stored)
                await self._write([decided.rows], decided.stored.revision)
            return _Told(is_leading=True, stored=decided.stored, revision=decided.stored.revision)

    async def _require_ready(self, stored: Stored) -> None:
        """Raise ``InvalidChangeError`` where the files that the integration names cannot be used on this worker."""
        try:
            await require_ready([read_integration(stored.settings, self._settings.outbound)], self._client)
        except ConfigError as error:
            key = "tls" if "tls" in stored.settings else ""
            raise InvalidChangeError([(key, problem) for problem in error.problems]) from error

    async def _knows_all(self) -> bool:
        """Whether this worker leads, and has read all that those before it have written."""
        claim = self._own_claim()
        if claim is None:
            return False

        def has_read() -> bool:
            of_claim, revision = self._written
            return self._claim == claim and (of_claim != claim or self._kept.revision >= revision)

        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                await self._until(has_read)
        except TimeoutError:
            return False
        return self._own_claim() == claim

    async def _write(self, groups: list[RowGroup], revision: int) -> None:
        """Write, and wait until ``revision`` is read back."""
        self._written = (self._own_claim(), revision)
        try:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await asyncio.shield(self._table.write(PARTITION, groups))
                await self._until(lambda: self._kept.revision >= revision)
        except TimeoutError:
            raise UnavailableError(
                f"Kafka did not take the change within {WRITTEN_WITHIN_S:g} s, and it is not known whether it will: look at the "
                "integration again before you repeat it"
            ) from None

    def _tell_kinds(self) -> None:
        """Once a claim: write down of what kind the integrations of faust.yml are, for when one is removed."""
        claim = self._own_claim()
        if claim is None or claim in (self._kinds_told_under, None) or claim != self._claim:
            return
        self._kinds_told_under = claim
        task = asyncio.get_running_loop().create_task(self._write_kinds())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_kinds(self) -> None:
        async with self._leading:
            groups = missing_kinds(self._kept) if await self._knows_all() else []
            if groups:
                await asyncio.shield(self._table.write(PARTITION, groups))

    async def _give_back(self) -> None:
        """Partitions leave: what is being decided is written before, and nothing more after."""
        self._is_giving_back = True
        async with self._leading:
            pass

    async def _on_assigned(self, *_args: Any, **_options: Any) -> None:
        self._is_giving_back = False
