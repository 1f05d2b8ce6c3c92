"""``distributary check``: read a configuration as a worker would."""

import click

from pipeline.config.load import load


@click.command("check", short_help="Check faust.yml.")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
def command(file: str | None) -> None:
    """Check a configuration FILE (faust.yml unless given) and print every mistake.

    Each is one line, `file:line key: what is wrong, what is allowed`; the exit status is 1 where there is one.
    """
    settings = load(file)
    enabled = sum(1 for integration in settings.integrations if integration.enabled)
    click.echo(f"good: {len(settings.integrations)} integrations, {enabled} of them enabled")
