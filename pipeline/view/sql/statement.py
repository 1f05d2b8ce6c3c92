"""What a query may be: one statement that reads, of the tables that there are, with functions that reach nothing else.

DuckDB's own parser takes the text apart; nothing here looks at the text itself. All that is not known to read is refused, and
the process of the query has no access to files and the network besides.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import duckdb

from pipeline.errors import ViewQueryError
from pipeline.view.sql.limits import LONGEST_QUERY

_READING: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS: Final = frozenset(
    {
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_types",
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "repeat_row",
        "unnest",
    }
)
_ALLOWED: Final = "one SELECT, WITH, FROM, VALUES, DESCRIBE, SUMMARIZE or SHOW statement can be run here"


class Statement(NamedTuple):
    """A query that may run: its text, without what surrounds it, and the tables whose rows it reads."""

    text: str
    tables: tuple[str, ...]


def read_statement(connection: duckdb.DuckDBPyConnection, query: str, tables: Iterable[str]) -> Statement:
    """Examine a query; ``connection`` lends its parser, and nothing is run.

    Raises ``ViewQueryError`` where it is not one statement that only reads, or DuckDB's own error where it is no SQL.
    """
    if len(query) > LONGEST_QUERY:
        raise ViewQueryError(f"the query has {len(query):,} characters; at most {LONGEST_QUERY:,} are read")
    if "\0" in query:
        raise ViewQueryError("the query holds a NUL character; write chr(0) where one is meant")
    found = connection.extract_statements(query)
    if not found:
        raise ViewQueryError(f"there is no query; {_ALLOWED}")
    if len(found) > 1:
        raise ViewQueryError(f"there are {len(found)} statements; {_ALLOWED}")
    (statement,) = found
    if statement.type is duckdb.StatementType.MULTI:
        raise ViewQueryError("PIVOT has to name its values here: PIVOT table ON column IN ('a', 'b') USING ...")
    if statement.type is not duckdb.StatementType.SELECT:
        raise ViewQueryError(f"{statement.type.name} does more than read; {_ALLOWED}")
    if statement.named_parameters:
        raise ViewQueryError("the query has parameters, and there is nothing to put in their place; write the values")
    return Statement(statement.query, _tables_of(_parsed(connection, statement.query), tables))


def _parsed(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    assert row is not None
    try:
        tree = json.loads(row[0])
    except RecursionError:
        raise ViewQueryError("the query is nested too deeply") from None
    if tree.get("error"):
        raise ViewQueryError(f"{tree.get('error_message', 'it cannot be taken apart')}; {_ALLOWED}")
    return tree


def _tables_of(tree: Any, tables: Iterable[str]) -> tuple[str, ...]:
    known = {name.casefold(): name for name in tables}
    named: dict[str, None] = {}
    for node, reads_rows in _nodes(tree):
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in _READING:
            what = kind.removesuffix("_NODE").removesuffix("_QUERY")
            raise ViewQueryError(f"{what} does more than read; {_ALLOWED}")
        if kind == "TABLE_FUNCTION":
            _check_table_function(node)
        if kind == "BASE_TABLE":
            name = known.get(str(node.get("table_name", "")).casefold())
            if name is not None and reads_rows:
                named[name] = None
    return tuple(named)


def _check_table_function(node: dict[str, Any]) -> None:
    function = node.get("function") or {}
    name = str(function.get("function_name", "")).casefold()
    if name not in _TABLE_FUNCTIONS:
        raise ViewQueryError(f"{name[:80]}() cannot be read from here; there are {', '.join(sorted(_TABLE_FUNCTIONS))}")


def _nodes(tree: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """All objects of the parsed query, each with whether rows are read there: DESCRIBE looks at columns alone."""
    waiting = [(tree, True)]
    while waiting:
        node, reads_rows = waiting.pop()
        if isinstance(node, list):
            waiting.extend((each, reads_rows) for each in reversed(node))
        elif isinstance(node, dict):
            yield node, reads_rows
            reads_rows = reads_rows and node.get("show_type") != "DESCRIBE"
            waiting.extend((each, reads_rows) for each in reversed(node.values()))
