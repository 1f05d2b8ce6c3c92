"""``distributary worker``: Faust's worker, with servers of its own where none are named."""

import os
from typing import Any

import click
from faust.cli.faust import cli as faust_cli

from agents.commands import fausts
from pipeline.config.load import load
from pipeline.local.servers import addresses_or_start

_fausts = faust_cli.commands["worker"]


def _start(**options: Any) -> Any:
    settings = load()
    brokers = ",".join(settings.brokers) if settings.brokers else None
    with addresses_or_start(
        kafka=brokers, names=["kafka"], on_progress=lambda line: click.echo(line, err=True)
    ) as addresses:
        os.environ["KAFKA_BROKERS"] = addresses.kafka
        return click.get_current_context().invoke(_fausts, **options)


command = click.Command(
    "worker",
    params=fausts.options(_fausts, {"web_bind": "Address to listen on.  [default: 127.0.0.1]"}),
    callback=_start,
    short_help="Run a worker.",
    help="Run a worker until Ctrl-C or SIGTERM.\n\nStart more of them, on any machine, to scale out; several on one machine "
    "need their own --datadir (before the command) and --web-port. Without KAFKA_BROKERS and without broker in faust.yml, "
    "the local Kafka is used, and started if it does not run.",
)
