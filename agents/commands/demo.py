"""``distributary demo``: the whole flow in one terminal."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from agents.commands import ledger as ledger_command
from agents.commands.demo_scene import Scene, write_config
from agents.commands.demo_screen import Figures, draw
from agents.commands.send import publish
from agents.topology import Names
from pipeline.local.servers import addresses_or_start, default_directory
from pipeline.traffic import events as traffic

BURST_S = 0.2
QUIET_DEADLINE_S = 120.0


@click.command("demo", short_help="See everything at work on this machine.")
@click.option("--events", "count", type=click.IntRange(1), help="Stop sending after this many events.")
@click.option("--exit", "ends", is_flag=True, help="End when all of --events are delivered; status 0 only with a balanced ledger.")
@click.option("--rate", default=2000, show_default=True, type=click.IntRange(1), help="Events a second; 0 in 10 come in bursts.")
@click.option("--poison", "poison_share", default=0.002, show_default=True, type=click.FloatRange(0, 1), help="Share of unusable events.")
@click.option("--seed", default=1, show_default=True, help="Other seeds, other events.")
def command(count: int | None, ends: bool, rate: int, poison_share: float, seed: int) -> None:  # noqa: FBT001 click passes by name
    """Show local servers, a receiver, a worker and a stream of events at work, until Ctrl-C.

    Starts its own Kafka unless KAFKA_BROKERS is set, a sample endpoint and a worker with a few integrations, and feeds
    events that look like real traffic. At the end the ledger says what became of each.
    """
    if ends and count is None:
        raise click.UsageError("--exit needs --events N, so that there is an end")
    folder = default_directory().absolute() / "demo"
    shutil.rmtree(folder / "work", ignore_errors=True)
    console = Console(stderr=False)
    with addresses_or_start(folder, names=["kafka"], on_progress=lambda line: click.echo(line, err=True)) as addresses:
        with Scene(folder / "work", addresses.kafka) as scene:
            is_balanced = asyncio.run(_play(scene, console, traffic(seed, count or sys.maxsize, poison_share=poison_share), rate, count, ends=ends))
    raise SystemExit(0 if is_balanced else 1)
