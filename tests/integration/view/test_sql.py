"""The page of SQL on a real socket, over two workers' rows."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import duckdb
import pytest

from agents.view.gather import Gather
from agents.view.pages.sql import SqlPage
from agents.view.sources.sql_tables import SqlTables
from pipeline.clock import ManualClock
from pipeline.view.columns import Column, Kind, Personal, Row
from pipeline.view.settings import SavedView, Token, ViewSettings
from pipeline.view.sql.examples import EXAMPLES
from pipeline.view.sql.limits import SqlLimits
from pipeline.view.sql.run import SqlRunner
from tests.integration.view.conftest import Serve, Served
from tests.support.chunk_worker import until
from tests.support.near_peers import NearPeers, RowsInMemory

EVENTS = (
    Column("id", "Id", Kind.INTEGER),
    Column("at", "At", Kind.TIME),
    Column("email", "E-mail", Kind.TEXT, personal=Personal.EMAIL),
    Column("size_bytes", "Size", Kind.BYTES),
)
ANA, OPS = "ana-viewer-token-1", "ops-operator-token-1"


def event(number: int, **changes: Any) -> Row:
    return {"id": number, "at": 1.7e9 + number, "email": f"p{number}@example.com", "size_bytes": 10 * number} | changes


@dataclass(slots=True)
class Site:
    """The page of one worker, and the other one beside it."""

    served: Served
    session: aiohttp.ClientSession
    sql: SqlTables
    near: NearPeers
    far: NearPeers
    sources: list[RowsInMemory]

    async def get(self, path: str, query: str, **parameters: str) -> aiohttp.ClientResponse:
        return await self.session.get(path, params={"q": query, **parameters})

    async def json(self, query: str, **parameters: str) -> dict[str, Any]:
        answer = await self.get("/sql.json", query, **parameters)
        return json.loads(await answer.text())

    async def rows(self, query: str) -> list[Row]:
        return (await self.json(query))["sections"]["result"]["rows"]

    async def text(self, path: str, query: str, **parameters: str) -> str:
        return await (await self.get(path, query, **parameters)).text()


Open = Callable[..., Any]


@pytest.fixture
async def open_site(serve: Serve, tmp_path: Path) -> AsyncIterator[Open]:
    """``await open_site()``: events 0 to 4 are on this worker, 5 to 9 on the other."""
    opened: list[Site] = []

    async def start(settings: ViewSettings | None = None, limits: SqlLimits | None = None, **headers: str) -> Site:
        everyone: dict[str, NearPeers] = {}
        near, far = (
            NearPeers("http://near:6066", frozenset({0}), everyone),
            NearPeers("http://far:6066", frozenset({1}), everyone),
        )
        clock = ManualClock()
        sources = []
        gathers = []
        for peers, first in ((near, 0), (far, 5)):
            gather = Gather(peers, clock)  # type: ignore[arg-type]
            source = RowsInMemory("attempts", EVENTS, [event(first + number) for number in range(5)], peers)
            gather.offer(source)
            gather.offer(
                RowsInMemory(
                    "table:pending-http", (Column("key", "Key"), Column("value", "Value", Kind.JSON)), [], peers
                )
            )
            gathers.append(gather)
            sources.append(source)
        limits = limits or SqlLimits(time_s=2.0, page_rows=1500, wait_s=0.2)
        sql = SqlTables(gathers[0], SqlRunner(lambda: tmp_path / "sql", limits), clock)
        served = await serve(settings, lambda view: SqlPage(view, sql).register())
        site = Site(served, served.client(headers=headers), sql, near, far, sources)
        opened.append(site)
        return site

    yield start
    for site in opened:
        await site.session.close()
        await site.sql.close()


async def test_a_query_sees_the_rows_of_all_workers(open_site):
    site = await open_site()
    assert await site.rows("SELECT count(*) AS n, sum(size_bytes) AS bytes FROM attempts") == [{"n": 10, "bytes": 450}]


async def test_html_json_csv_and_parquet_have_the_same_rows(open_site, tmp_path):
    site = await open_site()
    query = "SELECT id, at_, email, size_bytes FROM attempts ORDER BY id"
    rows = await site.rows(query)
    assert [row["id"] for row in rows] == list(range(10))
    table = list(csv.DictReader(io.StringIO(await site.text("/sql.csv", query))))
    assert [(int(row["id"]), row["email"]) for row in table] == [(row["id"], row["email"]) for row in rows]
    page = await site.text("/sql", query)
    assert all(row["email"] in page for row in rows)
    parquet = await site.get("/sql.parquet", query)
    assert parquet.headers["Content-Disposition"].startswith("attachment")
    (tmp_path / "rows.parquet").write_bytes(await parquet.read())
    found = duckdb.sql(f"SELECT id, epoch(at_), email, size_bytes FROM '{tmp_path}/rows.parquet'").fetchall()
    assert found == [tuple(row.values()) for row in rows]


async def test_a_query_may_be_posted(open_site):
    site = await open_site()
    posted = await site.session.post("/sql.json", json={"q": "SELECT 1 AS one"})
    assert (await posted.json())["sections"]["result"]["rows"] == [{"one": 1}]
    plain = await site.session.post("/sql.json", data="SELECT 2 AS two", headers={"Content-Type": "application/sql"})
    assert (await plain.json())["sections"]["result"]["rows"] == [{"two": 2}]


@pytest.mark.parametrize("body", [b"", b"{", b'{"query": "SELECT 1"}', b'{"q": 1}', b"\xff", b'["q"]'])
async def test_a_body_that_is_no_query_is_told_so(open_site, body):
    site = await open_site()
    answer = await site.session.post("/sql.json", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == (400 if body else 200)  # without a query, the tables are listed


async def test_without_a_query_the_tables_and_their_columns_are_listed(open_site):
    site = await open_site()
    listed = (await (await site.session.get("/sql.json")).json())["sections"]["columns"]["rows"]
    assert [(row["table"], row["column"], row["type"]) for row in listed] == [
        ("attempts", "id", "BIGINT"),
        ("attempts", "at_", "TIMESTAMPTZ"),
        ("attempts", "email", "VARCHAR"),
        ("attempts", "size_bytes", "BIGINT"),
        ("table_pending_http", "key", "VARCHAR"),
        ("table_pending_http", "value", "JSON"),
    ]
    assert await site.rows("SELECT count(*) AS n FROM table_pending_http") == [{"n": 0}]


async def test_the_page_offers_examples_saved_queries_and_the_schema(open_site):
    path = "/sql?q=" + quote("SELECT 42")
    site = await open_site(ViewSettings(views=[SavedView(title="My favourite", path=path)]))
    page = await (await site.session.get("/sql")).text()
    for example in EXAMPLES:
        assert example.question.replace("'", "&#39;") in page
    assert "My favourite" in page
    assert "<code>at_</code>" in page


async def test_a_mistake_is_shown_with_its_place_beside_the_query(open_site):
    site = await open_site()
    answer = await site.get("/sql", "SELECT nope\nFROM attempts")
    page = await answer.text()
    assert answer.status == 400
    assert "line 1, column 8:" in page
    assert "SELECT nope\nFROM attempts</textarea>" in page
    wrong = await site.get("/sql.json", "SELECT nope FROM attempts")
    assert wrong.status == 400
    assert "line 1, column 8:" in (await wrong.json())["error"]


async def test_what_a_worker_does_not_answer_is_said_and_not_kept(open_site):
    site = await open_site()
    site.far.is_silent = True
    found = await site.json("SELECT count(*) AS n FROM attempts")
    assert found["sections"]["result"]["rows"] == [{"n": 5}]
    assert found["coverage"]["complete"] is False
    assert found["coverage"]["missing_partitions"] == [1]
    assert (await site.get("/sql.csv", "SELECT count(*) FROM attempts")).status == 206
    assert (await site.get("/sql.parquet", "SELECT count(*) FROM attempts")).status == 206
    assert "http://far:6066 did not answer" in await site.text("/sql", "SELECT count(*) FROM attempts")
    site.far.is_silent = False
    assert await site.rows("SELECT count(*) AS n FROM attempts") == [{"n": 10}]


async def test_a_table_that_was_cut_is_said_to_be(open_site):
    site = await open_site(limits=SqlLimits(table_rows=7))
    found = await site.json("SELECT count(*) AS n FROM attempts")
    assert found["sections"]["result"]["rows"] == [{"n": 7}]
    assert found["coverage"]["complete"] is False
    assert found["sections"]["tables_read"]["rows"][0]["is_whole"] is False
    assert "the copy of attempts, after 7 rows, stopped early" in await site.text("/sql", "FROM attempts")


async def test_tables_are_kept_for_a_moment_and_then_removed(open_site):
    site = await open_site(limits=SqlLimits(kept_s=5.0))
    for _ in range(3):
        await site.rows("SELECT count(*) FROM attempts a, attempts b")
    assert site.far.asked == 1
    await until(lambda: not list(site.sql.runner.folder.iterdir()), 20)
    await site.rows("SELECT count(*) FROM attempts")
    assert site.far.asked == 2


async def test_what_is_masked_for_a_role_is_masked_in_sql_and_not_shared_through_what_is_kept(open_site):
    settings = ViewSettings(
        tokens=[Token(name="ana", role="viewer", token=ANA), Token(name="adm", role="admin", token=OPS)]
    )
    site = await open_site(settings)

    async def emails(token: str, query: str) -> list[str]:
        answer = await site.session.get("/sql.json", params={"q": query}, headers={"Authorization": f"Bearer {token}"})
        return [row["email"] for row in (await answer.json())["sections"]["result"]["rows"]]

    assert await emails(OPS, "SELECT email FROM attempts WHERE id = 3") == ["p3@example.com"]
    (tag,) = await emails(ANA, "SELECT email FROM attempts WHERE id = 3")
    assert tag.startswith("email:")
    assert await emails(ANA, "SELECT email FROM attempts WHERE email LIKE '%example%'") == []
    assert await emails(ANA, f"SELECT email FROM attempts WHERE email = '{tag}'") == [tag]
    assert (await site.session.get("/sql.json", params={"q": "SELECT 1"})).status == 401


async def test_who_may_not_export_gets_neither_csv_nor_parquet(open_site):
    settings = ViewSettings(tokens=[Token(name="ana", role="viewer", token=ANA)], exports=["admin"])
    site = await open_site(settings, Authorization=f"Bearer {ANA}")
    statuses = {
        path: (await site.get(path, "SELECT 1")).status for path in ("/sql", "/sql.json", "/sql.csv", "/sql.parquet")
    }
    assert statuses == {"/sql": 200, "/sql.json": 200, "/sql.csv": 403, "/sql.parquet": 403}
    assert (await site.session.post("/sql.parquet", json={"q": "SELECT 1"})).status == 403
    assert (await site.session.post("/sql.json?size=all", json={"q": "SELECT 1"})).status == 403


async def test_a_page_says_that_there_are_more_rows_and_csv_has_them(open_site):
    site = await open_site()
    query = "SELECT range AS n FROM range(5000)"
    found = await site.json(query)
    assert found["facts"]["rows"] == len(found["sections"]["result"]["rows"]) == 1500
    assert found["facts"]["is_cut"] is True
    assert "The first 1,500 rows; there are more" in await site.text("/sql", query)
    assert len((await site.text("/sql.csv", query)).splitlines()) == 5001


async def test_too_many_at_once_are_told_when_to_come_back(open_site):
    site = await open_site(limits=SqlLimits(time_s=2.0, at_once=1, wait_s=0.2))
    slow = asyncio.create_task(site.get("/sql.json", "SELECT count(*) FROM range(1000000000000)"))
    await until(site.sql.runner._free.locked, 20)
    busy = await site.get("/sql.json", "SELECT 1")
    assert busy.status == 503
    assert int(busy.headers["Retry-After"]) >= 1
    assert (await slow).status == 400


async def test_a_reader_who_goes_away_ends_the_query(open_site):
    site = await open_site(limits=SqlLimits(time_s=60.0, at_once=1))
    with pytest.raises(TimeoutError):
        await site.session.get(
            "/sql.json", params={"q": "SELECT count(*) FROM range(1000000000000)"}, timeout=aiohttp.ClientTimeout(1.0)
        )
    assert await site.rows("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", '"><img src=x>', "\N{RIGHT-TO-LEFT OVERRIDE}x", "=1+1", "</textarea>", "{{ 7 * 7 }}"],
)
async def test_hostile_text_in_query_name_and_value_stays_text(open_site, text):
    site = await open_site()
    query = f"SELECT '{text}' AS \"{text.replace(chr(34), '')}\""
    page = await site.text("/sql", query)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "</textarea>" not in page.replace("</textarea>", "", 1)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page
    assert ">49<" not in page
    assert [*(await site.rows(query))[0].values()] == [text]
    assert not (await site.text("/sql.csv", query)).startswith("=")


async def test_lone_surrogates_in_rows_and_queries_do_no_harm(open_site):
    site = await open_site()
    site.sources[0].rows = [event(0, email="lone \ud800 surrogate")]
    assert await site.rows("SELECT email FROM attempts WHERE id = 0") == [{"email": "lone \\ud800 surrogate"}]
    posted = await site.session.post(
        "/sql.json", data=b'{"q": "SELECT \'\\ud800\'"}', headers={"Content-Type": "application/json"}
    )
    assert posted.status in {200, 400}


async def test_an_export_of_many_rows_is_complete(open_site):
    site = await open_site(limits=SqlLimits(time_s=30.0))
    answer = await site.get("/sql.csv", "SELECT range AS n, md5(range::VARCHAR) AS h FROM range(200000)")
    lines = 0
    async for block in answer.content.iter_any():
        lines += block.count(b"\n")
    assert lines == 200_001
