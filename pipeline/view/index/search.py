"""Queries on the index: the view's own language as SQL, every value a bound parameter.

The answers are those that ``pipeline.view.apply.select`` gives for the same rows (a test compares them), but that letters are
taken for alike as DuckDB's ``lower`` does it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from pipeline.errors import ViewQueryError
from pipeline.view.apply import MOST_FACET_VALUES, Selected, matcher
from pipeline.view.columns import Column, Kind, Personal, Row, column_named
from pipeline.view.index.tables import Table
from pipeline.view.mask import hidden_as, is_quoted, mask_row, mask_text, mask_value, masked_query
from pipeline.view.query import Condition, Operator, Query

ROWS_AT_ONCE: Final = 2000
MOST_MASKED_VALUES: Final = 100_000

_TEXTS: Final = frozenset({Kind.TEXT, Kind.CODE, Kind.STATE, Kind.JSON})
_COMPARED: Final = {Operator.GREATER: ">", Operator.AT_LEAST: ">=", Operator.LESS: "<", Operator.AT_MOST: "<="}
_LARGEST_WHOLE: Final = 2**62


class _Where:
    """Conditions that all hold, and what is bound to them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.bound: list[Any] = []

    def add(self, part: str, *bound: Any) -> None:
        self.parts.append(part)
        self.bound += bound

    @property
    def text(self) -> str:
        return f" WHERE {' AND '.join(self.parts)}" if self.parts else ""


def search(
    cursor: duckdb.DuckDBPyConnection, table: Table, query: Query, masks: frozenset[Personal] = frozenset()
) -> Selected:
    """One page of rows, how many match in all, and the facets. Raises ``ViewQueryError`` for what cannot be asked."""
    query = masked_query(query, table.columns, masks)
    where = _where(cursor, table, query, masks)
    if query.text:
        where = _found_once(cursor, table, where)
    facets = {name: _facet(cursor, table, name, where, masks) for name in query.facets}
    matching = _one(cursor, f"SELECT count(*) FROM {table.relation}{where.text}", where.bound)
    assert query.limit is not None, "an export is streamed"
    statement, bound = _page(table, query, where, query.limit + 1, masks)
    rows = _rows(cursor.execute(statement, bound), table, masks)
    return Selected(rows[: query.limit], len(rows) > query.limit, matching, facets)


def stream(
    cursor: duckdb.DuckDBPyConnection, table: Table, query: Query, masks: frozenset[Personal] = frozenset()
) -> Iterator[list[Row]]:
    """All rows in order, some at once; what is sorted lies on disk beyond the index's share of memory."""
    query = masked_query(query, table.columns, masks)
    where = _where(cursor, table, query, masks)
    statement, bound = _page(table, query, where, query.limit, masks)
    cursor.execute(statement, bound)
    names = [column.name for column in table.columns]
    while found := cursor.fetchmany(ROWS_AT_ONCE):
        yield [mask_row(table.columns, dict(zip(names, row, strict=True)), masks) for row in found]


def histogram(
    cursor: duckdb.DuckDBPyConnection,
    table: Table,
    query: Query,
    *,
    split_by: str,
    width_s: float,
    masks: frozenset[Personal] = frozenset(),
) -> list[tuple[float, str | None, int]]:
    """How many rows match in each ``width_s`` seconds, by the value of column ``split_by``: beginning, value, rows."""
    query = masked_query(query, table.columns, masks)
    where = _where(cursor, table, query, masks)
    found = cursor.execute(
        f"SELECT floor({_name(table.time)} / ?) AS slot, {_name(split_by)} AS value, count(*) FROM {table.relation}"
        f"{where.text} GROUP BY ALL ORDER BY slot, value",
        [width_s, *where.bound],
    ).fetchall()
    return [(slot * width_s, value, rows) for slot, value, rows in found if slot is not None]


def _found_once(cursor: duckdb.DuckDBPyConnection, table: Table, where: _Where) -> _Where:
    """Search through the texts once, and not again for the count, the page and each facet."""
    key, found = _name(table.key), _Where()
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE found AS SELECT {key} FROM {table.relation}{where.text}", where.bound)
    found.add(f"{key} IN (SELECT {key} FROM temp.found)")
    return found


