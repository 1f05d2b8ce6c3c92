"""Routed topic to batches: durable windows per lane, sealed by count, bytes or age."""

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Any

import structlog

from agents.engine import Chunk, ChunkApp
from agents.engine.packing import Record
from agents.integrations import Integrations
from agents.topology import Topology
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.errors import SourceRecreatedError
from pipeline.metrics import Metrics
from pipeline.model.batch import encode_batch, integration_of
from pipeline.model.frame import Frame, decode_frame
from pipeline.model.integration import BatchLimits
from pipeline.notices.notice import Cause
from pipeline.notices.notices import Notices
from pipeline.windows.stage import WindowStage

log = structlog.get_logger(__name__)

MOST_SEALS_A_CHUNK = 20_000
OF_REMOVED = BatchLimits(max_age_s=0.01)
"""Limits of windows whose integration is removed: there is nothing that they could wait for."""


class Windows:
    """The window stages of the partitions that this worker owns, and how what they decide is written."""

    def __init__(
        self,
        app: ChunkApp,
        topology: Topology,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        integrations: Integrations,
    ) -> None:
        self._app = app
        self._topology = topology
        self._clock = clock
        self._metrics = metrics
        self._integrations = integrations
        self._limits: dict[str, BatchLimits] = {}
        self._source_epoch = settings.source_epoch
        self._resident_bytes = settings.worker.window_memory_bytes
        self.stages: dict[int, WindowStage] = {}
        self.is_informed = False
        """Whether all is known of integrations that was when the partitions came: their windows may belong to any of them."""
        app.on_partitions_revoked.connect(self._forget)

    async def _forget(self, *_args: Any, **_options: Any) -> None:
        self.stages.clear()
        self.is_informed = False

    def _on_source_reset(self, *, topic: str, partition: int, old_epoch: int, epoch: int) -> None:
        log.warning(
            "source partition is read as a new one", topic=topic, partition=partition, old_epoch=old_epoch, epoch=epoch
        )
        self._metrics.source_reset()

    def _limits_of(self, lane: str) -> BatchLimits:
        limits = self._limits.get(lane)
        if limits is None:
            entry = self._integrations.snapshot.get(integration_of(lane))
            if entry is None:
                return OF_REMOVED
            limits = self._limits[lane] = entry.integration.seal_limits
        return limits

    def integrations_changed(self, changes: Container[str]) -> None:
        """Go by what is in force now of these integrations."""
        self._limits.clear()
        for stage in self.stages.values():
            stage.limits_changed(lambda lane: integration_of(lane) in changes, self._clock.wall_s())

    async def meet(self, frames: Sequence[Frame]) -> None:
        """Where ``frames`` hold lanes of an integration that is not known, find out about it before they are applied."""
        known, snapshot = self._limits, self._integrations.snapshot
        lanes = (piece.lane for frame in frames for piece in frame.slices)
        if not all(lane in known or integration_of(lane) in snapshot for lane in lanes):
            await self._integrations.caught_up()

    def stage(self, partition: int) -> WindowStage:
        """Give the partition's stage, restored from the table the first time."""
        stage = self.stages.get(partition)
        if stage is None:
            table = self._topology.windows
            stage = WindowStage(
                self._limits_of,
                lambda key: table.get(partition, key),
                source_epoch=self._source_epoch,
                on_source_reset=self._on_source_reset,
            )
            stage.restore(table.rows(partition), self._clock.wall_s())
            self.stages[partition] = stage
        return stage

    def process(self, chunk: Chunk, frames: Sequence[Frame]) -> None:
        """Apply a chunk, whose records hold ``frames``, or a tick, and write what follows from it."""
        stage, now_s = self.stage(chunk.partition), self._clock.wall_s()
        skipped = stage.skipped
        if chunk.is_tick:
            stage.tick(now_s)
        else:
            for record, frame in zip(chunk.records, frames, strict=True):
                stage.apply(record.offset, frame, now_s)
            stage.tick(now_s, most_seals=MOST_SEALS_A_CHUNK)  # windows that are not to wait at all
        if stage.skipped > skipped:
            self._metrics.duplicates_skipped("window", stage.skipped - skipped)
        self._write(chunk, stage)

    def _write(self, chunk: Chunk, stage: WindowStage) -> None:
        writes = stage.take()
        if not writes.batches and not writes.groups:
            return
        by_kind: defaultdict[str, list[list[Record]]] = defaultdict(list)
        for batch in writes.batches:
            self._metrics.sealed(batch.reason, events=batch.end - batch.first)
            kind = self._integrations.snapshot.kind_of(batch.integration_id) or "http"
            by_kind[kind].append([(batch.lane.encode(), encode_batch(batch))])
        names = self._topology.names
        sealed = [
            self._app.outbox.send(names.batches(kind), chunk.partition, records) for kind, records in by_kind.items()
        ]
        stored = self._topology.windows.write(chunk.partition, writes.groups, after=sealed)

        def on_stored(_done: Any) -> None:
            stage.stored(writes)
            if stage.resident_bytes > self._share_bytes():
                stage.evict(self._share_bytes() // 2)

        stored.add_done_callback(on_stored)
        chunk.follow(stored)

    def _share_bytes(self) -> int:
        return self._resident_bytes // max(1, len(self.stages))


def attach(
    app: ChunkApp,
    topology: Topology,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    *,
    integrations: Integrations,
    notices: Notices,
) -> Windows:
    """Declare the agent of the routed topic."""
    windows = Windows(app, topology, settings, clock, metrics, integrations=integrations)

    @app.agent(topology.routed, name="window")
    async def window(chunks: Any) -> None:
        """Gather the events of each lane, and seal batches of them."""
        async for chunk in chunks:
            frames = [decode_frame(record.value) for record in chunk.records]
            if not windows.is_informed:
                await integrations.caught_up()
                windows.is_informed = True
            elif frames:
                await windows.meet(frames)
            try:
                windows.process(chunk, frames)
            except SourceRecreatedError as error:  # the worker ends with it, and people should know without looking
                notices.tell(Cause.SOURCE_RECREATED, None, str(error))
                raise

    return windows
