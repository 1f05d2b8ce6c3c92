"""The process of one query: ``python -m pipeline.view.sql.process``, which talks :mod:`pipeline.view.sql.messages`.

It is a process so that a query can neither slow the worker's loop nor take its memory, and can be ended whatever it does. What
it may do is bounded several times over: the statement is read before (:mod:`pipeline.view.sql.statement`); DuckDB runs without
files, network, extensions and changes of its settings; the operating system bounds memory, CPU time and the size of files.
"""

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import duckdb
import msgspec

from pipeline.errors import ViewQueryError
from pipeline.view.sql.catalogue import literal, quoted
from pipeline.view.sql.limits import MOST_COLUMNS, SqlLimits
from pipeline.view.sql.messages import (
    Answer,
    Ask,
    Done,
    Failed,
    Load,
    Loaded,
    Output,
    Request,
    ResultColumn,
    Run,
    TableShape,
    Understood,
)
from pipeline.view.sql.problem import in_words
from pipeline.view.sql.statement import read_statement

_NICENESS: Final = 10
_SPARE_CPU_S: Final = 5
_ROWS_AT_ONCE: Final = 1000
_LONGEST_ROW_BYTES: Final = 32 << 20
_FILL: Final = "CREATE TABLE filled.main.rows AS SELECT {taken} FROM {rows}"
_RESULT: Final = "answer.main.result"
_AS_RESULT: Final = f"CREATE OR REPLACE VIEW {_RESULT} AS "
_CLOSING: Final = (
    "SET enable_external_access = false",
    "SET autoload_known_extensions = false",
    "SET autoinstall_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET python_enable_replacements = false",
    "SET errors_as_json = true",
    "SET lock_configuration = true",
)


def main() -> int:
    """Answer the requests that come in, until there is no more or one cannot be done."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    ask: Ask | None = None
    for line in requests:
        request: Request = msgspec.json.decode(line, type=Request)
        try:
            if isinstance(request, Ask):
                _fence(request.limits)
                ask = request
            assert ask is not None, "nothing was asked yet"
            answer = _answer(ask, request)
        except ViewQueryError as refusal:
            answer = Failed(str(refusal))
        except (duckdb.Error, MemoryError, OSError) as error:
            answer = Failed(in_words(error, ask.query if ask else "", len(_AS_RESULT)))
        _say(answers, answer)
        if isinstance(answer, Failed):
            return 1
    return 0


def _answer(ask: Ask, request: Request) -> Answer:
    if isinstance(request, Load):
        return load(ask, request)
    return run(ask, request) if isinstance(request, Run) else examine(ask)


def _say(answers: BinaryIO, answer: Answer) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


def _fence(limits: SqlLimits) -> None:
    """What the operating system can bound; where it cannot, DuckDB's own limits and the worker's clock remain."""
    os.nice(_NICENESS)
    cpu_s = int(limits.time_s + limits.load_s) + _SPARE_CPU_S
    for what, most in (
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 2 * limits.export_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def examine(ask: Ask) -> Understood:
    """Read the query and bind it to tables without rows, so that its mistakes are known before anything is loaded.

    Raises ``ViewQueryError`` or DuckDB's own error.
    """
    with closed_database(ask.limits) as connection:
        statement = read_statement(connection, ask.query, (table.name for table in ask.tables))
        for table in ask.tables:
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind, _ in table.columns)
            connection.execute(f"CREATE TABLE {quoted(table.name)} ({columns})")
        with _at_most(connection, ask.limits.time_s):
            connection.execute(_AS_RESULT + statement.text)
            _columns(connection)
    return Understood(statement.tables)


def run(ask: Ask, order: Run) -> Done:
    """Run the query over tables that are loaded.

    Raises ``ViewQueryError`` where a limit is reached, or DuckDB's own error.
    """
    with closed_database(ask.limits, order) as connection:
        for shape in ask.tables:
            connection.execute(_as_loaded(shape) if shape.name in order.files else _as_absent(shape))
        started = time.monotonic()
        with _at_most(connection, ask.limits.time_s):
            connection.execute(_AS_RESULT + read_statement(connection, ask.query, ()).text)
            columns = _columns(connection)
            write = _write_parquet if order.output is Output.PARQUET else _write_rows
            rows, is_cut = write(connection, columns, order)
    return Done(columns, rows, is_cut, time.monotonic() - started)


@contextlib.contextmanager
def closed_database(limits: SqlLimits, order: Run | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory beside the loaded tables, closed against everything else."""
    with _connected(limits) as connection:
        connection.execute("ATTACH ':memory:' AS answer")
        if order is not None:
            for table, file in order.files.items():
                connection.execute(f"ATTACH {literal(file)} AS {quoted(_inner(table))} (READ_ONLY)")
            if order.output is Output.PARQUET:
                connection.execute(f"SET allowed_paths = [{literal(order.result)}]")
        for setting in _CLOSING:
            connection.execute(setting)
        yield connection


@contextlib.contextmanager
def _connected(limits: SqlLimits) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": f"{limits.memory_bytes}B",
            "temp_directory": "spill",
            "max_temp_directory_size": f"{limits.export_bytes}B",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _inner(table: str) -> str:
    return f"loaded_{table}"


def _as_loaded(shape: TableShape) -> str:
    return f"CREATE VIEW {quoted(shape.name)} AS FROM {quoted(_inner(shape.name))}.main.rows"


