"""What several commands do with the configuration and the person in front of them."""

import difflib

import click

from pipeline.config.schema import Settings
from pipeline.model.integration import Integration


def integration_named(settings: Settings, name: str) -> Integration:
    """The integration of that id; ends the command, with a guess, where the configuration has none."""
    by_id = {each.id: each for each in settings.integrations}
    if name in by_id:
        return by_id[name]
    close = difflib.get_close_matches(name, by_id, n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    raise click.ClickException(f"the configuration has no integration {name}{guess}")


def agreed(question: str) -> bool:
    """Ask on standard error; where nobody can answer the command ends and says what to give instead."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        raise click.ClickException("nothing was done: nobody answered; give --yes where nobody can") from None
