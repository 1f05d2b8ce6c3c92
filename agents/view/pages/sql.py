"""The page of SQL, and the same for programs: a query is a link, its answer a table, JSON, CSV or Parquet."""

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import msgspec

from agents.view.server import Content, View, Visit
from agents.view.sources.sql_tables import Answered, SqlTables
from pipeline.errors import ForbiddenError, UnusableBodyError, ViewQueryError
from pipeline.model.moments import format_time
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.query import MOST_ROWS_A_PAGE
from pipeline.view.sql.catalogue import Table, sql_name, sql_type
from pipeline.view.sql.examples import EXAMPLES
from pipeline.view.sql.messages import Output

PATH: Final = "/sql"
LONGEST_LINKED: Final = 5_000
"""Characters of a query that fits into a link whatever it holds; programs may send more in a body."""

_TABLE_COLUMNS: Final = (
    Column("table", "Table", Kind.CODE, "Its name in SQL."),
    Column("column", "Column", Kind.CODE, "Its name in SQL."),
    Column("type", "Type", Kind.CODE, "Its type in SQL."),
    Column("title", "Title", Kind.TEXT, "What it is called on the pages."),
    Column("help", "Meaning", Kind.TEXT),
)
_READ_COLUMNS: Final = (
    Column("table", "Table", Kind.CODE),
    Column("rows", "Rows", Kind.INTEGER, "How many rows the query could see."),
    Column("is_whole", "Whole", Kind.FLAG, "Whether these are all rows that there are."),
    Column("read_at", "Read", Kind.TIME, "When they were gathered from the workers."),
)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    q: str


class SqlPage:
    """Queries over all workers' tables, for whoever may read them."""

    def __init__(self, view: View, tables: SqlTables) -> None:
        self._view = view
        self._tables = tables

    def register(self) -> None:
        """Add the page, its twins, and Parquet."""
        self._view.page(PATH, self.show, nav="SQL")
        self._view.api("POST", f"{PATH}.json", self.show)
        self._view.api("GET", f"{PATH}.parquet", self.parquet)
        self._view.api("POST", f"{PATH}.parquet", self.parquet)

    async def show(self, visit: Visit) -> Page:
        """The query's rows, or where there is no query the tables that one can ask."""
        query = _query_of(visit)
        context = self._context(query)
        if not query.strip():
            columns = Section("columns", _TABLE_COLUMNS, _each(_columns_of(self._tables.tables())))
            return Page("SQL", "sql.html", [columns], context=context)
        is_page = visit.format == "html"
        is_export = visit.format == "csv" or visit.is_export
        if is_export:
            self._check_export(visit)
        began_s = time.monotonic()
        try:
            answered = await self._tables.answer(query, visit.masks, is_export=is_export)
        except ViewQueryError as error:
            if not is_page:
                raise
            return Page("SQL", "sql.html", context={**context, "problem": str(error)}, status=error.status)
        result = answered.result
        facts: dict[str, Any] = {
            "rows": result.rows,
            "is_cut": result.is_cut,
            "elapsed_s": round(result.elapsed_s, 3),
            "load_s": round(max(0.0, time.monotonic() - began_s - result.elapsed_s), 3),
        }
        rows = _first(result.read(), MOST_ROWS_A_PAGE + 1) if is_page else result.read()
        shown = Section("result", result.columns, rows, _heading(answered), coverage=answered.coverage())
        read = Section("tables_read", _READ_COLUMNS, _each(_reads(answered)))
        return Page("SQL", "sql.html", [shown, read], facts, context)

    async def parquet(self, visit: Visit) -> Content:
        """The query's rows as a Parquet file, with their own types."""
        self._check_export(visit)
        query = _query_of(visit)
        answered = await self._tables.answer(query, visit.masks, Output.PARQUET, is_export=True)
        coverage = answered.coverage()
        headers = {"Distributary-Complete": str(coverage.is_complete and not answered.result.is_cut).lower()}
        is_partial = not coverage.is_complete and visit.parameter("partial") != "ok"
        return Content(
            answered.result.content(),
            "application/vnd.apache.parquet",
            f"distributary-{format_time(visit.now_s)[:19].replace(':', '')}.parquet",
            status=206 if is_partial else 200,
            headers=headers,
        )

    def _check_export(self, visit: Visit) -> None:
        role = visit.person.role
        if role not in self._view.settings.exports:
            raise ForbiddenError(f"{role.value}s may not export; view.exports in faust.yml says who may")

    def _context(self, query: str) -> dict[str, Any]:
        limits = self._tables.runner.limits
        tables = self._tables.tables()
        return {
            "query": query,
            "problem": "",
            "examples": EXAMPLES,
            "saved": [each for each in self._view.settings.views if each.path.startswith(f"{PATH}?")],
            "schema": [(table, [*_columns_of([table])]) for table in tables],
            "limits": limits,
            "longest": LONGEST_LINKED,
        }


def _query_of(visit: Visit) -> str:
    if not visit.body:
        return visit.parameter("q")
    if visit.headers.get("content-type", "").partition(";")[0].strip() == "application/sql":
        try:
            return visit.body.decode()
        except UnicodeDecodeError:
            raise UnusableBodyError("the query is not UTF-8") from None
    if visit.form:
        return visit.form.get("q", "")
    try:
        return msgspec.json.decode(visit.body, type=_Body).q
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableBodyError(
            f'the body must be {{"q": "SELECT ..."}}, or the query itself as application/sql: {error}', status=400
        ) from None


def _columns_of(tables: Iterable[Table]) -> list[Row]:
    return [
        {
            "table": table.name,
            "column": sql_name(column.name),
            "type": sql_type(column),
            "title": column.title,
            "help": column.help,
        }
        for table in tables
        for column in table.columns
    ]


def _reads(answered: Answered) -> list[Row]:
    return [
        {
            "table": name,
            "rows": table.rows,
            "is_whole": table.coverage.is_complete and not table.is_cut,
            "read_at": table.as_of,
        }
        for name, table in answered.tables.items()
    ]


def _heading(answered: Answered) -> str:
    result = answered.result
    rows = f"{result.rows:,} row{'' if result.rows == 1 else 's'}"
    count = f"The first {rows}; there are more" if result.is_cut else rows
    return f"{count}, found in {result.elapsed_s:.2f} s."


async def _each(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


async def _first(rows: AsyncIterator[Row], count: int) -> AsyncIterator[Row]:
    """As many as a page of HTML looks at; the rest is not read."""
    left = count
    async for row in rows:
        yield row
        left -= 1
        if not left:
            return
