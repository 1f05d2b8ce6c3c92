"""``distributary ledger``: whether everything adds up."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable

import click
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from agents.topology import Names
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.errors import LocalServerError
from pipeline.ledger import Ledger, read_ledger
from pipeline.local.servers import LocalServers
from pipeline.sinks.registry import SINKS

READ_TIMEOUT_S = 60.0
COLUMNS = ("matched", "open", "waiting", "delivered", "parked", "discarded", "missing")


@click.command("ledger", short_help="Show what became of every matched event.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(as_json: bool) -> None:
    """Show, for each integration, what became of every event that it matched.

    matched = open + waiting + delivered + parked + discarded. It is read from the tables' changelogs in Kafka, so it needs
    no worker; while events flow, the tables are read at slightly different moments. Exit status 1 where it does not balance.
    """
    settings = load()
    ledger = asyncio.run(read(brokers_of(settings), Names(settings.app)))
    if as_json:
        click.echo(json.dumps(ledger.as_json(), indent=2))
    else:
        Console().print(table_of(ledger))
        click.echo("balanced" if ledger.is_balanced else "NOT balanced: events are missing or were counted twice")
    if not ledger.is_balanced:
        raise SystemExit(1)


def brokers_of(settings: Settings) -> str:
    """The configured brokers, else the local Kafka's address; raises ``LocalServerError`` where that does not run."""
    if settings.brokers:
        return ",".join(settings.brokers)
    servers = LocalServers(names=["kafka"])
    status = servers.status()[0]
    if not status.is_ready:
        raise LocalServerError(
            "the local Kafka does not run: start it with `distributary local up`, or set KAFKA_BROKERS=host:port"
        )
    return status.address


def table_of(ledger: Ledger) -> Table:
    """Draw the ledger for a terminal."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    total = ledger.total()
    table.add_column("integration", footer="total", overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="right", footer=f"{getattr(total, name):,}")
    for account in ledger.accounts:
        table.add_row(account.integration, *(f"{getattr(account, name):,}" for name in COLUMNS))
    return table


async def read(brokers: str, names: Names) -> Ledger:
    """Read the ledger from the changelogs.

    The pending tables first: what they know of was sealed before, so no event seems to have come from nowhere.
    """
    pending = [await read_rows(brokers, names.pending_changelog(spec.kind)) for spec in SINKS]
    windows = await read_rows(brokers, names.windows_changelog)
    return read_ledger(windows, pending)


async def read_rows(brokers: str, changelog: str) -> dict[int, Iterable[tuple[bytes, bytes]]]:
    """Read a changelog to its end: the newest value of each key, by partition."""
    rows: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
    )
    try:
        await consumer.start()
        async with asyncio.timeout(READ_TIMEOUT_S):
            if not consumer.partitions_for_topic(changelog):
                await consumer._client.force_metadata_update()  # noqa: SLF001 aiokafka has no public way to ask for one topic
            partitions = [TopicPartition(changelog, each) for each in consumer.partitions_for_topic(changelog) or ()]
            if not partitions:
                return {}
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            left = {tp for tp in partitions if ends[tp]}
            while left:
                for tp, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                    for record in records:
                        if record.value is None:
                            rows[tp.partition].pop(record.key, None)
                        else:
                            rows[tp.partition][record.key] = record.value
                left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    return {partition: list(of_partition.items()) for partition, of_partition in rows.items()}
