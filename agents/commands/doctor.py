"""``distributary doctor``: what is wrong with an integration, and what to do about it."""

import asyncio
import json
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.commands.choose import integration_named
from agents.commands.ledger import brokers_of
from agents.commands.merged import knowing
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.doctor.examine import Doctor
from pipeline.doctor.lines import headline, lines_of, table, verdict
from pipeline.doctor.step import Examination, State, Step
from pipeline.doctor.target import target_of
from pipeline.model.integration import Integration

AT_ONCE = 8


@click.command("doctor", short_help="Find out what is wrong with an integration.")
@click.argument("integration", required=False)
@click.option("--all", "is_for_all", is_flag=True, help="Examine every integration that is enabled.")
@click.option("--send/--no-send", "sends", default=True, help="Whether a test event is sent.  [default: send]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(integration: str | None, is_for_all: bool, sends: bool, as_json: bool) -> None:
    """Examine an INTEGRATION, step by step.

    Its settings, its name's addresses, a connection to each, TLS and the certificate; then a test event is delivered as a
    worker would: signed, with the credentials, marked as a test. It leaves windows and ledger alone, and needs Kafka only
    for integrations that faust.yml does not name.
    The exit status is 0 only where all is well.
    """
    if is_for_all == (integration is not None):
        raise click.UsageError("name one integration, or give --all")
    settings = knowing(load(), integration, brokers_of)
    if integration is None:
        is_well = _all(settings, sends=sends, as_json=as_json)
    else:
        is_well = _one(settings, integration_named(settings, integration), sends=sends, as_json=as_json)
    if not is_well:
        raise SystemExit(1)


def _one(settings: Settings, integration: Integration, *, sends: bool, as_json: bool) -> bool:
    def show(step: Step) -> None:
        for line in lines_of(step):
            click.echo(line)

    async def examine() -> Examination:
        doctor = Doctor(settings.outbound.client())
        await doctor.open()
        try:
            if as_json:
                return await doctor.examine(integration, sends=sends)
            return await doctor.examine(integration, sends=sends, on_step=show)
        finally:
            await doctor.close()

    if not as_json:
        click.echo(headline(integration, target_of(integration)))
    examination = asyncio.run(examine())
    click.echo(json.dumps(examination.as_json(), indent=2) if as_json else verdict(examination))
    return examination.state is State.GOOD


def _all(settings: Settings, *, sends: bool, as_json: bool) -> bool:
    enabled = [each for each in settings.integrations if each.enabled]
    with Progress(
        TextColumn("examining"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        examinations = asyncio.run(_examine_all(settings, enabled, progress, sends=sends))
    bad = sum(examination.state is not State.GOOD for examination in examinations)
    if as_json:
        click.echo(json.dumps([examination.as_json() for examination in examinations], indent=2))
    else:
        for line in table(examinations, [each.id for each in settings.integrations if not each.enabled]):
            click.echo(line)
        click.echo(f"{len(examinations)} examined, {bad} with something to look at")
    return not bad


async def _examine_all(
    settings: Settings, integrations: Sequence[Integration], progress: Progress, *, sends: bool
) -> list[Examination]:
    """Examine all, a bounded number at once; in the order of the file."""
    task = progress.add_task("examine", total=len(integrations))
    doctor = Doctor(settings.outbound.client())
    free = asyncio.Semaphore(AT_ONCE)

    async def one(integration: Integration) -> Examination:
        async with free:
            examination = await doctor.examine(integration, sends=sends)
        progress.advance(task)
        return examination

    await doctor.open()
    try:
        return await asyncio.gather(*(one(integration) for integration in integrations))
    finally:
        await doctor.close()
