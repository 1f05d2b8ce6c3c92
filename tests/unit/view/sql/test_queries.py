"""What an analyst's queries give, each in its own process."""

import asyncio
import io

import duckdb
import pytest

from pipeline.errors import UnavailableError, ViewQueryError
from pipeline.view.columns import Kind
from pipeline.view.sql.limits import SqlLimits
from pipeline.view.sql.messages import Output
from pipeline.view.sql.run import SqlRunner
from tests.support.sql_desk import TABLES, attempt


async def test_a_query_counts_the_rows_of_a_table(desk):
    assert await desk.values_of("SELECT status, count(*) FROM attempts GROUP BY ALL ORDER BY 1") == [(200, 6), (503, 4)]


async def test_tables_can_be_joined(desk):
    query = "SELECT h.matched, count(*) n FROM attempts a JOIN hours h ON h.integration = split_part(a.batch, ':', 1) GROUP BY 1"
    assert await desk.rows_of(query) == [{"matched": 10, "n": 10}]


async def test_rows_come_in_the_order_that_was_asked_for(desk):
    found = await desk.values_of("SELECT size_bytes FROM attempts ORDER BY size_bytes DESC LIMIT 3")
    assert found == [(9000,), (8000,), (7000,)]


async def test_values_come_back_as_they_were(desk):
    (row,) = await desk.rows_of("FROM attempts WHERE size_bytes = 4000")
    assert row == {("at_" if name == "at" else name): value for name, value in attempt(4).items()}


async def test_columns_of_a_table_keep_their_kinds_and_others_get_that_of_their_type(desk):
    result = await desk.result(
        "SELECT batch, max(at) AS at, sum(size_bytes) AS size_bytes, verdict, count(*) AS n, avg(took_s) AS took_s, "
        "now() - max(at_) AS age, is_last, details, 1.5 AS ratio FROM attempts GROUP BY ALL".replace(
            "max(at)", "max(at_)"
        )
    )
    kinds = {column.name: column.kind for column in result.columns}
    assert kinds == {
        "batch": Kind.CODE,
        "at": Kind.TIME,
        "size_bytes": Kind.BYTES,
        "verdict": Kind.STATE,
        "n": Kind.INTEGER,
        "took_s": Kind.SECONDS,
        "age": Kind.SECONDS,
        "is_last": Kind.FLAG,
        "details": Kind.JSON,
        "ratio": Kind.NUMBER,
    }
    _ = [row async for row in result.read()]


async def test_times_compare_with_now(desk):
    desk.rows["attempts"].append(attempt(11, at=4_000_000_000.0))
    assert await desk.values_of("SELECT count(*) FROM attempts WHERE at_ > now()") == [(1,)]


async def test_a_name_is_known_in_any_case_and_in_quotes(desk):
    assert await desk.values_of('SELECT count(*) FROM main."Hours", HOURS') == [(4,)]


async def test_describe_lists_the_columns_and_loads_no_rows(desk):
    desk.rows.clear()
    found = await desk.values_of("DESCRIBE hours")
    assert [row[:2] for row in found] == [("integration", "VARCHAR"), ("matched", "BIGINT")]


async def test_show_tables_lists_the_tables_that_there_are(desk):
    assert await desk.values_of("SHOW TABLES") == [("attempts",), ("hours",)]


async def test_a_name_that_a_query_gives_to_its_own_part_hides_the_table(desk):
    assert await desk.values_of("WITH hours AS (SELECT 7 AS n) SELECT n FROM hours") == [(7,)]


@pytest.mark.parametrize("ending", ["", ";", " ; -- done", "\n/* done */", " -- done"])
async def test_comments_and_semicolons_at_the_end_do_no_harm(desk, ending):
    assert await desk.values_of("SELECT 1" + ending) == [(1,)]


async def test_two_columns_of_one_name_are_told_apart(desk):
    assert await desk.rows_of("SELECT 1 AS a, 2 AS a") == [{"a": 1, "a_1": 2}]


async def test_any_text_can_be_the_name_of_a_column(desk):
    assert await desk.rows_of("""SELECT 1 AS "a""b<'\N{SNOWMAN}" """) == [{"a\"b<'\N{SNOWMAN}": 1}]


async def test_numbers_that_json_does_not_have_come_as_words(desk):
    query = "SELECT 'nan'::DOUBLE a, -'inf'::DOUBLE b, [1, 'nan'::DOUBLE] c, {'x': 'inf'::DOUBLE} d"
    assert await desk.values_of(query) == [("nan", "-inf", [1, "nan"], {"x": "inf"})]


