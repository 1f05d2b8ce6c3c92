"""``distributary ledger``: whether everything adds up."""

import asyncio
import json
import time
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from agents.changelog import Rows, read_rows
from agents.commands.choose import integration_named
from agents.commands.merged import knowing
from agents.topology import Names
from pipeline.config.load import load
from pipeline.config.schema import Settings
from pipeline.delivery.counts import HOURS_KEPT
from pipeline.delivery.pending import HOUR_S
from pipeline.delivery.rows import RowKind, parse_key
from pipeline.errors import LocalServerError
from pipeline.ledger import Account, Ledger, read_ledger
from pipeline.ledger_hours import Figures, HourlyAccount, read_hours
from pipeline.local.servers import LocalServers
from pipeline.model.moments import format_hour
from pipeline.sinks.registry import SINKS

COLUMNS = ("matched", "open", "waiting", "delivered", "parked", "discarded", "missing")
_UNFOLDED = 10_000


@click.command("ledger", short_help="Show what became of every matched event.")
@click.option(
    "--hours",
    type=click.IntRange(1, HOURS_KEPT),
    is_flag=False,
    flag_value=24,
    metavar="[N]",
    help="By the hour in which events were taken into their window, the last N hours (24).",
)
@click.option("--integration", "names", metavar="ID", multiple=True, help="Only this integration; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(hours: int | None, names: tuple[str, ...], as_json: bool) -> None:
    """Show, for each integration, what became of every event that it matched.

    matched = open + waiting + delivered + parked + discarded. It is read from the tables' changelogs in Kafka, so it needs
    no worker; while events flow, the tables are read at slightly different moments. Exit status 1 where it does not balance.

    With --hours a line for each hour (UTC) in which windows were opened. They must add up to the whole, too.
    """
    settings = load()
    read = asyncio.run(_read_tables(brokers_of(settings), Names(settings.app), with_hours=hours is not None))
    ledger = read_ledger(read.windows, read.pending)
    if names:
        ledger = Ledger([account for account in ledger.accounts if account.integration in names])
        for name in set(names) - {account.integration for account in ledger.accounts}:
            integration_named(knowing(settings, name, brokers_of), name)
    if hours is None:
        _show(ledger, as_json=as_json)
        is_balanced = ledger.is_balanced
    else:
        accounts = read_hours(ledger, read.windows, read.pending)
        first = int(time.time() // HOUR_S) - hours + 1
        _show_hours(ledger, [account.since(first) for account in accounts], first, as_json=as_json)
        is_balanced = ledger.is_balanced and not any(account.problems for account in accounts)
    if not is_balanced:
        raise SystemExit(1)


def _show(ledger: Ledger, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(ledger.as_json(), indent=2))
        return
    print_table(table_of(ledger))
    click.echo(_verdict(is_balanced=ledger.is_balanced))


def print_table(table: Table) -> None:
    """Print a line for each row; only a terminal folds long names, since other programs search the lines."""
    console = Console()
    if not console.file.isatty():
        console.width = _UNFOLDED
    console.print(table)


def _verdict(*, is_balanced: bool) -> str:
    return "balanced" if is_balanced else "NOT balanced: events are missing or were counted twice"


def _show_hours(ledger: Ledger, accounts: list[HourlyAccount], first: int, *, as_json: bool) -> None:
    is_balanced = ledger.is_balanced and not any(account.problems for account in accounts)
    if as_json:
        report: dict[str, Any] = ledger.as_json()
        by_integration = {account.integration: account for account in accounts}
        for each in report["integrations"]:
            each.update(by_integration[each["integration"]].as_json())
        click.echo(json.dumps({**report, "balanced": is_balanced}, indent=2))
        return
    print_table(_table_of_hours(ledger.total(), accounts, first))
    for account in accounts:
        for problem in account.problems:
            click.echo(f"{account.integration}: {problem}", err=True)
    click.echo(_verdict(is_balanced=is_balanced))


def brokers_of(settings: Settings) -> str:
    """The configured brokers, else the local Kafka's address; raises ``LocalServerError`` where that is not ready."""
    if settings.brokers:
        return ",".join(settings.brokers)
    servers = LocalServers(names=["kafka"])
    status = servers.status()[0]
    if status.pid is not None and not status.is_ready:
        raise LocalServerError(
            f"the local Kafka at {status.address} runs, as process {status.pid}, and does not answer: it is starting or stuck. Try again "
            f"soon; its log is {status.log}, and `distributary local down` stops it"
        )
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


def _table_of_hours(total: Account, accounts: list[HourlyAccount], first: int) -> Table:
    """Draw the hours, each integration's in order of time, those without events left out."""
    columns = COLUMNS[:-1]
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("integration", footer="total", overflow="fold")
    table.add_column("hour (UTC)", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", footer=f"{getattr(total, name):,}")
    for account in accounts:
        lines: list[tuple[str, Figures]] = [
            (f"before {format_hour(first)}", account.older),
            *((format_hour(hour), figures) for hour, figures in account.hours.items()),
            ("on the way", account.on_the_way),
        ]
        for words, figures in lines:
            if not figures.is_nothing:
                table.add_row(account.integration, words, *(f"{getattr(figures, name):,}" for name in columns))
    return table


class _Tables(NamedTuple):
    """Rows of the tables, by partition; ``pending`` for each kind of sink."""

    windows: Rows
    pending: list[Rows]


async def read(brokers: str, names: Names) -> Ledger:
    """Read the ledger from the changelogs."""
    tables = await _read_tables(brokers, names, with_hours=False)
    return read_ledger(tables.windows, tables.pending)


async def _read_tables(brokers: str, names: Names, *, with_hours: bool) -> _Tables:
    """Read the changelogs.

    The pending tables first: what they know of was sealed before, so no event seems to have come from nowhere.
    """
    kinds = {RowKind.LANE, RowKind.BATCH, *([RowKind.HOUR] if with_hours else [])}

    def is_wanted(key: bytes) -> bool:
        return parse_key(key).kind in kinds

    pending = [await read_rows(brokers, names.pending_changelog(spec.kind), wants=is_wanted) for spec in SINKS]
    return _Tables(await read_rows(brokers, names.windows_changelog), pending)
