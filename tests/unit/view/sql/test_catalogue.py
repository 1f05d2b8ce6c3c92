"""Names, types and kinds: how the view's columns become SQL's and back."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.view.columns import Column, Kind
from pipeline.view.sql.catalogue import kind_of, literal, quoted, shown, sql_name, sql_type
from pipeline.view.sql.messages import ResultColumn
from pipeline.view.sql.problem import in_words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("at", "at_"),
        ("table:pending-http", "table_pending_http"),
        ("dead_letters", "dead_letters"),
        ("Größe", "gr_e"),
        ("2xx", "_2xx"),
        ("", "_"),
        ("order", "order_"),
    ],
)
def test_a_name_becomes_one_that_needs_no_quotes(name, expected):
    assert sql_name(name) == expected


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_name_can_be_used_without_quotes(name):
    duckdb.sql(f"SELECT 1 AS {sql_name(name)}").fetchall()
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t ({sql_name(name)} INTEGER)")
    connection.execute(f"SELECT {sql_name(name)} FROM t WHERE {sql_name(name)} > 1 ORDER BY {sql_name(name)}")
    connection.close()


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30))
def test_any_text_can_be_quoted_as_a_name_and_as_a_value(text):
    result = duckdb.sql(f"SELECT {literal(text)} AS {quoted(text)}")
    assert (result.columns, result.fetchall()) == ([text], [(text,)])


@pytest.mark.parametrize("kind", Kind)
def test_a_column_that_is_only_selected_keeps_its_kind(kind):
    column = Column("x", "X", kind)
    type_name = str(duckdb.sql(f"SELECT NULL::{sql_type(column)} AS x").types[0])
    assert shown(ResultColumn("x", type_name), {"x": column}).kind is kind


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("HUGEINT", Kind.INTEGER),
        ("DECIMAL(9,2)", Kind.NUMBER),
        ("TIMESTAMP", Kind.TIME),
        ("TIMESTAMP WITH TIME ZONE", Kind.TIME),
        ("TIMESTAMP WITH TIME ZONE[]", Kind.JSON),
        ("STRUCT(a INTEGER)", Kind.JSON),
        ("INTEGER[]", Kind.JSON),
        ("INTERVAL", Kind.SECONDS),
        ("DATE", Kind.TEXT),
        ("ENUM('a')", Kind.TEXT),
        ('"NULL"', Kind.TEXT),
    ],
)
def test_every_type_has_a_kind(type_name, kind):
    assert kind_of(type_name) is kind


def test_a_column_of_the_same_name_with_other_values_is_not_taken_for_it():
    known = {"size_bytes": Column("size_bytes", "Size", Kind.BYTES)}
    assert shown(ResultColumn("size_bytes", "VARCHAR"), known).kind is Kind.TEXT


@settings(deadline=None)
@given(before=st.text(st.characters(codec="utf-8"), max_size=40), after=st.text(max_size=10).filter(str.isalnum))
def test_the_mark_of_a_mistake_stands_below_its_place(before, after):
    query = before + "!" + after
    error = duckdb.Error(f'Parser Error: {{"exception_message":"wrong","position":"{10 + len(before.encode())}"}}')
    *_, line, mark = in_words(error, query, 10).split("\n")
    assert line[len(mark) - 1] == "!"


def test_an_error_without_a_place_is_shown_as_it_is():
    assert in_words(duckdb.Error("Some Error: as it is")) == "Some Error: as it is"
