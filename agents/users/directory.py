"""The agent of ``<app>-user-updates``: what is known of users, one stage a partition."""

import asyncio
import os
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import takewhile
from typing import Any, Final, Protocol

import msgspec
import structlog

from agents.engine import Chunk, ChunkApp
from agents.users.keeper import IndexKeeper
from agents.users.topology import UserFlow
from pipeline.clock import Clock
from pipeline.errors import UnavailableError
from pipeline.integrations.audit import Actor, entry_by
from pipeline.integrations.stored import AuditEntry
from pipeline.metrics import Metrics
from pipeline.users.rows import GRAVES, PROOFS, WRITE_KEY, Grave, Proof, decode_row
from pipeline.users.stage import GRAVE_LASTS_US, UserStage
from pipeline.users.updates import decode_update

log = structlog.get_logger(__name__)

GROUP_BYTES: Final = 2 << 20
"""About how much a row group may hold, which is one record batch."""
UPDATES_AT_ONCE: Final = 100
"""How many updates are applied before the event loop has its turn: some milliseconds."""
PROOF_LASTS_US: Final = 600 * 1_000_000
"""How long a proof that is in the audit log stays in the table, so that a deletion that is read again is known."""
GRAVES_EVERY_S: Final = 3600.0
DELETED: Final = "user deleted"
"""How a deletion is called in the audit log."""


class AuditLog(Protocol):
    """Where proofs go; ``agents.integrations.Integrations`` is one."""

    async def record(self, entry: AuditEntry) -> AuditEntry:
        """Write an entry down; raises ``UnavailableError`` where that cannot be done just now."""
        ...


class Directory:
    """The stages of the partitions that this worker owns, and how what they decide is written."""

    def __init__(
        self,
        app: ChunkApp,
        flow: UserFlow,
        clock: Clock,
        metrics: Metrics,
        *,
        partitions: int,
        tags: Collection[str],
        keeper: IndexKeeper,
        audit: AuditLog,
    ) -> None:
        self._app = app
        self._flow = flow
        self._partitions = partitions
        self._tags = frozenset(tags)
        self._clock = clock
        self._metrics = metrics
        self._keeper = keeper
        self._audit = audit
        self._topic = flow.updates.get_topic_name()
        self._stages: dict[int, UserStage] = {}
        self._proofs: dict[int, dict[str, Proof]] = {}
        self._telling: dict[str, asyncio.Task[bool]] = {}
        self._graves_at_s: dict[int, float] = {}
        app.on_partitions_revoked.connect(self._forget)

    async def _forget(self, *_args: Any, **_options: Any) -> None:
        self._stages.clear()
        self._proofs.clear()

    def stage(self, partition: int) -> UserStage:
        """The partition's stage."""
        stage = self._stages.get(partition)
        if stage is None:
            table = self._flow.table
            stage = self._stages[partition] = UserStage(
                lambda key: table.get(partition, key),
                self._partitions,
                self._tags,
                has_graves=next(self._rows(partition, GRAVES), None) is not None,
            )
            proofs = (decode_row(Proof, value) for _, value in self._rows(partition, PROOFS))
            self._proofs[partition] = {proof.request_id: proof for proof in proofs}
        return stage

    def _rows(self, partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return takewhile(lambda row: row[0].startswith(prefix), self._flow.table.rows_from(partition, prefix))

    async def process(self, chunk: Chunk) -> None:
        """Apply a chunk, or a tick, and write what follows from it."""
        stage, now_us = self.stage(chunk.partition), self._now_us()
        if chunk.is_tick:
            self._look_after_proofs(chunk.partition, stage, now_us)
            self._look_after_graves(chunk.partition, stage, now_us)
        for number, record in enumerate(chunk.records):
            if number % UPDATES_AT_ONCE == UPDATES_AT_ONCE - 1:
                await asyncio.sleep(0)  # requests on this worker wait for their turn
            stage.apply(decode_update(record.value), now_us)
            if stage.changed_bytes > GROUP_BYTES:
                self._write(chunk, stage)
        self._write(chunk, stage)

    def _write(self, chunk: Chunk, stage: UserStage) -> None:
        writes = stage.take()
        self._metrics.users_updated(writes.counts)
        sent = [
            self._app.outbox.send(self._topic, partition, [[(None, update)] for update in updates])
            for partition, updates in writes.sent.items()
        ]
        for each in sent:
            chunk.follow(each)
        if not writes.rows:
            return
        partition, write = chunk.partition, os.urandom(8)
        stored = self._flow.table.write(partition, [[(WRITE_KEY, write), *writes.rows]], after=sent)
        proofs = self._proofs[partition]
        for key, value in writes.rows:
            if key.startswith(PROOFS):
                request_id = key.removeprefix(PROOFS).decode()
                if value is None:
                    proofs.pop(request_id, None)
                else:
                    proofs[request_id] = decode_row(Proof, value)

        def on_stored(_done: Any) -> None:
            stage.stored(writes)
            self._keeper.put(partition, writes.entries, write)

        stored.add_done_callback(on_stored)
        chunk.follow(stored)

    def _now_us(self) -> int:
        return int(self._clock.wall_s() * 1e6)

    # deletions

    def _look_after_proofs(self, partition: int, stage: UserStage, now_us: int) -> None:
        for request_id, proof in list(self._proofs[partition].items()):
            if proof.told_at_us:
                if now_us - proof.told_at_us > PROOF_LASTS_US:
                    stage.forget(PROOFS + request_id.encode())
            elif not proof.waiting and self._is_told(proof):
                stage.keep_proof(msgspec.structs.replace(proof, told_at_us=now_us))

    def _is_told(self, proof: Proof) -> bool:
        """Whether the audit log has it; begins to write it where not."""
        telling = self._telling.get(proof.request_id)
        if telling is None:
            task = asyncio.get_running_loop().create_task(self._tell(proof))
            self._telling[proof.request_id] = task
            return False
        if not telling.done():
            return False
        del self._telling[proof.request_id]
        return telling.result()

    async def _tell(self, proof: Proof) -> bool:
        details = {
            "request": proof.request_id,
            "application": proof.application,
            "known": proof.was_known,
            "identifiers": proof.identifiers,
            "devices": proof.devices,
            "attributes": proof.tags,
            "asked at": proof.asked_at_us / 1e6,
            "removed at": proof.removed_at_us / 1e6,
        }
        target = proof.identifiers[0] if proof.identifiers else proof.request_id
        entry = entry_by(Actor(*proof.actor), DELETED, target, details, at=self._clock.wall_s())
        try:
            await self._audit.record(entry)
        except UnavailableError as error:
            log.warning("the proof of a deletion cannot be written, trying again", error=str(error))
            return False
        return True

    def _look_after_graves(self, partition: int, stage: UserStage, now_us: int) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._graves_at_s.get(partition, 0.0):
            return
        self._graves_at_s[partition] = now_s + GRAVES_EVERY_S
        for key, value in self._rows(partition, GRAVES):
            if now_us - decode_row(Grave, value).at_us > GRAVE_LASTS_US:
                stage.forget(key)

    def counts(self) -> Counter[str]:
        """How many deletions wait for their proof."""
        return Counter(deletions=sum(not proof.told_at_us for each in self._proofs.values() for proof in each.values()))


def attach(directory: Directory, app: ChunkApp, flow: UserFlow) -> None:
    """Declare the agent."""

    @app.agent(flow.updates, name="users")
    async def users(chunks: Any) -> None:
        """Learn who users are."""
        async for chunk in chunks:
            await directory.process(chunk)
