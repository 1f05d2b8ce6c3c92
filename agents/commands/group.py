"""Which commands there are, and what all of them have in common."""

import os
import sys
from importlib.metadata import version
from typing import Any

import click
from aiokafka.errors import KafkaError
from faust.cli.faust import cli as faust_cli

from agents.commands import check, conform, demo, doctor, fausts, ledger, local, receiver, replay, resume, send, worker
from pipeline import logs
from pipeline.errors import DistributaryError

OWN = (
    worker.command,
    demo.command,
    check.command,
    send.command,
    receiver.command,
    ledger.command,
    local.command,
    replay.command,
    resume.command,
    doctor.command,
    conform.command,
)
_WORDS = {"datadir": "Where the tables are kept.  [default: .distributary/data]"}


class Distributary(type(faust_cli)):  # type: ignore[misc] Faust's group class has no public name
    """The group of all commands; errors that a user can do something about end one with a message and status 1."""

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
        except KafkaError as error:
            click.echo(
                f"Kafka does not do what it is asked: {error}. Does it run, and is its address in KAFKA_BROKERS, or in "
                "broker of faust.yml, the right one?",
                err=True,
            )
            sys.exit(1)


def _common_options() -> list[click.Parameter]:
    """Faust's, for all commands. Without ``--datadir`` the app's own default holds, which Faust's would always replace."""
    found = [option for option in fausts.options(faust_cli, _WORDS) if option.name not in {"app", "version"}]
    for option in found:
        if option.name == "datadir":
            option.default = None
    return found


def _choose_config(_ctx: click.Context, _option: click.Parameter, path: str | None) -> None:
    if path:
        os.environ["DISTRIBUTARY_CONFIG"] = path


def _tell_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        click.echo(f"distributary {version('distributary')} (Faust {version('faust-streaming')})")
        context.exit()


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
        *_common_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_tell_version,
            help="Show the version and exit.",
        ),
        click.Option(["-A", "--app", "app"], default="agents.app", hidden=True),
    ],
)
for each in (*OWN, *fausts.commands()):
    cli.add_command(each)


def main() -> None:
    """Run the command line."""
    logs.configure("critical")  # a command says itself what is wrong; a worker sets its own level
    cli(prog_name="distributary")
