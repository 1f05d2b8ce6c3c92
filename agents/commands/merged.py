"""The integrations in force, for commands: those of ``faust.yml`` and those that were made while workers ran."""

import asyncio
from collections.abc import Callable

import click
from aiokafka.errors import KafkaError

from agents.changelog import read_rows
from agents.integrations import PARTITION
from agents.topology import Names
from pipeline.config.schema import Settings
from pipeline.errors import LocalServerError
from pipeline.integrations.kept import Kept
from pipeline.integrations.snapshot import Snapshot


async def read_snapshot(brokers: str, settings: Settings) -> Snapshot:
    """Read what is stored, to its end; the file wins. Raises ``CodecError`` where it is of another version."""
    changelog = Names(settings.app).integrations_changelog
    rows = await read_rows(brokers, changelog, partitions=[PARTITION])
    kept = Kept.of_file(settings)
    kept.take(rows.get(PARTITION, ()))
    return kept.snapshot()


def with_stored(settings: Settings, brokers: str) -> Settings:
    """``settings`` with the integrations in force in place of those of the file alone."""
    snapshot = asyncio.run(read_snapshot(brokers, settings))
    return settings.model_copy(update={"integrations": snapshot.integrations})


def knowing(settings: Settings, name: str | None, brokers_of: Callable[[Settings], str]) -> Settings:
    """``settings`` that know the integration ``name``, or all where it is ``None``, as far as that can be found out.

    One that the file names needs no Kafka. Where Kafka is away a line says so, and the file's are all that is known.
    """
    if name is not None and any(each.id == name for each in settings.integrations):
        return settings
    try:
        return with_stored(settings, brokers_of(settings))
    except (KafkaError, LocalServerError, OSError) as error:
        click.echo(f"only the integrations of faust.yml are known, since Kafka cannot be asked: {error}", err=True)
        return settings