def _as_absent(shape: TableShape) -> str:
    """A table that the query was not known to read: it has columns, and whoever reads its rows is told."""
    columns = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind, _ in shape.columns)
    told = literal(f"the rows of {shape.name} were not loaded for this query")
    return f"CREATE VIEW {quoted(shape.name)} AS SELECT {columns} WHERE error({told}) IS NULL"


def load(ask: Ask, order: Load) -> Loaded:
    """Make a table's database of its rows, in which times are UNIX seconds.

    Raises ``ViewQueryError`` where a row does not fit the table's columns.
    """
    (shape,) = (table for table in ask.tables if table.name == order.table)
    read = ", ".join(f"{literal(key)}: {literal(_written_as(kind))}" for _, kind, key in shape.columns)
    taken = ", ".join(_taken(name, kind, key) for name, kind, key in shape.columns)
    try:
        with _connected(ask.limits) as connection, _at_most(connection, ask.limits.load_s):
            connection.execute(f"ATTACH {literal(order.file)} AS filled")
            rows = (
                f"read_json({literal(order.rows_file)}, format = 'newline_delimited', columns = {{{read}}}, "
                f"maximum_object_size = {_LONGEST_ROW_BYTES})"
            )
            made = connection.execute(_FILL.format(taken=taken, rows=rows)).fetchone()
            connection.execute("DETACH filled")
    except duckdb.Error as error:
        raise ViewQueryError(f"table {shape.name} cannot be loaded: {in_words(error)}") from None
    return Loaded(int(made[0]) if made else 0)


def _written_as(kind: str) -> str:
    return "DOUBLE" if kind == "TIMESTAMPTZ" else kind


def _taken(name: str, kind: str, key: str) -> str:
    value = f"TRY(to_timestamp({quoted(key)}))" if kind == "TIMESTAMPTZ" else quoted(key)
    return f"{value} AS {quoted(name)}"


@contextlib.contextmanager
def _at_most(connection: duckdb.DuckDBPyConnection, limit_s: float) -> Iterator[None]:
    """Interrupt what runs within when its time is over; raises ``ViewQueryError`` then."""
    is_over = threading.Event()

    def interrupt() -> None:
        is_over.set()
        connection.interrupt()

    timer = threading.Timer(limit_s, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
        if is_over.is_set():
            raise ViewQueryError(_too_long(limit_s))
    except duckdb.InterruptException:
        raise ViewQueryError(_too_long(limit_s)) from None
    finally:
        timer.cancel()


def _too_long(limit_s: float) -> str:
    return f"the query was stopped after {limit_s:g} seconds; ask for less: fewer rows, a shorter time, one integration"


def _columns(connection: duckdb.DuckDBPyConnection) -> tuple[ResultColumn, ...]:
    described = connection.execute(f"DESCRIBE {_RESULT}").fetchall()
    if len(described) > MOST_COLUMNS:
        raise ViewQueryError(f"the result has {len(described):,} columns; at most {MOST_COLUMNS} are shown")
    return tuple(ResultColumn(name, kind) for name, kind, *_ in described)


def _write_rows(
    connection: duckdb.DuckDBPyConnection, columns: tuple[ResultColumn, ...], order: Run
) -> tuple[int, bool]:
    """Each row a JSON array on a line; gives how many, and whether there would be more."""
    values = ", ".join(_as_json(column) for column in columns)
    connection.execute(f"SELECT json_array({values})::VARCHAR FROM {_RESULT} LIMIT {order.most_rows + 1}")  # noqa: S608 all names are quoted
    rows = size_bytes = 0
    with Path(order.result).open("wb", buffering=1 << 20) as file:
        while found := connection.fetchmany(_ROWS_AT_ONCE):
            for (text,) in found:
                line = text.encode()
                size_bytes += len(line) + 1
                if rows == order.most_rows or size_bytes > order.most_bytes:
                    return rows, True
                file.write(line)
                file.write(b"\n")
                rows += 1
    return rows, False


def _as_json(column: ResultColumn) -> str:
    """A value as the view's rows hold it: times in UNIX seconds, durations in seconds, bytes as text."""
    name = quoted(column.name)
    if (column.type.startswith("TIMESTAMP") and not column.type.endswith("]")) or column.type == "INTERVAL":
        return f"epoch({name})"
    if column.type in {"DOUBLE", "FLOAT"}:
        return f"CASE WHEN isfinite({name}) THEN to_json({name}) ELSE to_json({name}::VARCHAR) END"
    if column.type == "BLOB":
        return f"{name}::VARCHAR"
    return name


def _write_parquet(
    connection: duckdb.DuckDBPyConnection, columns: tuple[ResultColumn, ...], order: Run
) -> tuple[int, bool]:
    values = ", ".join(
        f"{quoted(each.name)}::VARCHAR AS {quoted(each.name)}" if each.type == '"NULL"' else quoted(each.name)
        for each in columns
    )
    query = f"SELECT {values} FROM {_RESULT} LIMIT {order.most_rows}"  # noqa: S608 all names are quoted
    copied = connection.execute(f"COPY ({query}) TO {literal(order.result)} (FORMAT parquet)").fetchone()
    rows = int(copied[0]) if copied else 0
    return rows, rows == order.most_rows


if __name__ == "__main__":
    sys.exit(main())
