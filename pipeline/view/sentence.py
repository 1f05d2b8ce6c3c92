"""What a table shows, as one sentence: how many rows of what, which ones, in which order."""

from typing import Any

from pipeline.view.columns import Columns, Kind, column_named
from pipeline.view.query import Condition, Operator, Query

_WORDS = {
    Operator.EXACT: "is",
    Operator.NOT: "is not",
    Operator.CONTAINS: "contains",
    Operator.GREATER: "is above",
    Operator.AT_LEAST: "is at least",
    Operator.LESS: "is below",
    Operator.AT_MOST: "is at most",
    Operator.IN: "is one of",
}
_MOST_CHARS = 80


def sentence(what: str, query: Query, columns: Columns, *, matching: int | None, shown: int | None = None) -> str:
    """For example ``147 attempts where status is above 499, sorted by time, the newest first``.

    ``matching`` is how many rows match in all, ``shown`` how many of them are on the page, each ``None`` where not known.
    """
    parts = [_count(what, matching, shown)]
    if query.conditions or query.text:
        conditions = [_condition(each, columns) for each in query.conditions]
        if query.text:
            conditions.append(f'"{_cut(query.text)}" stands somewhere')
        parts.append(f" where {' and '.join(conditions)}")
    column = column_named(columns, query.sort)
    if column is not None and shown != 0 and matching != 0:
        parts.append(
            f", sorted by {_lower(column.title)}, {_direction(column.kind, is_descending=query.is_descending)}"
        )
    return "".join(parts)


def _count(what: str, matching: int | None, shown: int | None) -> str:
    if matching is None:
        return what if shown is None else f"{shown:,} {what}"
    if shown is None or shown == matching:
        return f"{matching:,} {_singular(what) if matching == 1 else what}" if matching else f"No {what}"
    return f"{shown:,} of {matching:,} {what}"


def _singular(what: str) -> str:
    """``batches`` as ``batch``: of the nouns that our tables have."""
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("s", "")):
        if what.endswith(ending):
            return what.removesuffix(ending) + instead
    return what


def _condition(condition: Condition, columns: Columns) -> str:
    column = column_named(columns, condition.column)
    title = _lower(column.title) if column is not None else condition.column
    if condition.operator is Operator.BLANK:
        return f"{title} has {'no' if condition.value else 'a'} value"
    if condition.operator is Operator.IN:
        return f"{title} is one of {', '.join(_value(each) for each in condition.value)}"
    return f"{title} {_WORDS[condition.operator]} {_value(condition.value)}"


def _direction(kind: Kind, *, is_descending: bool) -> str:
    if kind is Kind.TIME:
        return "the newest first" if is_descending else "the oldest first"
    if kind in {Kind.INTEGER, Kind.NUMBER, Kind.BYTES, Kind.SECONDS, Kind.FLAG}:
        return "the largest first" if is_descending else "the smallest first"
    return "from the end of the alphabet" if is_descending else "in alphabetical order"


def _lower(title: str) -> str:
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"
