"""HTML, JSON and CSV of the same rows, whatever is in them."""

import csv as csv_reader
import io
import json as json_reader
import math
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, UndefinedError

from pipeline.errors import NotFoundError
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.coverage import Coverage, Shard
from pipeline.view.formats import csv, events, html, json
from pipeline.view.formats.text import inert, plain, text_of
from pipeline.view.page import Page, Section
from pipeline.view.query import Query
from pipeline.view.roles import Person, Role

COLUMNS = (
    Column("key", "Key", link="/things/{key}?kind={value}"),
    Column("value", "Value"),
    Column("wide", "Wide", Kind.JSON, is_wide=True),
)
ANYTHING = st.text(st.characters(codec=None), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.fixed_dictionaries({"key": ANYTHING, "value": VALUES, "wide": VALUES}), max_size=4)


async def each(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


def page_of(rows: list[Row], **options: Any) -> Page:
    return Page("Title", "t.html", [Section("rows", COLUMNS, each(rows), **options)], {"fact": 1})


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def is_inert(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t\r")
        or "\ud800" <= character <= "\udfff"
        or "\u202a" <= character <= "\u202e"
        for character in text
    )


@given(ROWS)
async def test_json_can_be_read_and_holds_every_row(rows: list[Row]) -> None:
    raw = await joined(json.stream(page_of(rows), 1.0))
    assert raw.isascii()
    told = json_reader.loads(raw)["sections"]["rows"]["rows"]
    assert [row["key"] for row in told] == [plain(row["key"]) for row in rows]
    assert is_inert(json_reader.dumps(told, ensure_ascii=False))


@given(ROWS)
async def test_csv_can_be_read_and_holds_every_row_as_inert_text(rows: list[Row]) -> None:
    page = page_of(rows)
    raw = (await joined(csv.stream(page.sections[0]))).decode()
    lines = list(csv_reader.reader(io.StringIO(raw, newline="")))
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        assert line == [csv.cell(row[column.name]) for column in COLUMNS]
        for cell, column in zip(line, COLUMNS, strict=True):
            assert is_inert(cell)
            assert isinstance(row[column.name], int | float) or not cell.lstrip().startswith(("=", "+", "-", "@"))


@given(ANYTHING)
def test_inert_text_has_nothing_left_to_make_inert(text: str) -> None:
    assert is_inert(inert(text))
    assert inert(inert(text)) == inert(text)
    inert(text).encode()


@given(VALUES)
def test_any_value_is_text_for_people(value: Any) -> None:
    html.shown(value).encode()
    html.as_json(value).encode()
    assert len(html.shown("x" * 500)) == 301


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1234", "'+49 30 1234"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        (-1, "-1"),
        (-1.5, "-1.5"),
        (2.0, "2"),
        (math.nan, ""),
        (None, ""),
        (True, "true"),
        (["=1"], '["=1"]'),
        ("plain", "plain"),
        ("a\u202eb\ud800\0", "a\\u202eb\\ud800\\u0000"),
    ],
)
def test_a_cell_is_never_a_formula(value: Any, text: str) -> None:
    assert csv.cell(value) == text


def test_what_is_nested_too_deeply_is_left_out_and_breaks_nothing() -> None:
    value: Any = "deep"
    for _ in range(5000):
        value = [value]
    assert b"nested too deeply" in json.encoded({"value": value})
    assert "nested too deeply" in text_of(value)


async def test_incomplete_csv_begins_with_what_is_missing_on_one_line() -> None:
    coverage = Coverage((Shard("w\n=1", frozenset({1}), "silent"),), (1,))
    section = page_of([], coverage=coverage).sections[0]
    first = (await joined(csv.stream(section))).decode().split("\r\n")[0]
    assert first == "# incomplete: w =1 did not answer: silent; missing: partition 1"
    assert (csv.status_of(section, accepts_partial=False), csv.status_of(section, accepts_partial=True)) == (206, 200)


def test_csv_of_a_section_that_is_not_there_names_those_that_are() -> None:
    assert csv.chosen(page_of([]), "").name == "rows"
    with pytest.raises(NotFoundError, match="there are rows"):
        csv.chosen(page_of([]), "other")


async def test_the_first_piece_leaves_before_the_rows_are_there() -> None:
    async def endless() -> AsyncIterator[Row]:
        while True:
            yield {"key": "k"}

    page = Page("Title", "t.html", [Section("rows", COLUMNS, endless())])
    pieces = json.stream(page, 1.0)
    assert (await anext(pieces)).startswith(b'{"title":"Title"')
    assert len(await anext(pieces)) >= 32 << 10
    await pieces.aclose()


# HTML


async def rendered(page: Page, template: str, around: html.Around | None = None) -> str:
    made = html.environment(DictLoader({"t.html": template}))
    tables = await html.tables_of(page)
    around = around or html.Around("/things", 0.0, Person("ana", Role.VIEWER))
    return (await joined(html.stream(page, tables, around, made))).decode()


