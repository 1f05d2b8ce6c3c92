"""``distributary local``: the Kafka and Redis that come with the project."""

import shutil

import click

from agents import data_directory
from pipeline.local.servers import LocalServers, default_directory


@click.group("local", short_help="Start and stop the local Kafka and Redis.")
def command() -> None:
    """Start, stop, show or empty the local Apache Kafka and Redis.

    They are used where KAFKA_BROKERS and REDIS_URL are not set, listen on loopback only, and keep their data in
    .distributary, or in the directory that DISTRIBUTARY_HOME names.
    """


def _servers() -> LocalServers:
    return LocalServers(on_progress=lambda line: click.echo(line, err=True))


@command.command()
def up() -> None:
    """Start Kafka and Redis; they stay until `local down`."""
    addresses = _servers().up()
    click.echo(f"export KAFKA_BROKERS={addresses.kafka}")
    click.echo(f"export REDIS_URL={addresses.redis}")


@command.command()
def down() -> None:
    """Stop Kafka and Redis; their data stays."""
    _servers().down()
    click.echo("stopped")


@command.command()
def status() -> None:
    """Show which servers run, and where.

    The exit status is 1 unless all are ready.
    """
    statuses = _servers().status()
    for each in statuses:
        state = "ready" if each.is_ready else "starting or stuck" if each.pid else "stopped"
        click.echo(
            f"{each.title:<14} {state:<18} {each.address or '-':<28} {f'pid {each.pid}' if each.pid else ''}".rstrip()
        )
    if not all(each.is_ready for each in statuses):
        raise SystemExit(1)


@command.command()
def reset() -> None:
    """Stop both and delete their data.

    The workers' tables beside it go too; a worker that uses them must be
    stopped before.
    """
    tables = default_directory() / "data"
    if tables.exists():
        data_directory.take(tables, advice="stop it first")
    _servers().reset()
    # Tables that know more than their changelogs would be wrong.
    shutil.rmtree(tables, ignore_errors=True)
    click.echo("stopped and emptied")
