"""What a viewer asked of a source of rows, as the URL says it: the URL is the whole state of a page.

``q=word``, ``integration=crm`` (exact), ``status__gt=499`` (an operator after two underscores), ``facet=status``,
``sort=-at`` (minus: descending), ``after=CURSOR``, ``size=50``.
"""

import base64
import binascii
import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline.errors import ViewQueryError
from pipeline.view.columns import Columns, Kind, column_named

DEFAULT_SIZE: Final = 50
MOST_ROWS_A_PAGE: Final = 1000
LONGEST_TEXT: Final = 1000
ALL_ROWS: Final = "all"
"""What ``size`` says for an export: no page, but every row. Not for HTML, which the server refuses."""

RESERVED: Final = frozenset(
    {"q", "sort", "after", "size", "facet", "cols", "tz", "refresh", "section", "partial", "since", "until"}
)
"""Parameters that are no columns."""

OF_TABLES: Final = frozenset({"q", "sort", "after", "size", "facet", "cols", "since", "until"})
"""Those of them that say which rows of a table are shown, and how."""

_FIELDS: Final = ("_column", "_operator", "_value")


class Operator(enum.StrEnum):
    """How a condition compares."""

    EXACT = "exact"
    NOT = "not"
    CONTAINS = "contains"
    GREATER = "gt"
    AT_LEAST = "gte"
    LESS = "lt"
    AT_MOST = "lte"
    IN = "in"  # a list with commas
    BLANK = "blank"  # 1: has no value, 0: has one


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. ``value`` is of the column's own type; a tuple for ``IN``, a bool for ``BLANK``."""

    column: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, in which order, from where on.

    All ``conditions`` hold, and ``text``, where there is one, stands in some text column. ``sort`` names a column, ``key`` the
    column that is different in every row: order is by both, in the direction of ``is_descending``. ``after`` is the pair of
    the last row seen. ``limit`` is ``None`` for an export.
    """

    conditions: tuple[Condition, ...] = ()
    text: str = ""
    sort: str = ""
    is_descending: bool = False
    key: str = ""
    after: tuple[Any, Any] | None = None
    limit: int | None = DEFAULT_SIZE
    facets: tuple[str, ...] = ()

    def where(self, column: str, value: Any, operator: Operator = Operator.EXACT) -> "Query":
        """The same with one condition more."""
        return replace(self, conditions=(*self.conditions, Condition(column, operator, value)))


def parse_query(
    parameters: Iterable[tuple[str, str]], columns: Columns, *, key: str, sort: str, is_descending: bool = False
) -> Query:
    """Read a query from a URL's parameters; ``sort`` is the order where the URL names none.

    Raises ``ViewQueryError`` for an unknown column or operator, or a value that is none of the column's kind.
    """
    conditions: list[Condition] = []
    found: dict[str, str] = {}
    facets: list[str] = []
    for name, value in parameters:
        if len(value) > LONGEST_TEXT:
            raise ViewQueryError(f"{name[:40]}: is longer than {LONGEST_TEXT} characters")
        if name == "facet":
            facets.append(_known(value, columns))
        elif name in RESERVED:
            found[name] = value
        elif value != "" or name.endswith("__blank"):
            conditions.append(_condition(name, value, columns))
    order = found.get("sort") or ("-" if is_descending else "") + sort
    column = _known(order.removeprefix("-"), columns)
    return Query(
        conditions=tuple(conditions),
        text=found.get("q", "").strip(),
        sort=column,
        is_descending=order.startswith("-"),
        key=key,
        after=parse_cursor(found["after"]) if found.get("after") else None,
        limit=_size(found.get("size", "")),
        facets=tuple(dict.fromkeys(facets)),
    )


def tidied(parameters: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parameters as a URL should hold them: empty ones left out, and the fields of a new condition made one parameter.

    A form without a script cannot name a field by what was chosen, so it sends ``_column``, ``_operator`` and ``_value``:
    ``status``, ``gt`` and ``499`` become ``status__gt=499``.
    """
    fields: dict[str, str] = {}
    kept: list[tuple[str, str]] = []
    for name, value in parameters:
        if name in _FIELDS:
            fields[name] = value
        elif value != "" or name.endswith("__blank"):
            kept.append((name, value))
    column, operator, value = (fields.get(name, "") for name in _FIELDS)
    if column and operator == Operator.BLANK:
        kept.append((f"{column}__{operator}", value or "1"))
    elif column and value != "":
        kept.append((column if operator in {"", Operator.EXACT} else f"{column}__{operator}", value))
    return kept


def encode_cursor(sort_value: Any, key_value: Any) -> str:
    """The text for ``after`` that stands for a row."""
    raw = json.dumps([sort_value, key_value], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def parse_cursor(text: str) -> tuple[Any, Any]:
    """Read ``after``; raises ``ViewQueryError`` where it is none of ours."""
    try:
        pair = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        pair = None
    if not isinstance(pair, list) or len(pair) != 2 or any(isinstance(each, list | dict) for each in pair):  # noqa: PLR2004 a pair
        raise ViewQueryError("after: is no place in this list; open the list again without it")
    return pair[0], pair[1]


def _condition(name: str, text: str, columns: Columns) -> Condition:
    column_name, separator, word = name.partition("__")
    column = column_named(columns, column_name)
    if column is None:
        raise ViewQueryError(f"{name[:80]}: there is no such column; there are {_listed(columns)}")
    try:
        operator = Operator(word) if separator else Operator.EXACT
    except ValueError:
        raise ViewQueryError(
            f"{name[:80]}: there is no operator {word[:40]!r}; there are {', '.join(Operator)}"
        ) from None
    if operator is Operator.BLANK:
        return Condition(column.name, operator, text not in {"0", "false", "no"})
    if operator is Operator.IN:
        return Condition(
            column.name, operator, tuple(_value(part.strip(), column.kind, name) for part in text.split(","))
        )
    if operator is Operator.CONTAINS:
        return Condition(column.name, operator, text)
    return Condition(column.name, operator, _value(text, column.kind, name))


def _value(text: str, kind: Kind, name: str) -> Any:
    if kind is Kind.FLAG:
        if text.lower() not in {"0", "1", "true", "false", "yes", "no"}:
            raise ViewQueryError(f"{name[:80]}: {text[:40]!r} is neither true nor false")
        return text.lower() in {"1", "true", "yes"}
    if kind in {Kind.INTEGER, Kind.BYTES, Kind.NUMBER, Kind.SECONDS, Kind.TIME}:
        try:
            number = float(text)
            is_number = number == number and abs(number) != float("inf")  # noqa: PLR0124 NaN alone differs from itself
        except ValueError:
            is_number = False
        if not is_number:
            raise ViewQueryError(f"{name[:80]}: {text[:40]!r} is not a number")
        return int(number) if number.is_integer() else number
    return text


def _known(name: str, columns: Columns) -> str:
    if column_named(columns, name) is None:
        raise ViewQueryError(f"{name[:80]!r} is no column here; there are {_listed(columns)}")
    return name


def _listed(columns: Columns) -> str:
    return ", ".join(column.name for column in columns)


def _size(text: str) -> int | None:
    if not text:
        return DEFAULT_SIZE
    if text == ALL_ROWS:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_ROWS_A_PAGE:
        raise ViewQueryError(f"size: must be a whole number from 1 to {MOST_ROWS_A_PAGE}, or {ALL_ROWS}")
    return int(text)
