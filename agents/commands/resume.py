"""``distributary resume``: an endpoint that was given up is tried again."""

import asyncio
import json
import time

import click

from agents.changelog import read_rows
from agents.commands.choose import integration_named
from agents.commands.ledger import brokers_of
from agents.commands.merged import knowing
from agents.commands.sender import RecordSender
from agents.topology import Names
from pipeline.config.load import load
from pipeline.replay.held import HeldLane, belongs_to, held_lanes, resume_record
from pipeline.sinks.registry import SINKS


@click.command("resume", short_help="Try an endpoint again that was given up.")
@click.argument("integration")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(integration: str, as_json: bool) -> None:
    """Try the endpoint of an INTEGRATION again, whatever holds its batches back.

    That is an endpoint which said that it is gone (410), a breaker that is open because every try failed, or a next try
    that is far off, since the endpoint asked for that (Retry-After) or the schedule of retries does. Says what it found;
    nothing happens where nothing is held back. Batches that were parked are the matter of `distributary replay`.
    """
    settings = knowing(load(), integration, brokers_of)
    chosen = integration_named(settings, integration)
    held = asyncio.run(_resume(brokers_of(settings), Names(settings.app), integration))
    if as_json:
        click.echo(json.dumps({"integration": integration, "resumed": [each.as_json() for each in held]}, indent=2))
        return
    for each in held:
        waiting = f"{each.waiting_batches:,} batches with {each.waiting_events:,} events wait"
        click.echo(f"{each.lane}: {each.why}; {waiting}; it is tried again")
    if not held:
        click.echo(f"nothing holds {integration} back")
    if not chosen.enabled:
        click.echo(f"{integration} is not enabled: nothing is sent to it until it is", err=True)


async def _resume(brokers: str, names: Names, integration: str) -> list[HeldLane]:
    """Ask the workers to resume every lane of the integration that is held back; gives these."""
    held = held_lanes(
        {
            spec.kind: await read_rows(
                brokers, names.pending_changelog(spec.kind), wants=lambda key: belongs_to(integration, key)
            )
            for spec in SINKS
        },
        now=time.time(),
    )
    if held:
        async with RecordSender(brokers) as sender:
            for each in held:
                record = resume_record(each.lane, time.time())
                await sender.send(names.batches(each.kind), each.partition, each.lane.encode(), record)
            await sender.flush()
    return held
