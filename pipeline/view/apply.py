"""A query over rows in memory: filtering, order, one page of it, facets."""

import heapq
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from pipeline.view.columns import Column, Columns, Kind, Row, column_named
from pipeline.view.query import Condition, Operator, Query

MOST_FACET_VALUES = 20
FACET_VALUES_A_SHARD = 1000
"""Values that one worker counts: so many that what the merged answer shows is exact, unless nearly each row has its own."""
_TEXTS = frozenset({Kind.TEXT, Kind.CODE, Kind.STATE, Kind.JSON})
_COMPARISONS: Final = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}

Matches = Callable[[Row], bool]


class Selected(NamedTuple):
    """One page of rows in order, whether more follow, how many match in all, and counts for the facets asked for."""

    rows: list[Row]
    has_more: bool
    matching: int
    facets: dict[str, list[tuple[Any, int]]]


def select(rows: Iterable[Row], query: Query, columns: Columns, facet_values: int = MOST_FACET_VALUES) -> Selected:
    """Apply ``query`` to ``rows``. Reads each row once and keeps only what the answer holds, where it has a limit.

    ``facet_values`` is how many values are counted of each facet at most, the most frequent ones.
    """
    counts: dict[str, Counter[Any]] = {name: Counter() for name in query.facets}
    matches = matcher(query, columns)
    matching = 0

    def wanted() -> Iterable[Row]:
        nonlocal matching
        for row in rows:
            if matches(row):
                matching += 1
                for name, counter in counts.items():
                    counter[countable(row.get(name))] += 1
                if query.after is None or is_after(row, query):
                    yield row

    if query.limit is None:
        chosen = sorted(wanted(), key=lambda row: order_of(row, query), reverse=query.is_descending)
        has_more = False
    else:
        pick = heapq.nlargest if query.is_descending else heapq.nsmallest
        chosen = pick(query.limit + 1, wanted(), key=lambda row: order_of(row, query))
        has_more = len(chosen) > query.limit
        chosen = chosen[: query.limit]
    facets = {name: counter.most_common(facet_values) for name, counter in counts.items()}
    return Selected(chosen, has_more, matching, facets)


def matcher(query: Query, columns: Columns) -> Matches:
    """What tells of a row whether ``query`` asks for it, whatever its place; made once, to be asked of many rows."""
    tests = [_test(condition, column_named(columns, condition.column)) for condition in query.conditions]
    if query.text:
        tests.append(_text_test(query.text, [each.name for each in columns if each.kind in _TEXTS]))
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def order_of(row: Row, query: Query) -> tuple[tuple[int, Any], tuple[int, Any]]:
    """What rows are ordered by: the sorted column, then the key; unknown values come first."""
    return ranked(row.get(query.sort)), ranked(row.get(query.key))


def ranked(value: Any) -> tuple[int, Any]:
    """A value that compares with those of any other type."""
    if value is None:
        return 0, 0
    if isinstance(value, int | float):  # also flags
        return 1, value
    return 2, value if isinstance(value, str) else str(value)


def is_after(row: Row, query: Query) -> bool:
    """Whether a row comes after the place where the query begins."""
    assert query.after is not None
    here, there = order_of(row, query), (ranked(query.after[0]), ranked(query.after[1]))
    return here < there if query.is_descending else here > there


def countable(value: Any) -> Any:
    """The value as facets count it."""
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _test(condition: Condition, column: Column | None) -> Matches:  # noqa: PLR0911 one return an operator reads best
    name, wanted = condition.column, condition.value
    match condition.operator:
        case Operator.BLANK:
            is_wanted = bool(wanted)
            return lambda row: (row.get(name) in (None, "")) is is_wanted
        case Operator.CONTAINS:
            return _text_test(str(wanted), [name])
        case Operator.EXACT:
            return lambda row: bool(row.get(name) == wanted)
        case Operator.NOT:
            return lambda row: bool(row.get(name) != wanted)
        case Operator.IN:
            return lambda row: row.get(name) in wanted
    if column is None:
        return lambda _row: False
    compare, right = _COMPARISONS[condition.operator], ranked(wanted)
    return lambda row: row.get(name) is not None and bool(compare(ranked(row[name]), right))


def _text_test(text: str, names: Sequence[str]) -> Matches:
    needle = text.casefold()
    return lambda row: any(row.get(name) is not None and needle in str(row[name]).casefold() for name in names)
