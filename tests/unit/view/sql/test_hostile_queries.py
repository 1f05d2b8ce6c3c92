"""Queries that want more than to read: each is refused or stopped, with words and without a trace."""

import os
import time

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ViewQueryError
from pipeline.view.sql.limits import SqlLimits
from pipeline.view.sql.messages import Ask, Output
from pipeline.view.sql.process import closed_database, examine
from tests.support.sql_desk import TABLES

REACHING_OUT = [
    "COPY hours TO '{target}'",
    "COPY (SELECT 1) TO '{target}' (FORMAT csv)",
    "EXPORT DATABASE '{target}'",
    "ATTACH '{target}' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA version",
    "SET memory_limit = '100GB'",
    "RESET lock_configuration",
    "CALL pragma_version()",
    "CREATE TABLE stolen AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO hours VALUES ('x', 1)",
    "UPDATE hours SET matched = 0",
    "DELETE FROM hours",
    "DROP TABLE hours",
    "ALTER TABLE hours RENAME TO x",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "VACUUM",
    "USE other",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "COMMENT ON TABLE hours IS 'x'",
    "WITH gone AS (DELETE FROM hours RETURNING *) SELECT * FROM gone",
    "WITH more AS (INSERT INTO hours VALUES ('x', 1) RETURNING *) SELECT * FROM more",
    "WITH out AS (COPY hours TO '{target}') SELECT * FROM out",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/etc/passwd')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'https://203.0.113.1/x.parquet'",
    "SELECT * FROM glob('/*')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM hours WHERE EXISTS (FROM read_csv('/etc/passwd'))",
    "SELECT * FROM query('FROM hours')",
    "SELECT * FROM query_table('hours')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM pragma_database_list()",
    "SELECT getenv('HOME')",
    "SELECT * FROM TABLES",
    "SELECT * FROM requests",
    "SELECT * FROM sys",
    "SELECT ?",
    "SELECT $1",
    "SELECT $name",
]

MORE_THAN_ONE = [
    "SELECT 1; SELECT 2",
    "SELECT 1;; DROP TABLE hours",
    "SELECT 1 -- \n; DROP TABLE hours",
    "SELECT 1 /* ; */ ; COPY hours TO 'x'",
    "SELECT ';'; PRAGMA version",
    "/* SELECT 1 */",
    "-- SELECT 1",
    "",
    "   ",
    ";",
    "SELECT 1 /* no end",
    "SELECT 'no end",
    "SELECT $$ no end",
]

WITHOUT_END = [
    "SELECT count(*) FROM range(1000000000000)",
    f"SELECT count(*) FROM {', '.join(f'attempts a{number}' for number in range(12))} WHERE a1.took_s + a9.took_s > random()",
    "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r) FROM r ORDER BY 1 DESC",
    "SELECT sum(md5_number(range::VARCHAR) % 7) FROM range(1000000000000)",
]

TOO_LARGE = [
    "SELECT repeat('x', 1000000000)",
    "SELECT repeat(repeat('x', 1000000), range::INT) FROM range(100000)",
    "SELECT string_agg(md5(range::VARCHAR)) FROM range(100000000)",
    "SELECT list_sort(range(100000000))",
    "SELECT length(lpad('x', 2000000000, 'y'))",
    "SELECT list(a) FROM (SELECT range(10000) AS a FROM range(1000000))",
    "SELECT array_agg(repeat('x', 100000)) FROM range(1000000)",
]


def examined(query: str) -> None:
    """Have a query read as its process reads it, in this one."""
    examine(Ask(query, tuple(table.shape for table in TABLES), SqlLimits(time_s=5.0)))


@pytest.mark.parametrize("query", REACHING_OUT)
def test_a_query_that_does_more_than_read_is_refused(query, tmp_path):
    target = tmp_path / "stolen"
    with pytest.raises((ViewQueryError, duckdb.Error)) as refused:
        examined(query.format(target=target))
    assert not target.exists()
    assert "root:" not in str(refused.value)


@pytest.mark.parametrize("query", MORE_THAN_ONE)
def test_what_is_not_one_statement_is_refused(query):
    with pytest.raises((ViewQueryError, duckdb.Error)):
        examined(query)


