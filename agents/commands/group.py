"""Which commands there are, and what all of them have in common."""

import copy
import os
import sys
from typing import Any

import click
from faust.cli.faust import cli as faust_cli

from agents.commands import check, demo, ledger, local, receiver, send, worker
from pipeline import logs
from pipeline.errors import DistributaryError

OWN = (worker.command, demo.command, check.command, send.command, receiver.command, ledger.command, local.command)
FAUSTS = {
    "agents": "List the stages.",
    "tables": "List the tables.",
    "reset": "Delete this machine's tables in the data directory; the next start reads them again from Kafka.",
}


class Distributary(type(faust_cli)):  # type: ignore[misc] Faust's group class has no public name
    """The group of all commands; own errors end a command with their message and status 1, not with a stack trace."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """Commands in the order of their use."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except DistributaryError as error:
            click.echo(str(error), err=True)
            sys.exit(1)


def _reworded(option: click.Parameter, words: str) -> click.Parameter:
    """One of Faust's options, told as it is here."""
    own: Any = copy.copy(option)
    own.help, own.show_default = words, False
    return own


def _choose_config(_ctx: click.Context, _option: click.Parameter, path: str | None) -> None:
    if path:
        os.environ["DISTRIBUTARY_CONFIG"] = path


cli = Distributary(
    name="distributary",
    callback=faust_cli.callback,
    context_settings={"default_map": {"worker": {"loglevel": "INFO"}}, "max_content_width": 100},
    help="Events from Kafka, through durable per-integration windows, to the endpoints of many customers.\n\n"
    "Begin with `distributary demo`. `distributary COMMAND --help` tells a command's options.",
    params=[
        click.Option(
            ["--config"],
            expose_value=False,
            is_eager=True,
            callback=_choose_config,
            metavar="FILE",
            help="Read this instead of faust.yml.",
        ),
        *(
            _reworded(option, "Where the tables are kept.  [default: .distributary/data]")
            if option.name == "datadir"
            else option
            for option in faust_cli.params
            if option.name != "app"
        ),
        click.Option(["-A", "--app", "app"], default="agents.app", hidden=True),
    ],
)
for each in OWN:
    cli.add_command(each)
for name, words in FAUSTS.items():
    fausts = copy.copy(faust_cli.commands[name])
    fausts.help, fausts.short_help = words, None
    cli.add_command(fausts)


def main() -> None:
    """Run the command line."""
    logs.configure("warning")
    cli(prog_name="distributary")
