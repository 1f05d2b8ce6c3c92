"""The examples that the page offers answer their questions; the page of documentation shows the same."""

import time
from pathlib import Path

import pytest

from agents.view.sql_reference import documented, page
from pipeline.view.sql.catalogue import sql_name
from pipeline.view.sql.examples import EXAMPLES
from pipeline.view.sql.limits import SqlLimits
from pipeline.view.sql.messages import Ask, TableShape
from pipeline.view.sql.process import examine

DOCS = Path(__file__).parents[4] / "docs" / "sql.md"
SHAPES = tuple(table.shape for table in documented())


def columns_of(name: str):
    return next(table.columns for table in documented() if table.name == name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.question)
def test_an_example_fits_the_tables_that_there_are(example):
    assert examine(Ask(example.query, SHAPES, SqlLimits())).tables


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.question)
def test_the_documentation_works_through_every_example(example):
    text = DOCS.read_text(encoding="utf-8")
    assert f"### {example.question}\n\n```sql\n{example.query}\n```\n\n{example.reading}\n" in text


def test_the_tables_of_the_documentation_are_those_of_the_code():
    assert DOCS.read_text(encoding="utf-8") == page()


def test_no_two_columns_of_a_table_have_one_name_in_sql():
    for table in documented():
        names = [sql_name(column.name) for column in table.columns]
        assert len(names) == len(set(names)), table.name


def test_every_column_can_be_named_without_quotes():
    for shape in SHAPES:
        query = f"SELECT {', '.join(name for name, *_ in shape.columns)} FROM {shape.name}"
        assert examine(Ask(query, (TableShape(shape.name, shape.columns),), SqlLimits())).tables == (shape.name,)


async def test_what_is_waiting_is_told_for_each_integration_with_its_last_failure(desk):
    desk.tables = tuple(table for table in documented() if table.name == "batches")
    now_s = time.time()
    batches = [
        {
            "integration": "crm",
            "outcome": "retrying",
            "events": 100,
            "sealed_at": now_s - 60,
            "tries": 2,
            "tried_at": now_s - 9,
            "status": 503,
            "detail": "busy",
        },
        {"integration": "crm", "outcome": "waiting", "events": 50, "sealed_at": now_s - 30, "tries": 0},
        {
            "integration": "crm",
            "outcome": "delivered",
            "events": 70,
            "sealed_at": now_s - 90,
            "tries": 1,
            "tried_at": now_s,
            "status": 200,
        },
        {"integration": "mail", "outcome": "waiting", "events": 5, "sealed_at": now_s - 600, "tries": 0},
    ]
    desk.rows["batches"] = batches
    waiting = next(example.query for example in EXAMPLES if "waiting" in example.question)
    found = [
        (row["integration"], row["batches"], row["events"], row["last_status"], row["why"])
        for row in await desk.rows_of(waiting)
    ]
    assert found == [("mail", 1, 5, None, None), ("crm", 2, 150, 503, "busy")]


async def test_what_failed_yesterday_leaves_out_today_and_what_was_delivered(desk):
    desk.tables = tuple(table for table in documented() if table.name == "attempts")
    today_s = time.time() // 86_400 * 86_400
    tries = [
        {
            "integration": "crm",
            "status": 503,
            "verdict": "retry",
            "batch": "crm:0-1",
            "at": today_s - 10,
            "detail": "busy",
        },
        {
            "integration": "crm",
            "status": 503,
            "verdict": "retry",
            "batch": "crm:0-1",
            "at": today_s - 9,
            "detail": "busy",
        },
        {"integration": "crm", "status": 200, "verdict": "delivered", "batch": "crm:0-1", "at": today_s - 8},
        {
            "integration": "crm",
            "status": 503,
            "verdict": "retry",
            "batch": "crm:1-2",
            "at": today_s + 1,
            "detail": "busy",
        },
        {
            "integration": "crm",
            "status": 503,
            "verdict": "retry",
            "batch": "crm:1-2",
            "at": today_s - 90_000,
            "detail": "busy",
        },
    ]
    desk.rows["attempts"] = tries
    failed = next(example.query for example in EXAMPLES if "yesterday" in example.question)
    found = [(row["integration"], row["status"], row["tries"], row["batches"]) for row in await desk.rows_of(failed)]
    assert found == [("crm", 503, 2, 1)]
