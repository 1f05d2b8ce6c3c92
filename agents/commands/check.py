"""``distributary check``: read a configuration as a worker would."""

import asyncio

import click

from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.sinks.readiness import require_ready


@click.command("check", short_help="Check faust.yml.")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
def command(file: str | None) -> None:
    """Check a configuration FILE (faust.yml unless given) and print every mistake.

    Each is one line, `file:line key: what is wrong, what is allowed`; the exit status is 1 where there is one. Where the
    file itself is right, the certificate files that it names are read too.
    """
    settings = load(file)
    asyncio.run(require_ready(settings.integrations, settings.outbound.client()))
    enabled = sum(1 for integration in settings.integrations if integration.enabled)
    click.echo(f"good: {len(settings.integrations)} integrations, {enabled} of them enabled{_and_webhooks(settings)}")


def _and_webhooks(settings: Settings) -> str:
    if settings.inbound is None:
        return ""
    webhooks = settings.inbound.webhooks
    return f"; {len(webhooks)} inbound webhooks, {sum(each.enabled for each in webhooks)} of them enabled"
