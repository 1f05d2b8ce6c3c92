"""What the pages that list rows of the index have in common: time ranges, usual facets, rows at hand."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from agents.view.visit import Visit
from pipeline.errors import UnusableBodyError, ViewQueryError
from pipeline.model.moments import parse_time
from pipeline.view.columns import Row
from pipeline.view.index.tables import Table
from pipeline.view.query import Operator, Query, parse_query


def time_range(visit: Visit, column: str) -> dict[str, float]:
    """The conditions that ``since`` and ``until`` of the URL put on a column of times."""
    since, until = moment(visit, "since"), moment(visit, "until")
    return {
        **({} if since is None else {f"{column}__gte": since}),
        **({} if until is None else {f"{column}__lt": until}),
    }


def moment(visit: Visit, name: str) -> float | None:
    """A time that the URL names, as UNIX seconds; raises ``ViewQueryError`` where it is none."""
    text = visit.parameter(name)
    try:
        return parse_time(text, visit.now_s) if text else None
    except ValueError as error:
        raise ViewQueryError(f"{name}: {error}") from None


def with_facets(visit: Visit, names: Sequence[str]) -> Visit:
    """The visit with these facets where its URL asks for none, and what is asked for has a place for them."""
    if visit.is_export or visit.format == "csv" or any(name == "facet" for name, _ in visit.parameters):
        return visit
    return replace(visit, parameters=[*visit.parameters, *(("facet", name) for name in names)])


def with_usual(visit: Visit, column: str, value: str) -> Visit:
    """The visit with a condition where its URL says nothing of that column."""
    if any(name.partition("__")[0] == column for name, _ in visit.parameters):
        return visit
    return replace(visit, parameters=[*visit.parameters, (column, value)])


async def each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """Rows at hand as a section takes them."""
    for row in rows:
        yield row


def number(text: str, name: str, *, least: float, most: float, usual: float) -> float:
    """A number of a form; raises ``ViewQueryError``."""
    if not text.strip():
        return usual
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise ViewQueryError(f"{name}: must be a number from {least:g} to {most:g}")
    return value


def chosen(parameters: Sequence[tuple[str, str]], table: Table, visit: Visit) -> Query:
    """All rows that the conditions of a form or a URL mean, ``since`` and ``until`` too, without a limit.

    Several boxes that were ticked (``place``) are one condition.
    """
    kept = [pair for pair in parameters if pair[0] not in {"after", "size", "sort", "facet", table.key}]
    query = replace(parse_query(kept, table.columns, key=table.key, sort=table.time), limit=None)
    ticked = [value for name, value in parameters if name == table.key]
    if ticked:
        if not all(value.isascii() and value.isdigit() for value in ticked):
            raise ViewQueryError(f"{table.key}: is a number")
        query = query.where(table.key, tuple(map(int, ticked)), Operator.IN)
    for name, at in time_range(replace(visit, parameters=kept), table.time).items():
        column, _, word = name.partition("__")
        query = query.where(column, at, Operator(word))
    return query


def form_pairs(visit: Visit) -> list[tuple[str, str]]:
    """The fields of a form, or of a JSON object in its place; raises ``UnusableBodyError`` where it is neither."""
    if visit.form_pairs or not visit.body:
        return visit.form_pairs
    try:
        body = msgspec.json.decode(visit.body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UnusableBodyError(f"the body is no JSON object ({error})", status=422) from None
    return [
        (name, str(each)) for name, value in body.items() for each in (value if isinstance(value, list) else [value])
    ]
