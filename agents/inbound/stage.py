"""Inbound requests to inbound events: each event once, however often it was sent, and every request in the counts."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import structlog

from agents.engine import Chunk, ChunkApp
from agents.engine.packing import Record
from agents.inbound.tail import TailReader
from agents.integrations import Integrations
from agents.topology import InboundTopology, Names
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.inbound.request import InboundRequest, decode
from pipeline.inbound.rows import SLOTS_A_DAY, STRANGERS, CountsRow, SubjectRow, segment_subject, slot_of
from pipeline.inbound.stage import InboundStage, InboundWrites
from pipeline.inbound.tally import SAY_NOTHING_OF_THE_SECRET
from pipeline.metrics import Metrics
from pipeline.notices.notice import Cause
from pipeline.notices.notices import Notices

log = structlog.get_logger(__name__)

SWEEP_ROWS: Final = 5_000
"""Rows that are looked at at once, which takes some milliseconds."""
SWEEP_PASS_S: Final = 6 * 3600.0
"""How long looking at all rows takes: rows that are over stay for that long at most, if there are not too many of them."""
LONGEST_PAUSE_S: Final = 600.0


class SubjectCounts(NamedTuple):
    """What came for one subject: ``total`` since it is there, ``slots`` by the ten minutes (times 600 s) of the last day."""

    total: SubjectRow
    slots: dict[int, CountsRow]


class _Partition:
    """The stage of one partition, and when it is swept next (monotonic seconds)."""

    __slots__ = ("stage", "sweep_at_s")

    def __init__(self, stage: InboundStage) -> None:
        self.stage = stage
        self.sweep_at_s = 0.0


class Inbound:
    """The inbound stages of the partitions that this worker owns, and how what they decide is written."""

    def __init__(
        self,
        app: ChunkApp,
        topology: InboundTopology,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        integrations: Integrations,
        notices: Notices,
        reader: TailReader,
    ) -> None:
        self._app = app
        self._topology = topology
        self._topic = Names(settings.app).inbound
        self._clock = clock
        self._metrics = metrics
        self._integrations = integrations
        self._notices = notices
        self._reader = reader
        self._app_id = settings.app
        destination = settings.segment_destination
        self._segment_subjects = frozenset(map(segment_subject, destination.applications if destination else ()))
        self._partitions: dict[int, _Partition] = {}
        app.on_partitions_revoked.connect(self._forget)

    async def _forget(self, *_args: Any, **_options: Any) -> None:
        self._partitions.clear()

    # what the stage asks

    def _is_subject(self, subject: str) -> bool:
        return subject in self._integrations.snapshot.webhooks or subject in self._segment_subjects

    def _secret_mark(self, webhook_id: str) -> int:
        """A number that changes with the webhook's secret, and says no more of it than four bytes of a digest."""
        entry = self._integrations.snapshot.webhooks.get(webhook_id)
        if entry is None:
            return 0
        text = f"{self._app_id}\0{webhook_id}\0{entry.settings.secret.get_secret_value()}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

    # the flow

    async def stage(self, partition: int) -> InboundStage:
        """The partition's stage; the first time it is restored, also from what stands in the topic without rows."""
        held = self._partitions.get(partition)
        if held is None:
            await self._integrations.caught_up()  # or its webhooks may be ones that this worker has not heard of
            stage = self._new_stage(partition)
            tail = await self._reader.read(partition, stage.output_offset)
            stage.take_up(tail.events, tail.end_offset)
            if tail.events:
                log.info("inbound events were written before a crash", partition=partition, events=len(tail.events))
            held = self._partitions[partition] = _Partition(stage)
        for unread in held.stage.take_unread():
            found = await self._reader.read(partition, unread.start, until_offset=unread.stop)
            held.stage.remember(found.events)
            log.warning(
                "somebody else wrote inbound events", topic=self._topic, partition=partition, records=len(unread)
            )
        return held.stage

    def _new_stage(self, partition: int) -> InboundStage:
        table = self._topology.table
        return InboundStage(
            lambda key: table.get(partition, key),
            lambda first: table.rows_from(partition, first),
            is_subject=self._is_subject,
            secret_mark=self._secret_mark,
        )

    async def meet(self, requests: Sequence[InboundRequest]) -> None:
        """Where a webhook is not known here, find out about it before its requests are counted."""
        known = self._integrations.snapshot.webhooks
        if not all(
            request.source != "webhook" or request.webhook_id in known or request.outcome in SAY_NOTHING_OF_THE_SECRET
            for request in requests
        ):
            await self._integrations.caught_up()

    def process(self, chunk: Chunk, stage: InboundStage, requests: Sequence[InboundRequest]) -> None:
        """Apply a chunk, whose records hold ``requests``, or a tick, and write what follows from it."""
        for record, request in zip(chunk.records, requests, strict=True):
            stage.apply(record.offset, request)
        if chunk.is_tick:
            self._sweep(chunk.partition)
        writes = stage.take()
        self._tell(writes, chunk.partition)
        if not writes.groups:
            return
        sent = []
        if writes.events:
            records: list[list[Record]] = [[event] for event in writes.events]
            sent.append(
                self._app.outbox.send(
                    self._topic,
                    chunk.partition,
                    records,
                    lambda groups, last_offset: stage.acknowledged(last_offset, len(groups)),
                )
            )
        stored = self._topology.table.write(chunk.partition, writes.groups, after=sent)
        stored.add_done_callback(lambda _done: stage.stored(writes))
        chunk.follow(stored)

    def _sweep(self, partition: int) -> None:
        held = self._partitions.get(partition)
        now_s = time.monotonic()
        if held is None or now_s < held.sweep_at_s:
            return
        held.stage.sweep(self._clock.wall_s(), SWEEP_ROWS)
        rows, _ = self._topology.table.estimate(partition)
        held.sweep_at_s = now_s + min(LONGEST_PAUSE_S, SWEEP_PASS_S * SWEEP_ROWS / max(1, rows))

    def _tell(self, writes: InboundWrites, partition: int) -> None:
        figures = writes.figures
        self._metrics.inbound_events(+figures.events)
        if figures.skipped:
            self._metrics.duplicates_skipped("inbound", figures.skipped)
        if figures.restarts:
            log.warning("the topic of inbound requests was made again, its offsets start anew", partition=partition)
        for webhook_id in writes.mended:
            self._notices.clear(Cause.AUTH_REJECTED, None, webhook=webhook_id)
        for run in writes.rejected:
            entry = self._integrations.snapshot.webhooks.get(run.webhook_id)
            self._notices.tell(
                Cause.AUTH_REJECTED,
                None,
                f"the last {run.requests} requests to {entry.settings.name if entry else 'it'} had no secret, or a wrong one: copy its "
                "secret into the calling system, or rotate it; it goes on taking requests",
                webhook=run.webhook_id,
            )

    # what pages ask

    def counts(self, subjects: Sequence[str] | None = None, *, has_slots: bool = True) -> dict[str, SubjectCounts]:
        """What came on the partitions of this worker, by subject; of those in ``subjects``, or of all that there are now.

        A webhook has one partition, so one worker; what Segment sends (``segment:CODE``) and strangers (``?``, ``segment:?``)
        are on several, so that the counts of all workers are to be added. Without ``has_slots`` only totals are read.
        """
        if subjects is None:
            strangers = (STRANGERS, segment_subject(STRANGERS))
            subjects = [*self._integrations.snapshot.webhooks, *sorted(self._segment_subjects), *strangers]
        since = slot_of(self._clock.wall_s()) - SLOTS_A_DAY + 1
        found: dict[str, SubjectCounts] = {}
        for held in [*self._partitions.values()]:
            tally = held.stage.tally
            for subject in subjects:
                total = tally.totals(subject)
                if total is not None:
                    slots = tally.counts(subject, since) if has_slots else {}
                    found[subject] = _added(found.get(subject), SubjectCounts(total, slots))
        return found

    def keys(self) -> Iterator[tuple[tuple[()], float]]:
        """About how many rows the table has, for the gauge."""
        for partition in [*self._partitions]:
            yield (), float(self._topology.table.estimate(partition)[0])

    def has_restored(self, partition: int) -> bool:
        """Whether the partition's counts can be asked for."""
        return partition in self._partitions


def _added(one: SubjectCounts | None, other: SubjectCounts) -> SubjectCounts:
    if one is None:
        return other
    slots = dict(one.slots)
    for number, row in other.slots.items():
        slots[number] = row if number not in slots else slots[number].plus(row)
    return SubjectCounts(one.total.plus(other.total), slots)


def attach(
    app: ChunkApp,
    topology: InboundTopology,
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    *,
    integrations: Integrations,
    notices: Notices,
    brokers: str,
) -> Inbound:
    """Declare the agent of the topic of inbound requests."""
    reader = TailReader(brokers, Names(settings.app).inbound)
    inbound = Inbound(
        app, topology, settings, clock, metrics, integrations=integrations, notices=notices, reader=reader
    )

    @app.agent(topology.requests, name="inbound")
    async def accept(chunks: Any) -> None:
        """Take up each inbound event once."""
        async for chunk in chunks:
            requests = [decode(record.value) for record in chunk.records]
            stage = await inbound.stage(chunk.partition)
            if requests:
                await inbound.meet(requests)
            inbound.process(chunk, stage, requests)

    return inbound
