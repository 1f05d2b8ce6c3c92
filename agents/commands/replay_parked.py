"""Replaying parked batches: what is parked is read from the changelogs, the bodies from the parked topic."""

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.changelog import read_rows
from agents.commands.interrupt import Interrupt
from agents.commands.sender import RecordSender
from agents.topic_reader import TopicReader
from agents.topology import Names
from pipeline.clock import SystemClock
from pipeline.delivery.rate import TokenBucket
from pipeline.model.attempt import decode_parked
from pipeline.model.batch import decode_batch
from pipeline.replay.parked import BatchKey, ParkedBatch, PendingRows, is_wanted, read_pending, replay_record
from pipeline.replay.plan import Plan
from pipeline.sinks.registry import SINKS

CLOCKS_APART_S = 60.0
"""A parked record's time may be before that of its row by so much, where the broker stamps records with its own."""
SHOWN_IDS = 20
PAUSE_S = 0.05
"""What may be made up for at once: pauses are never as short as a high rate asks for."""


async def read_pending_rows(brokers: str, names: Names) -> PendingRows:
    """What is parked, and how the lanes stand."""
    return read_pending(
        {spec.kind: await read_rows(brokers, names.pending_changelog(spec.kind), wants=is_wanted) for spec in SINKS}
    )


def show(plan: Plan) -> None:
    """Print a plan for people."""
    if plan.batches:
        table = Table(box=None, pad_edge=False, show_footer=True)
        table.add_column("integration", footer="total", overflow="fold")
        table.add_column("parked because", overflow="fold")
        table.add_column("batches", justify="right", footer=f"{len(plan.batches):,}")
        table.add_column("events", justify="right", footer=f"{plan.events:,}")
        for group in plan.groups():
            table.add_row(group.integration, group.reason, f"{group.batches:,}", f"{group.events:,}")
        Console().print(table)
    else:
        click.echo("nothing that is parked fits")
    for each in plan.not_parked:
        click.echo(f"{each.batch}: {each.why}", err=True)
    for note in plan.notes:
        click.echo(note, err=True)


@dataclass(slots=True)
class Replayed:
    """What a replay came to. ``gone`` are batches whose record has left the parked topic."""

    batches: int = 0
    events: int = 0
    gone: list[ParkedBatch] = field(default_factory=list)
    stopped_with: int = 0
    """The exit status of a replay that was interrupted; 0 otherwise."""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "batches": self.batches,
            "events": self.events,
            "gone": [batch.id for batch in self.gone],
            "stopped": bool(self.stopped_with),
        }


async def replay(brokers: str, names: Names, plan: Plan, *, per_second: float) -> Replayed:
    """Ask the workers to take up the plan's batches, ``per_second`` of them a second, oldest records first.

    Each body is read, sent on and forgotten, so memory does not grow with their number.
    """
    with (
        Progress(
            TextColumn("replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ) as progress,
        Interrupt() as interrupt,
    ):
        task = progress.add_task("replay", total=len(plan.batches))
        async with TopicReader(brokers, names.parked) as reader, RecordSender(brokers) as sender:
            run = _Run(names, reader, sender, interrupt, TokenBucket(per_second, max(1.0, per_second * PAUSE_S)))
            return await run.replay(plan, lambda: progress.advance(task))


class _Run:
    """One pass over the parked topic."""

    def __init__(
        self, names: Names, reader: TopicReader, sender: RecordSender, interrupt: Interrupt, bucket: TokenBucket
    ) -> None:
        self._names = names
        self._reader = reader
        self._sender = sender
        self._interrupt = interrupt
        self._bucket = bucket
        self._clock = SystemClock()
        self._replayed = Replayed()

    async def replay(self, plan: Plan, on_sent: Callable[[], None]) -> Replayed:
        """Send what the plan says, as far as its records are found."""
        missing: defaultdict[int, dict[BatchKey, ParkedBatch]] = defaultdict(dict)
        for batch in plan.batches:
            missing[batch.partition][batch.key] = batch
        spans = await self._spans(missing)
        done: set[int] = set()
        async for partition, records in self._reader.read(spans, done=done):
            for record in records:
                if await self._send_if_meant(partition, record.value, missing[partition]):
                    on_sent()
                if self._interrupt.is_set:
                    await self._sender.flush()
                    self._replayed.stopped_with = self._interrupt.exit_status
                    return self._replayed
            if not missing[partition]:
                done.add(partition)
        await self._sender.flush()
        self._replayed.gone = sorted(
            (batch for left in missing.values() for batch in left.values()), key=lambda each: (each.lane, each.first)
        )
        return self._replayed

    async def _spans(self, missing: dict[int, dict[BatchKey, ParkedBatch]]) -> dict[int, tuple[int, int]]:
        """Where the records lie: none is older than its row, but for the clocks."""
        existing = [number for number in await self._reader.partitions() if number in missing]
        oldest = {
            number: min(batch.row.parked_at for batch in missing[number].values()) - CLOCKS_APART_S
            for number in existing
        }
        starts = await self._reader.offsets_at(oldest)
        ends = await self._reader.spans(existing)
        return {
            number: (ends[number][1] if (start := starts[number]) is None else start, ends[number][1])
            for number in existing
        }

    async def _send_if_meant(self, partition: int, value: bytes, missing: dict[BatchKey, ParkedBatch]) -> bool:
        if not missing:
            return False
        parked = decode_parked(value)
        batch = decode_batch(parked.batch)
        meant = missing.get((parked.kind, batch.lane, batch.ranges))
        if meant is None:
            return False
        while not self._interrupt.is_set and (pause_s := self._bucket.try_take(1.0, self._clock.monotonic_s())) > 0:
            await self._interrupt.pause(pause_s)
        if self._interrupt.is_set:
            return False
        record = replay_record(batch, self._clock.wall_s())
        await self._sender.send(self._names.batches(meant.kind), partition, batch.lane.encode(), record)
        del missing[meant.key]
        self._replayed.batches += 1
        self._replayed.events += meant.events
        return True


def tell(replayed: Replayed, plan: Plan) -> None:
    """Say what a replay came to."""
    for batch in replayed.gone[:SHOWN_IDS]:
        click.echo(f"{batch.id}: its record has left the parked topic", err=True)
    if len(replayed.gone) > SHOWN_IDS:
        click.echo(f"and {len(replayed.gone) - SHOWN_IDS:,} more", err=True)
    words = f"{replayed.batches:,} batches with {replayed.events:,} events are on their way again"
    if replayed.stopped_with:
        words = f"stopped: {replayed.batches:,} of {len(plan.batches):,} batches are on their way again; the same command goes on"
    if replayed.gone:
        words += f", {len(replayed.gone):,} are gone"
    click.echo(words)
