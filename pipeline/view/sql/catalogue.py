"""What tables there are in SQL, made from the columns of the view's sources."""

import re
from dataclasses import dataclass
from typing import Final

from pipeline.view.columns import Column, Columns, Kind
from pipeline.view.formats.text import inert
from pipeline.view.sql.messages import ResultColumn, TableShape

_TYPES: Final = {
    Kind.TEXT: "VARCHAR",
    Kind.CODE: "VARCHAR",
    Kind.STATE: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.BYTES: "BIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.SECONDS: "DOUBLE",
    Kind.TIME: "TIMESTAMPTZ",
    Kind.FLAG: "BOOLEAN",
    Kind.JSON: "JSON",
    Kind.PICTURE: "DOUBLE[]",
}
_WHOLE: Final = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?")
_KINDS: Final = {
    "BOOLEAN": Kind.FLAG,
    "DOUBLE": Kind.NUMBER,
    "FLOAT": Kind.NUMBER,
    "INTERVAL": Kind.SECONDS,
    "JSON": Kind.JSON,
    "BLOB": Kind.CODE,
    "UUID": Kind.CODE,
}
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9_]+")

# Words that DuckDB does not take for a column's name, of those that such names are made of.
_WORDS_OF_SQL: Final = frozenset(
    """
    all analyse analyze and any array as asc asof asymmetric at authorization binary both by case cast check collate column
    columns constraint create cross default deferrable desc describe distinct do else end except false fetch for foreign freeze
    from full generated glob group having ilike in initially inner intersect into is isnull join lambda lateral leading left like
    limit map natural not notnull null offset on only or order outer overlaps pivot placing positional primary qualify references
    returning right select semi show similar some struct summarize symmetric table then to trailing true tuple union unique
    unpivot using variadic verbose when where window with
    """.split()  # noqa: SIM905 a list of literals would take a screen
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the SQL page: its name in SQL, what a row of it is, and the columns of the source behind it."""

    name: str
    meaning: str
    columns: Columns

    @property
    def shape(self) -> TableShape:
        """Its columns as SQL has them."""
        return TableShape(self.name, tuple((sql_name(each.name), sql_type(each), each.name) for each in self.columns))


def sql_name(name: str) -> str:
    """The name for SQL, usable without quotes: what is no letter or digit becomes ``_``; a word of SQL gets one behind it (``at_``)."""
    word = _NOT_A_WORD.sub("_", name.lower())
    return f"{word}_" if word in _WORDS_OF_SQL or not word else f"_{word}" if word[0].isdigit() else word


def sql_type(column: Column) -> str:
    """The SQL type that holds a column's values; times are ``TIMESTAMPTZ``, so that they compare with ``now()``."""
    return _TYPES[column.kind]


def quoted(name: str) -> str:
    """Any text as a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Any text as a value in SQL."""
    return "'" + text.replace("'", "''") + "'"


def shown(column: ResultColumn, known: dict[str, Column]) -> Column:
    """How a column of a result is shown.

    ``known`` are the columns of the tables that the query reads, by their SQL names: one of the same name, which holds the same
    kind of values, is taken to be that column, so that sizes, durations and states look as on the other pages.
    """
    source, title = known.get(column.name), inert(column.name)
    if source is not None and kind_of(sql_type(source)) is kind_of(column.type):
        return Column(column.name, title, source.kind, source.help, is_sortable=False)
    return Column(column.name, title, kind_of(column.type), inert(column.type), is_sortable=False)


def kind_of(type_name: str) -> Kind:
    """The kind of column that shows values of an SQL type."""
    if type_name.endswith("]") or type_name.startswith(("STRUCT", "MAP", "UNION")):
        return Kind.JSON
    if type_name.startswith("TIMESTAMP"):
        return Kind.TIME
    if type_name.startswith("DECIMAL"):
        return Kind.NUMBER
    if _WHOLE.fullmatch(type_name):
        return Kind.INTEGER
    return _KINDS.get(type_name, Kind.TEXT)