def _page(
    table: Table, query: Query, where: _Where, limit: int | None, masks: frozenset[Personal]
) -> tuple[str, list[Any]]:
    column = column_named(table.columns, query.sort)
    if column is None or not column.is_sortable or hidden_as(column, masks) is not None or is_quoted(column, masks):
        raise ViewQueryError(f"sort: rows cannot be sorted by {query.sort[:40]}")
    page = _Where()
    page.parts, page.bound = [*where.parts], [*where.bound]
    if query.after is not None:
        _after(page, column, query)
    direction = "DESC NULLS LAST" if query.is_descending else "ASC NULLS FIRST"
    order = f"{_name(query.sort)} {direction}, {_name(table.key)} {direction}"
    names = ", ".join(_name(each.name) for each in table.columns)
    if limit is None:
        return f"SELECT {names} FROM {table.relation}{page.text} ORDER BY {order}", page.bound
    # First which rows, then all that is known of them: a sort that carries every column along takes ten times as long.
    chosen = f"SELECT {_name(table.key)} FROM {table.relation}{page.text} ORDER BY {order} LIMIT {int(limit)}"
    statement = f"SELECT {names} FROM {table.relation} WHERE {_name(table.key)} IN ({chosen}) ORDER BY {order}"
    return statement, page.bound


def _after(page: _Where, column: Column, query: Query) -> None:
    assert query.after is not None
    sort, key, (value, place) = _name(query.sort), _name(query.key), query.after
    _check_cursor(column, value)
    if not isinstance(place, int):
        raise ViewQueryError("after: is no place in this list; open the list again without it")
    place = _number(place)
    if query.is_descending:
        if value is None:
            page.add(f"{sort} IS NULL AND {key} < ?", place)
        else:
            page.add(
                f"({sort} < ? OR ({sort} = ? AND {key} < ?) OR {sort} IS NULL)", _number(value), _number(value), place
            )
    elif value is None:
        page.add(f"({sort} IS NOT NULL OR {key} > ?)", place)
    else:
        page.add(f"({sort} > ? OR ({sort} = ? AND {key} > ?))", _number(value), _number(value), place)


def _check_cursor(column: Column, value: Any) -> None:
    fits = value is None or isinstance(value, str if column.kind in _TEXTS else int | float)
    if not fits:
        raise ViewQueryError("after: belongs to another order of this list; open the list again without it")


def _where(cursor: duckdb.DuckDBPyConnection, table: Table, query: Query, masks: frozenset[Personal]) -> _Where:
    where = _Where()
    for condition in query.conditions:
        column = column_named(table.columns, condition.column)
        if column is None:
            raise ViewQueryError(f"{condition.column[:40]!r} is no column here")
        personal = hidden_as(column, masks)
        if condition.operator is Operator.BLANK:
            _add(condition, column, where)
        elif personal is not None:
            _add_masked(cursor, table, condition, personal, where)
        elif is_quoted(column, masks):
            _add_quoted(cursor, table, condition, masks, where)
        else:
            _add(condition, column, where)
    if query.text:
        found = _Where()
        for each in table.columns:
            if each.kind in _TEXTS and hidden_as(each, masks) is None:
                contains = Condition(each.name, Operator.CONTAINS, query.text)
                if is_quoted(each, masks):
                    _add_quoted(cursor, table, contains, masks, found)
                else:
                    _add(contains, each, found)
        where.add(f"({' OR '.join(found.parts)})", *found.bound)
    return where


def _add(condition: Condition, column: Column, where: _Where) -> None:
    name, value, is_text = _name(column.name), condition.value, column.kind in _TEXTS
    match condition.operator:
        case Operator.BLANK:
            blank = f"({name} IS NULL OR {name} = '')" if is_text else f"{name} IS NULL"
            where.add(blank if value else f"NOT {blank}")
        case Operator.CONTAINS:
            text = name if is_text else f"CAST({name} AS VARCHAR)"
            where.add(f"contains(lower({text}), ?)", str(value).lower())
        case Operator.EXACT:
            where.add(f"{name} = ?", _number(value))
        case Operator.NOT:
            where.add(f"{name} IS DISTINCT FROM ?", _number(value))
        case Operator.IN:
            marks = ", ".join("?" * len(value))
            where.add(f"{name} IN ({marks})" if value else "false", *map(_number, value))
        case _:
            where.add(f"{name} {_COMPARED[condition.operator]} ?", _number(value))