async def test_bytes_dates_and_whole_numbers_of_any_size_can_be_shown(desk):
    query = (
        r"SELECT '\xFFa'::BLOB, DATE '2026-11-22', 170141183460469231731687303715884105727, NULL, INTERVAL 90 SECOND"
    )
    assert await desk.values_of(query) == [(r"\xFFa", "2026-11-22", 2**127 - 1, None, 90.0)]


async def test_a_page_stops_at_its_rows_and_says_so(desk):
    result = await desk.result("SELECT * FROM range(101)")
    assert (result.rows, result.is_cut) == (100, True)
    assert len([row async for row in result.read()]) == 100


async def test_a_result_as_long_as_a_page_is_not_cut(desk):
    result = await desk.result("SELECT * FROM range(100)")
    assert (result.rows, result.is_cut) == (100, False)


async def test_a_page_stops_at_its_bytes(desk):
    result = await desk.result("SELECT repeat('x', 30000) FROM range(50)")
    assert (result.rows, result.is_cut) == (3, True)


async def test_an_export_may_be_longer(desk):
    result = await desk.result("SELECT * FROM range(5000)", is_export=True)
    assert [row["range"] async for row in result.read()] == list(range(5000))


async def test_a_result_as_parquet_holds_the_same_rows_with_their_types(desk, tmp_path):
    result = await desk.result(
        "SELECT batch, at_, NULL AS nothing FROM attempts ORDER BY 1", Output.PARQUET, is_export=True
    )
    content = io.BytesIO(b"".join([block async for block in result.content()])).getvalue()
    (tmp_path / "result.parquet").write_bytes(content)
    read = duckdb.sql(f"SELECT batch, epoch(at_), nothing FROM '{tmp_path}/result.parquet'").fetchall()
    assert read == [(row["batch"], row["at"], None) for row in desk.rows["attempts"]]
    assert result.rows == 10


async def test_a_third_query_waits_and_is_told_when_to_come_back(desk):
    started = [asyncio.Event(), asyncio.Event()]

    async def hold(mark: asyncio.Event, end: asyncio.Event) -> None:
        async with desk.runner.query("SELECT 1", TABLES):
            mark.set()
            await end.wait()

    end = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for mark in started:
            group.create_task(hold(mark, end))
        for mark in started:
            await mark.wait()
        with pytest.raises(UnavailableError, match="2 other queries") as busy:
            await desk.values_of("SELECT 1")
        end.set()
    assert busy.value.retry_after_s is not None
    assert await desk.values_of("SELECT 1") == [(1,)]


async def test_nothing_is_left_after_a_query_neither_process_nor_file(desk):
    async with desk.runner.query("SELECT 1", TABLES) as asked:
        process = asked._process
        assert process.returncode is None
    assert process.returncode is not None
    assert list(desk.runner.folder.iterdir()) == []


async def test_a_query_that_is_given_up_ends_its_process(desk):
    started = asyncio.Event()
    held = []

    async def ask() -> None:
        async with desk.runner.query("SELECT count(*) FROM range(1000000000000)", TABLES) as asked:
            held.append(asked._process)
            started.set()
            await asked.run({}, Output.ROWS, is_export=False)

    asking = asyncio.create_task(ask())
    await started.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert held[0].returncode is not None
    assert list(desk.runner.folder.iterdir()) == []


async def test_what_a_killed_worker_left_is_removed_and_only_its_user_can_read(tmp_path):
    left = tmp_path / "sql" / "query-old" / "attempts.rows"
    left.parent.mkdir(parents=True)
    left.write_text("{}", encoding="utf-8")
    runner = SqlRunner(lambda: tmp_path / "sql", SqlLimits())
    await runner.open()
    assert list(runner.folder.iterdir()) == []
    assert runner.folder.stat().st_mode & 0o077 == 0
    await runner.close()
    assert not runner.folder.exists()


async def test_a_row_that_does_not_fit_its_table_is_named(desk):
    desk.rows["hours"].append({"integration": "x", "matched": "many"})
    with pytest.raises(ViewQueryError, match="table hours cannot be loaded"):
        await desk.values_of("FROM hours")


@pytest.mark.parametrize(
    "text", ["a\0b", "\N{RIGHT-TO-LEFT OVERRIDE}abc", '<script>"', "\N{SNOWMAN}" * 30_000, "a\nb\r\t"]
)
async def test_any_text_goes_through_a_table_unchanged(desk, text):
    desk.rows["hours"] = [{"integration": text, "matched": 1}]
    assert await desk.values_of("SELECT integration, length(integration) FROM hours") == [(text, len(text))]