async def test_everything_is_escaped() -> None:
    page = page_of([{"key": "<script>", "value": "\"'&"}])
    text = await rendered(page, "{% for row in tables[0].rows %}{{ row.key }}{{ row.value | shown }}{% endfor %}")
    assert text == "&lt;script&gt;&#34;&#39;&amp;"


async def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        await rendered(page_of([]), "{{ nothing }}")


async def test_html_holds_a_page_of_rows_and_says_that_there_are_more() -> None:
    (table,) = await html.tables_of(page_of([{"key": str(number)} for number in range(1500)]))
    assert (len(table.rows), table.is_cut) == (1000, True)


async def test_wide_columns_are_shown_where_they_are_asked_for() -> None:
    (usual,) = await html.tables_of(page_of([]))
    (asked,) = await html.tables_of(page_of([]), ["wide", "nothing", "key"])
    assert [column.name for column in usual.columns] == ["key", "value"]
    assert [column.name for column in asked.columns] == ["wide", "key"]


@given(ANYTHING, ANYTHING)
def test_whatever_a_value_is_it_comes_back_from_the_url_that_it_went_into(step: str, parameter: str) -> None:
    url = html.Around("/", 0.0, prefix="/p").url_for("/things/{id}", id=step, q=parameter)
    parsed = urlsplit(url)
    assert parsed.netloc == ""
    assert parsed.path.startswith("/p/things/")
    found = unquote(parsed.path.removeprefix("/p/things/"))
    assert found in {html.inert_bytes(step).decode(), html.inert_bytes(step).decode() + ".html"}
    assert dict(parse_qsl(parsed.query, keep_blank_values=True))["q"] == html.inert_bytes(parameter).decode()


def test_links_keep_the_state_of_the_page_and_begin_at_its_first_row() -> None:
    around = html.Around("/things", 0.0, parameters=[("q", "a b"), ("sort", "key"), ("after", "x"), ("facet", "a")])
    assert around.here(sort="-key") == "/things?q=a+b&facet=a&sort=-key"
    assert around.here(q=None, facet=["a", "b"]) == "/things?sort=key&facet=a&facet=b"
    assert around.twin("csv", size="all") == "/things.csv?q=a+b&sort=key&after=x&facet=a&size=all"
    assert html.Around("/", 0.0).twin("json") == "/index.json"
    assert html.Around("/x/a.json.html", 0.0).twin("json") == "/x/a.json.json"


def test_a_cell_leads_where_its_column_says_with_the_rows_values() -> None:
    around = html.Around("/", 0.0, prefix="/p")
    assert around.link(COLUMNS[0], {"key": "a/b", "value": 1}) == "/p/things/a%2Fb?kind=1"
    assert around.link(COLUMNS[0], {"key": "a", "value": None}) == ""
    assert around.link(COLUMNS[1], {"key": "a", "value": "b"}) == ""
    assert around.link(COLUMNS[0], {"key": ["a"], "value": {}}) == "/p/things/%5B%22a%22%5D?kind=%7B%7D"


async def test_one_row_is_to_be_had_whole_by_its_key() -> None:
    (table,) = await html.tables_of(page_of([], query=Query(key="key", sort="key")))
    assert html.Around("/things", 0.0).whole(table, {"key": "a&b"}) == "/things.json?key=a%26b"


def test_the_nearest_entry_of_the_navigation_is_marked() -> None:
    around = html.Around("/batches/crm:0-1", 0.0, prefix="/p")
    entries = around.entries([("Overview", "/"), ("Batches", "/batches"), ("Bat", "/bat")])
    assert [(entry.url, entry.is_here) for entry in entries] == [
        ("/p/", False),
        ("/p/batches", True),
        ("/p/bat", False),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0123, "12 ms"),
        (2.34, "2.3 s"),
        (59.7, "1 min"),
        (5400, "1 h 30 min"),
        (90061, "1 d 1 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert html.lasting(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (150 << 20, "150 MiB"), (1 << 60, "1048576 TiB")],
)
def test_sizes_are_in_binary_units(size: int | None, text: str) -> None:
    assert html.sized(size) == text


def test_moments_are_utc_and_never_an_error() -> None:
    assert html.moment(0) == "1970-01-01T00:00:00Z"
    assert [html.moment(at) for at in (None, 1e300, "then", math.nan)] == ["", html.shown(1e300), "then", ""]


def test_figures_are_grouped() -> None:
    assert [html.figure(number) for number in (1234567, 1234.5, 0.12345, True, "x")] == [
        "1\u202f234\u202f567",
        "1\u202f234.5",
        "0.123",
        "true",
        "x",
    ]


# events


@given(ANYTHING | VALUES, ANYTHING, ANYTHING)
def test_no_content_ends_an_event_early(data: Any, name: str, identity: str) -> None:
    raw = events.told(events.Told(data, name, identity))
    assert raw.endswith(b"\n\n")
    assert b"\n\n" not in raw[:-2]
    assert b"\r" not in raw
    assert all(line.startswith((b"event: ", b"id: ", b"data: ")) for line in raw[:-2].split(b"\n"))
