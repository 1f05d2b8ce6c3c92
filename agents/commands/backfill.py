"""Backfilling: the source topic is read again for one integration, as frames of a lane of its own."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.changelog import read_rows
from agents.commands.interrupt import Interrupt
from agents.commands.sender import RecordSender
from agents.topic_reader import TopicReader
from agents.topology import Names
from pipeline.clock import SystemClock
from pipeline.config.schema import Settings
from pipeline.delivery.rate import TokenBucket
from pipeline.model.integration import Integration
from pipeline.model.placement import partition_of
from pipeline.replay.backfill import (
    BackfillRouter,
    Job,
    Scanned,
    Span,
    beginning_at,
    beginning_from,
    is_watermark,
    records_in,
    spans_left,
    watermarks,
)

MAX_CHUNK_RECORDS = 2000
CHUNKS_A_SECOND = 5


class Wish(NamedTuple):
    """What somebody asks for: from a time (UNIX seconds) or from offsets by partition, up to a time, ``None`` for now."""

    begin_at: float | None
    offsets: Mapping[int, int]
    end_at: float | None
    again: str


class Backfill(NamedTuple):
    """What a backfill is going to read; ``spans`` are offsets by source partition. ``notes`` are for people."""

    job: Job
    integration: Integration
    spans: dict[int, Span]
    is_going_on: bool
    notes: list[str]

    @property
    def records(self) -> int:
        """How many records lie there."""
        return records_in(self.spans)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "integration": self.integration.id,
            "lane": self.job.lane,
            "job": self.job.name,
            "records": self.records,
            "goes_on": self.is_going_on,
            "partitions": [
                {"partition": number, "first": first, "end": end} for number, (first, end) in sorted(self.spans.items())
            ],
            "notes": self.notes,
        }


async def plan(settings: Settings, brokers: str, integration: Integration, wish: Wish) -> Backfill:
    """Find out what there is to read. Raises ``SourceRecreatedError`` where the job belongs to another life of the topic."""
    names = Names(settings.app)
    offsets = dict(wish.offsets)
    beginning = beginning_from(offsets) if wish.begin_at is None else beginning_at(wish.begin_at)
    job = Job(settings.topic, integration.id, beginning, wish.again)
    await _check_routed(settings, brokers, names)
    async with TopicReader(brokers, settings.topic) as reader:
        partitions = await reader.partitions()
        _check_source(settings.topic, partitions, offsets)
        held = await reader.spans(partitions)
        ends = {number: end for number, (_, end) in held.items()}
        lasts = ends
        if wish.end_at is not None:
            at = await reader.offsets_at(dict.fromkeys(partitions, wish.end_at))
            lasts = {number: ends[number] if (end := at[number]) is None else end for number in partitions}
        if wish.begin_at is not None:
            at = await reader.offsets_at(dict.fromkeys(partitions, wish.begin_at))
            offsets = {number: ends[number] if (first := at[number]) is None else first for number in partitions}
        notes = [
            f"partition {number}: what came before offset {held[number][0]:,} has left the topic"
            for number, first in sorted(offsets.items())
            if first <= held[number][0] and held[number][0] > 0
        ]
        wanted = {number: (max(first, held[number][0]), lasts[number]) for number, first in offsets.items()}
    table = await read_rows(
        brokers, names.windows_changelog, wants=is_watermark, partitions=[partition_of(job.lane, settings.partitions)]
    )
    marks = watermarks((row for rows in table.values() for row in rows), job)
    if not integration.enabled:
        notes.append(f"{integration.id} is not enabled: its batches will wait until it is")
    left = spans_left(wanted, marks, ends, job, settings.source_epoch)
    _check_offsets(settings.topic, wish.offsets, held)
    return Backfill(job, integration, left, bool(marks), notes)


def _check_source(topic: str, partitions: list[int], offsets: Mapping[int, int]) -> None:
    if not partitions:
        raise click.ClickException(f"there is no topic {topic}")
    unknown = sorted(set(offsets) - set(partitions))
    if unknown:
        raise click.ClickException(f"topic {topic} has no partition {unknown[0]}, only 0 to {partitions[-1]}")


def _check_offsets(topic: str, offsets: Mapping[int, int], held: Mapping[int, Span]) -> None:
    for number, first in sorted(offsets.items()):
        begin, end = held[number]
        if first > end:
            raise click.ClickException(
                f"topic {topic}, partition {number} has no offset {first} yet: it begins at {begin} and ends before {end}"
            )


async def _check_routed(settings: Settings, brokers: str, names: Names) -> None:
    async with TopicReader(brokers, names.routed) as reader:
        partitions = len(await reader.partitions())
    if not partitions:
        raise click.ClickException(
            f"there is no topic {names.routed}: start a worker first, it creates what is missing"
        )
    if partitions != settings.partitions:
        raise click.ClickException(
            f"topic {names.routed} has {partitions} partitions and this configuration says {settings.partitions}: "
            "use the faust.yml that the workers run with"
        )


def show(found: Backfill, settings: Settings) -> None:
    """Print what is going to be read, for people."""
    goes_on = ", where this backfill stopped before" if found.is_going_on else ""
    for number, (first, end) in sorted(found.spans.items()):
        if first < end:
            click.echo(f"partition {number}: {end - first:,} records, from offset {first:,}{goes_on}")
    click.echo(f"{found.records:,} records of {settings.topic} are to be looked at for {found.integration.id}")
    for note in found.notes:
        click.echo(note, err=True)


class Filled(NamedTuple):
    """What a backfill, or the look at what it would send, came to."""

    scanned: Scanned
    stopped_with: int

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        scanned = self.scanned
        return {
            "events": scanned.events,
            "matched": scanned.matched,
            "poison": dict(sorted(scanned.poison.items())),
            "stopped": bool(self.stopped_with),
        }


async def run(settings: Settings, brokers: str, found: Backfill, *, per_second: float, sends: bool) -> Filled:
    """Read what was planned; with ``sends`` hand what matches to the workers, ``per_second`` events a second."""
    router = BackfillRouter(found.job, found.integration, settings.partitions, settings.source_epoch)
    with (
        Progress(
            TextColumn("backfilling" if sends else "counting"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[matched]:,} match"),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ) as progress,
        Interrupt() as interrupt,
    ):
        task = progress.add_task("backfill", total=found.records, matched=0)
        sender = RecordSender(brokers)
        pacer = _Pacer(interrupt, per_second if sends else None)
        async with TopicReader(brokers, settings.topic) as reader, sender:
            async for partition, records in reader.read(found.spans, max_records=pacer.chunk_records):
                frames = router.route(records, partition)
                progress.update(task, advance=len(records), matched=router.scanned.matched)
                if sends:
                    for frame in frames:
                        await sender.send(Names(settings.app).routed, router.partition, None, frame)
                    # One chunk at a time: where one was refused, none behind it may be seen, or it would never be sent.
                    await sender.flush()
                await pacer.sent(router.scanned.matched)
                if interrupt.is_set:
                    return Filled(router.scanned, interrupt.exit_status)
    return Filled(router.scanned, 0)


class _Pacer:
    """Keeps to a rate of events that match, ``None`` for no bound."""

    def __init__(self, interrupt: Interrupt, per_second: float | None) -> None:
        self._interrupt = interrupt
        self._sent = 0
        self._now_s: Callable[[], float] = SystemClock().monotonic_s
        self._bucket: TokenBucket | None = None
        self.chunk_records = MAX_CHUNK_RECORDS
        if per_second is not None:
            burst = max(1.0, per_second / CHUNKS_A_SECOND)
            self._bucket = TokenBucket(per_second, burst)
            self.chunk_records = int(min(MAX_CHUNK_RECORDS, burst))

    async def sent(self, in_all: int) -> None:
        """So many went out in all: wait until more may."""
        tokens, self._sent = in_all - self._sent, in_all
        if self._bucket is None or not tokens:
            return
        while (pause_s := self._bucket.try_take(float(tokens), self._now_s())) > 0:
            if self._interrupt.is_set:
                return
            await self._interrupt.pause(pause_s)


def tell(filled: Filled, found: Backfill, *, sends: bool) -> None:
    """Say what it came to."""
    scanned = filled.scanned
    poison = sum(scanned.poison.values())
    if poison:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in scanned.poison.most_common())
        click.echo(f"{poison:,} records cannot be used and are left out: {reasons}", err=True)
    integration = found.integration.id
    if filled.stopped_with:
        click.echo(
            f"stopped after {scanned.events:,} of {found.records:,} records"
            + (
                f", {scanned.matched:,} events are on their way to {integration}; the same command goes on"
                if sends
                else ""
            )
        )
    elif sends:
        click.echo(
            f"{scanned.matched:,} events of {scanned.events:,} are on their way to {integration}, marked as backfill"
        )
    else:
        click.echo(f"{scanned.matched:,} events of {scanned.events:,} match {integration}")
