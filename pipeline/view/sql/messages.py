"""What the worker and the process of a query say to each other: one line of JSON a message.

The worker sends :class:`Ask` and gets :class:`Understood`; it gathers the tables, sends a :class:`Load` for each and gets :class:`Loaded`;
it sends :class:`Run` and gets :class:`Done`. Instead of any of these the process may answer :class:`Failed`, and ends.
"""

import enum

import msgspec

from pipeline.view.sql.limits import SqlLimits


class Output(enum.StrEnum):
    """The form of a result's file."""

    ROWS = "rows"  # a line a row, each a JSON array
    PARQUET = "parquet"


class TableShape(msgspec.Struct, frozen=True):
    """A table's name, and of each of its columns the name, the SQL type, and the key that it has in rows."""

    name: str
    columns: tuple[tuple[str, str, str], ...]


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Whether a query is one, and what it reads."""

    query: str
    tables: tuple[TableShape, ...]
    limits: SqlLimits


class Understood(msgspec.Struct, frozen=True, tag="understood"):
    """The query can be run; ``tables`` are those that must be loaded for it."""

    tables: tuple[str, ...]


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Make the database ``file`` of a table from the JSON lines in ``rows_file``."""

    table: str
    rows_file: str
    file: str


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The table's database is there."""

    rows: int


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run the query over the tables in the database ``files``, by name; its result goes to the file ``result``."""

    files: dict[str, str]
    output: Output
    result: str
    most_rows: int
    most_bytes: int


class ResultColumn(msgspec.Struct, frozen=True):
    """A column of the result: its name, different from all others', and its SQL type."""

    name: str
    type: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The result is in its file. ``is_cut`` says that there would be more."""

    columns: tuple[ResultColumn, ...]
    rows: int
    is_cut: bool
    elapsed_s: float


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It cannot be done; ``problem`` is for the person who asked."""

    problem: str


Request = Ask | Load | Run
Answer = Understood | Loaded | Done | Failed