def _add_quoted(
    cursor: duckdb.DuckDBPyConnection, table: Table, condition: Condition, masks: frozenset[Personal], where: _Where
) -> None:
    """Compare what the viewer sees: of the few texts with an address in them the masked form."""
    column = column_named(table.columns, condition.column)
    assert column is not None
    name, plain = _name(column.name), _Where()
    _add(condition, column, plain)
    quoting = cursor.execute(
        f"SELECT DISTINCT {name} FROM {table.relation} WHERE contains({name}, '@') LIMIT {MOST_MASKED_VALUES}"
    ).fetchall()
    matches = matcher(Query(conditions=(condition,)), table.columns)
    meant = [text for (text,) in quoting if matches({column.name: mask_text(text, masks)})]
    where.add(
        f"CASE WHEN contains({name}, '@') THEN list_contains(?::VARCHAR[], {name}) ELSE {plain.parts[0]} END",
        meant,
        *plain.bound,
    )


def _add_masked(
    cursor: duckdb.DuckDBPyConnection, table: Table, condition: Condition, personal: Personal, where: _Where
) -> None:
    """Compare tags: those values are looked for whose tag was asked for."""
    name = _name(condition.column)
    wanted = set(condition.value) if condition.operator is Operator.IN else {condition.value}
    found = cursor.execute(
        f"SELECT DISTINCT {name} FROM {table.relation} WHERE {name} IS NOT NULL LIMIT {MOST_MASKED_VALUES + 1}"
    ).fetchall()
    if len(found) > MOST_MASKED_VALUES:
        raise ViewQueryError(
            f"{condition.column}: is masked for you and has too many values to compare; narrow it another way"
        )
    meant = [value for (value,) in found if mask_value(personal, value) in wanted]
    if condition.operator is Operator.NOT:
        where.add(f"({name} IS NULL OR NOT list_contains(?::VARCHAR[], {name}))", meant)
    else:
        where.add(f"list_contains(?::VARCHAR[], {name})", meant)


def _facet(
    cursor: duckdb.DuckDBPyConnection, table: Table, name: str, where: _Where, masks: frozenset[Personal]
) -> list[tuple[Any, int]]:
    column = column_named(table.columns, name)
    if column is None:
        raise ViewQueryError(f"facet: {name[:40]!r} is no column here")
    counted = f"SELECT {_name(name)} AS value, count(*) AS rows_of FROM {table.relation}{where.text} GROUP BY value"
    ordered = f"{counted} ORDER BY rows_of DESC, value LIMIT {MOST_FACET_VALUES}"
    found = cursor.execute(ordered, where.bound).fetchall()
    if hidden_as(column, masks) is None and not is_quoted(column, masks):
        return [(value, rows) for value, rows in found]
    tags: Counter[Any] = Counter()
    for value, rows in found:
        tags[mask_row((column,), {name: value}, masks)[name]] += rows
    return tags.most_common()


def _rows(result: duckdb.DuckDBPyConnection, table: Table, masks: frozenset[Personal]) -> list[Row]:
    names = [column.name for column in table.columns]
    return [mask_row(table.columns, dict(zip(names, row, strict=True)), masks) for row in result.fetchall()]


def _one(cursor: duckdb.DuckDBPyConnection, statement: str, bound: list[Any]) -> int:
    row = cursor.execute(statement, bound).fetchone()
    assert row is not None
    return int(row[0])


def _number(value: Any) -> Any:
    """No number that DuckDB would not take."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_WHOLE:
        return float(value) if abs(value) < 10**300 else (1e300 if value > 0 else -1e300)
    return value


def _name(column: str) -> str:
    """A column's name in SQL; names come from our own tables, never from a viewer."""
    return f'"{column}"'
