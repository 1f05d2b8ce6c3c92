"""``distributary send``: publish a file of events."""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from agents.commands.ledger import brokers_of
from agents.commands.publish import Publisher
from pipeline.config.load import load
from pipeline.errors import PoisonError
from pipeline.ingest.decode import EventDecoder

MAX_NAMED_LINES = 20


@click.command("send", short_help="Publish a file of events.")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False, path_type=Path))
@click.option("--unchecked", is_flag=True, help="Publish bad lines too; workers put them into the dead-letter topic.")
@click.option("--topic", help="Publish to this topic instead of the configured one.")
def command(file: Path, unchecked: bool, topic: str | None) -> None:
    """Publish FILE, one JSON event a line (- for standard input), into the source topic.

    Each line that is not a usable event is named with the reason and left out; the exit status is then 1. Events of one
    user keep their order.
    """
    settings = load()
    brokers = brokers_of(settings)
    bad = _BadLines(file.name if str(file) != "-" else "-")
    with (
        _opened(file) as lines,
        Progress(
            TextColumn("sending"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[events]:,} events"),
            disable=not sys.stderr.isatty(),
        ) as progress,
    ):
        size = file.stat().st_size if str(file) != "-" else None
        task = progress.add_task("send", total=size, events=0)

        def events() -> Iterator[tuple[bytes | None, bytes]]:
            for sent, (line_bytes, event) in enumerate(_checked(lines, bad, unchecked=unchecked), 1):
                yield event
                progress.update(task, advance=line_bytes, events=sent) if not sent % 500 else progress.advance(
                    task, line_bytes
                )

        sent = asyncio.run(publish(brokers, topic or settings.topic, settings.partitions, events()))
        progress.update(task, events=sent, completed=size)
    click.echo(
        f"{sent} {'event' if sent == 1 else 'events'} sent"
        + (f", {bad.count} lines left out" if bad.count and not unchecked else "")
    )
    if bad.count:
        raise SystemExit(1)


def _opened(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from error


class _BadLines:
    """Names bad lines as they come, the first of them one by one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.count = 0

    def add(self, number: int, error: PoisonError) -> None:
        self.count += 1
        if self.count <= MAX_NAMED_LINES:
            click.echo(f"{self._name}:{number} {error}", err=True)
        elif self.count == MAX_NAMED_LINES + 1:
            click.echo(f"{self._name}: more bad lines follow and are only counted", err=True)


def _checked(
    lines: Iterable[bytes], bad: _BadLines, *, unchecked: bool
) -> Iterator[tuple[int, tuple[bytes | None, bytes]]]:
    decode = EventDecoder("send", 0).decode
    for number, line in enumerate(lines, 1):
        value = line.strip()
        if not value:
            continue
        try:
            event, _ = decode(value, number)
        except PoisonError as error:
            bad.add(number, error)
            if unchecked:
                yield len(line), (None, value)
            continue
        yield len(line), ((event.user_id or event.hwid or "").encode() or None, value)


async def publish(brokers: str, topic: str, partitions: int, events: Iterable[tuple[bytes | None, bytes]]) -> int:
    """Publish keyed events; those of one key keep their order. Gives how many were sent."""
    async with Publisher(brokers, topic, partitions) as publisher:
        for key, value in events:
            await publisher.add(key, value)
    return publisher.sent