@pytest.mark.parametrize(
    "query",
    [
        "COPY hours TO '{target}'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT 1; SELECT 2",
        "SELECT",
    ],
)
async def test_a_refusal_reaches_whoever_asked(desk, query, tmp_path):
    with pytest.raises(ViewQueryError) as refused:
        await desk.values_of(query.format(target=tmp_path / "stolen"))
    assert not (tmp_path / "stolen").exists()
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{target}'",
        "ATTACH '{target}' AS other",
        "FROM read_text('{folder}/*')",
        "FROM glob('{folder}/*')",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "FROM read_csv('{folder}/secret')",
    ],
)
def test_the_database_itself_refuses_what_the_reading_of_a_query_might_let_through(query, tmp_path):
    (tmp_path / "secret").write_text("a,b", encoding="utf-8")
    with closed_database(SqlLimits()) as connection, pytest.raises(duckdb.Error):
        connection.execute(query.format(target=tmp_path / "stolen", folder=tmp_path))
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("query", WITHOUT_END)
async def test_a_query_without_end_is_stopped_when_its_time_is_over(desk, query):
    started_s = time.monotonic()
    with pytest.raises(ViewQueryError, match=r"stopped after 2 seconds|Out of Memory"):
        await desk.values_of(query)
    assert time.monotonic() - started_s < 20


@pytest.mark.parametrize("query", TOO_LARGE)
async def test_a_query_that_wants_too_much_memory_is_stopped(desk, query):
    with pytest.raises(ViewQueryError, match=r"Out of Memory|memory|stopped after|was ended|Out of Range|exceeds"):
        await desk.values_of(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT '" + "x" * 1_000_000 + "'",
        "SELECT " + "+".join(["1"] * 9_000),
        "SELECT " + "NOT " * 4_000 + "true",
        "SELECT " + "[" * 5_000 + "]" * 5_000,
        "SELECT " + "CASE WHEN true THEN " * 900 + "1" + " END" * 900,
        "SELECT " + ", ".join(f"{number} AS c{number}" for number in range(1_500)),
    ],
    ids=["1 MB", "sum", "not", "lists", "cases", "columns"],
)
async def test_a_query_that_is_too_long_deep_or_wide_is_refused(desk, query):
    with pytest.raises(ViewQueryError, match=r"characters|deep|depth|columns|ended|memory"):
        await desk.values_of(query)


async def test_a_hostile_query_leaves_the_next_one_alone(desk):
    with pytest.raises(ViewQueryError):
        await desk.values_of("SELECT repeat('x', 1000000000)")
    assert await desk.values_of("SELECT count(*) FROM hours") == [(2,)]


async def test_the_process_sees_nothing_of_the_worker_s_environment_and_files(desk, monkeypatch):
    monkeypatch.setenv("CRM_TOKEN", "a-secret")
    async with desk.runner.query("SELECT 1", ()) as asked:
        environment = open(f"/proc/{asked._process.pid}/environ", "rb").read()  # noqa: ASYNC230, SIM115, PTH123
        assert b"a-secret" not in environment
        assert os.readlink(f"/proc/{asked._process.pid}/cwd") == str(asked.folder)  # noqa: PTH115
        assert os.getpriority(os.PRIO_PROCESS, asked._process.pid) >= os.getpriority(os.PRIO_PROCESS, 0)


async def test_a_table_that_was_not_loaded_is_told_and_never_counted_as_empty(desk):
    async with desk.runner.query("SELECT count(*) FROM hours", TABLES) as asked:
        with pytest.raises(ViewQueryError, match="the rows of hours were not loaded"):
            await asked.run({}, Output.ROWS, is_export=False)


async def test_the_error_of_a_query_says_where_it_is(desk):
    with pytest.raises(ViewQueryError) as wrong:
        await desk.values_of("SELECT\n  matched,\n  nope\nFROM hours")
    assert str(wrong.value).splitlines()[0] == 'Binder Error: Referenced column "nope" not found in FROM clause!'
    assert str(wrong.value).splitlines()[-3:] == ["line 3, column 3:", "  nope", "  ^"]


_WORDS = st.sampled_from(
    """SELECT FROM WHERE hours attempts ( ) , ; * ' " -- /* */ 1 'x' matched integration COPY TO '/tmp/x' ATTACH PRAGMA read_csv
    ('/etc/passwd') WITH AS RECURSIVE UNION ALL DESCRIBE SHOW TABLES SET = $1 ? :: INTEGER [ ] { } . ORDER BY LIMIT 3 GROUP NULL
    JOIN ON PIVOT VALUES CREATE TABLE DELETE INSERT INTO query unnest range ( 10 )""".split()  # noqa: SIM905 a list of literals would take a screen
)


@settings(max_examples=200, deadline=None)
@given(query=st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=80))
def test_any_text_is_read_or_refused_and_nothing_else(query):
    try:
        examined(query)
        told = "read"
    except (ViewQueryError, duckdb.Error) as refused:
        told = str(refused)
    assert told
    assert "INTERNAL" not in told


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=80))
async def test_any_text_gives_rows_or_is_refused(desk, query):
    try:
        told = str(await desk.rows_of(query))
    except ViewQueryError as refused:
        told = str(refused)
    assert told
    assert "Traceback" not in told
