"""``distributary demo``: the whole flow in one terminal."""

import asyncio
import contextlib
import itertools
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator

import aiohttp
import click
from rich.console import Console
from rich.live import Live

from agents.commands import demo_screen
from agents.commands import ledger as ledger_command
from agents.commands.demo_scene import APP, Scene
from agents.commands.publish import Publisher
from agents.topology import Names
from pipeline.local.servers import LocalServers, addresses_or_start, default_directory
from pipeline.model.event_key import key_of
from pipeline.traffic import events as traffic

PARTITIONS = 4
STEP_S = 0.2
QUIET_DEADLINE_S = 120.0
TOPIC = "channels-tracking-log"


@click.command("demo", short_help="See everything at work on this machine.")
@click.option("--events", "count", type=click.IntRange(1), help="Stop sending after this many events.")
@click.option(
    "--exit", "ends", is_flag=True, help="End when all of --events are done; status 0 only with a balanced ledger."
)
@click.option("--rate", default=2000, show_default=True, type=click.IntRange(1), help="Events a second, on average.")
@click.option(
    "--poison",
    "poison_share",
    default=0.002,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of unusable events.",
)
@click.option("--seed", default=1, show_default=True, help="Other seeds, other events.")
def command(count: int | None, ends: bool, rate: int, poison_share: float, seed: int) -> None:
    """Show everything at work: Kafka, a worker, an endpoint and a stream of events.

    Starts its own Kafka unless KAFKA_BROKERS is set, a sample endpoint, and a worker with a few integrations, and feeds
    events that look like real traffic until Ctrl-C. At the end the ledger says what became of each.
    """
    if ends and count is None:
        raise click.UsageError("--exit needs --events N, so that there is an end")
    folder = default_directory().absolute() / "demo"
    is_own_kafka = not os.environ.get("KAFKA_BROKERS")
    if is_own_kafka:
        LocalServers(folder, names=["kafka"]).reset()
    shutil.rmtree(folder / "work", ignore_errors=True)
    # On somebody else's Kafka the demo keeps to topics of its own.
    mark = "" if is_own_kafka else f"-{secrets.token_hex(3)}"
    with (
        addresses_or_start(folder, names=["kafka"], on_progress=lambda line: click.echo(line, err=True)) as addresses,
        Scene(folder / "work", addresses.kafka, f"{APP}{mark}", f"{TOPIC}{mark and f'-demo{mark}'}") as scene,
    ):
        events = traffic(seed, count or sys.maxsize, poison_share=poison_share)
        play = _Play(scene, events, rate)
        is_balanced = asyncio.run(play.run(ends=ends))
    raise SystemExit(0 if is_balanced else 1)


class _Play:
    """One performance: feeds events, shows the figures, and closes with the ledger."""

    def __init__(self, scene: Scene, events: Iterator[bytes], rate_per_s: int) -> None:
        self._scene = scene
        self._events = events
        self._rate_per_s = rate_per_s
        self._console = Console()
        self._sent = 0
        self._is_all_sent = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self, *, ends: bool) -> bool:
        """Play until it ends or Ctrl-C; gives whether the ledger balances."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(2, self._stop.set)
        loop.add_signal_handler(15, self._stop.set)
        feeding = asyncio.create_task(self._feed())
        showing = asyncio.create_task(self._show(ends=ends))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({feeding, showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            while feeding in done and showing not in done and stopping not in done:
                feeding.result()
                done, _ = await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
                done.add(feeding)
            was_quiet = showing in done and showing.result()
        finally:
            for task in (feeding, showing, stopping):
                task.cancel()
            await asyncio.gather(feeding, showing, stopping, return_exceptions=True)
        return await self._close(ends=ends, was_quiet=was_quiet)

    async def _feed(self) -> None:
        async with Publisher(self._scene.brokers, self._scene.topic, PARTITIONS) as publisher:
            began_s, due = time.monotonic(), 0
            while True:
                # Every other second is a burst of twice the rate, the seconds between are nearly still.
                elapsed_s = time.monotonic() - began_s
                swing = 1.9 if int(elapsed_s) % 2 == 0 else 0.1
                due = max(1, int(self._rate_per_s * STEP_S * swing))
                batch = list(itertools.islice(self._events, due))
                for event in batch:
                    await publisher.add(key_of(event), event)
                await publisher.flush()
                self._sent += len(batch)
                if len(batch) < due:
                    break
                await asyncio.sleep(max(0.0, STEP_S - (time.monotonic() - began_s - elapsed_s)))
        self._is_all_sent.set()

    async def _show(self, *, ends: bool) -> bool:
        """Show the figures until, where there is an end, all is done; gives whether it was in time."""
        scene = self._scene
        pages = f"view {scene.worker_url}/   endpoint {scene.receiver_url}stats   logs {scene.folder}   Ctrl-C ends"
        timeout = aiohttp.ClientTimeout(total=5)
        figures, rate_per_s, since_s, deadline_s = demo_screen.Figures(), 0.0, time.monotonic(), float("inf")
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with Live(console=self._console, refresh_per_second=4, transient=False) as live:
                while time.monotonic() < deadline_s:
                    scene.check()
                    before, before_s = figures, since_s
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # starting: shown as it comes
                        figures, since_s = (
                            await demo_screen.read(session, scene.worker_url, scene.receiver_url, self._sent),
                            time.monotonic(),
                        )
                        rate_per_s = (figures.received - before.received) / max(0.1, since_s - before_s)
                    live.update(demo_screen.draw(figures, rate_per_s, pages))
                    if self._is_all_sent.is_set() and ends:
                        deadline_s = min(deadline_s, time.monotonic() + QUIET_DEADLINE_S)
                        if figures.is_quiet:
                            return True
                    await asyncio.sleep(1)
        return False

    async def _close(self, *, ends: bool, was_quiet: bool) -> bool:
        ledger = await ledger_command.read(self._scene.brokers, Names(self._scene.app))
        self._console.print()
        self._console.print(ledger_command.table_of(ledger))
        total = ledger.total()
        if not ledger.is_balanced:
            self._console.print(f"NOT balanced: {total.missing:,} events are missing", style="bold red")
        elif ends and not (was_quiet and total.is_quiet):
            self._console.print(
                f"not everything was done within {QUIET_DEADLINE_S:.0f} s after the last event", style="bold red"
            )
        else:
            self._console.print(
                "balanced: matched = open + waiting + delivered + parked + discarded", style="bold green"
            )
        return ledger.is_balanced and (not ends or (was_quiet and total.is_quiet))
