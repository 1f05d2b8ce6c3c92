"""Writes the tables into ``docs/sql.md`` from the sources' columns; ``--check`` only says whether that would change it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agents.view.replays import JOB_COLUMNS, ROW_COLUMNS
from agents.view.sources.audit import AuditSource
from agents.view.sources.gates import GatesSource
from agents.view.sources.integrations import IntegrationsSource
from agents.view.sources.lanes import LanesSource
from agents.view.sources.ledger import HoursSource, HourTotalsSource, LedgerSource, LedgerTotalsSource
from agents.view.sources.open_windows import OpenEventsSource
from agents.view.sources.partitions import PartitionsSource
from agents.view.sources.rates import RatesSource
from agents.view.sources.tables import TableSource, TablesSource
from agents.view.sources.topics import TopicPartitionsSource, TopicsSource
from agents.view.sources.users import UsersSource
from agents.view.sources.webhooks import SegmentCallsSource, WebhooksSource
from agents.view.sources.workers import WorkersSource
from pipeline.generated import write_or_check
from pipeline.view.columns import Columns
from pipeline.view.index.tables import TABLES
from pipeline.view.sql.catalogue import Table, sql_name, sql_type
from pipeline.view.sql.meanings import meaning_of

PAGE: Final = Path(__file__).parents[2] / "docs" / "sql.md"
BEGIN: Final = "<!-- What follows is written by `make docs` from the columns of the view's sources. -->\n"
EVERY_TABLE: Final = "table_NAME"
"""Stands for each of Faust's tables, which all have the same columns."""

_OF_INTEGRATIONS: Final = (IntegrationsSource, GatesSource, OpenEventsSource, AuditSource)
_OF_LANES: Final = (LedgerSource, LedgerTotalsSource, HoursSource, HourTotalsSource, LanesSource)
_OF_WORKERS: Final = (WorkersSource, RatesSource, PartitionsSource, TopicsSource, TopicPartitionsSource)
_SOURCES: Final[tuple[tuple[str, Columns], ...]] = (
    *((each.name, each.columns) for each in _OF_INTEGRATIONS),
    *((each.name, each.columns) for each in _OF_LANES),
    *((each.name, each.columns) for each in TABLES),
    *((each.name, each.columns) for each in (WebhooksSource, SegmentCallsSource, UsersSource)),
    ("replays", JOB_COLUMNS),
    ("replay_rows", ROW_COLUMNS),
    *((each.name, each.columns) for each in _OF_WORKERS),
    (TablesSource.name, TablesSource.columns),
    (EVERY_TABLE, TableSource.columns),
)


def documented() -> list[Table]:
    """All tables of the page, as SQL has them."""
    return [
        Table(
            EVERY_TABLE, "A row of Faust's table NAME, for example `table_windows` and `table_pending_http`.", columns
        )
        if name == EVERY_TABLE
        else Table(sql_name(name), meaning_of(sql_name(name)), columns)
        for name, columns in _SOURCES
    ]


def tables_part() -> str:
    """All tables as Markdown."""
    return "".join(f"{line}\n" for table in documented() for line in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    yield f"\n### `{table.name}`\n"
    yield f"{table.meaning}\n"
    yield "| column | type | what it holds |"
    yield "| --- | --- | --- |"
    for column in table.columns:
        words = f"{column.title}. {column.help}" if column.help else column.title
        yield f"| `{sql_name(column.name)}` | `{sql_type(column)}` | {words.replace('|', chr(92) + '|')} |"


def page() -> str:
    """The whole page as it should be: what people wrote, and the tables."""
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return written + BEGIN + tables_part()


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status."""
    return write_or_check(
        arguments, PAGE, page(), module="agents.view.sql_reference", made_from="the columns of the view's sources"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
