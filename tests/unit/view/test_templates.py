"""Pages as people get them: what the templates say, and what they must never hold."""

import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import FileSystemLoader

import pipeline.view
from pipeline.view import charts
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.coverage import EVERYTHING, Coverage, Shard
from pipeline.view.formats import html
from pipeline.view.formats.html import Around
from pipeline.view.page import Page, Section
from pipeline.view.query import parse_query, tidied
from pipeline.view.roles import Person, Role

FOLDER = Path(pipeline.view.__file__).parent
REPOSITORY = FOLDER.parent.parent
NOW_S = 1_795_341_000.0
HOSTILE = '"><script>alert(1)</script>\u202e\ud800'
VOID = {"meta", "link", "input", "br", "hr", "img", "area", "base", "col", "embed", "source", "track", "wbr"}
COLUMNS = (
    Column("id", "Batch", Kind.CODE, link="/batches/{id}"),
    Column("at", "When", Kind.TIME),
    Column("integration", "Integration", help="Whose events they are"),
    Column("outcome", "Outcome", Kind.STATE),
    Column("status", "Status", Kind.INTEGER),
    Column("took_s", "Took", Kind.SECONDS),
    Column("body_bytes", "Size", Kind.BYTES),
    Column("is_test", "Test", Kind.FLAG),
    Column("trend", "Last day", Kind.PICTURE, is_sortable=False),
    Column("answer", "Answer", Kind.JSON, is_sortable=False),
    Column("note", "Note", is_wide=True),
)
ROW: Row = {
    "id": "crm:0-100",
    "at": NOW_S - 60,
    "integration": "crm",
    "outcome": "parked",
    "status": 503,
    "took_s": 1.5,
    "body_bytes": 1536,
    "is_test": False,
    "trend": [1, 2, 3],
    "answer": {"error": "x" * 5000},
    "note": "n",
}
MISSING = Coverage(
    (Shard("http://w1:6066", frozenset({0})), Shard("http://w2:6066", frozenset({1}), "no answer within 1 s")), (1,)
)


class Tags(HTMLParser):
    """Every element with its attributes, and what was opened and closed wrongly."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.mistakes: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.mistakes.append(tag)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]

    def close(self) -> None:
        super().close()
        self.mistakes += self._open


async def _each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


def section(rows: Iterable[Row] = (ROW,), parameters: Iterable[tuple[str, str]] = (), **more: Any) -> Section:
    query = parse_query(parameters, COLUMNS, key="id", sort="at", is_descending=True)
    return Section("attempts", COLUMNS, _each(rows), heading="1 attempt", query=query, **more)


async def rendered(page: Page, parameters: Iterable[tuple[str, str]] = (), **around: Any) -> str:
    given = list(parameters)
    settings: dict[str, Any] = {
        "path": "/attempts",
        "now_s": NOW_S,
        "person": Person("ana", Role.OPERATOR),
        "parameters": given,
        "nav": [("Overview", "/"), ("Attempts", "/attempts")],
    }
    made = Around(**(settings | around))
    tables = await html.tables_of(page, [name for key, value in given if key == "cols" for name in value.split(",")])
    return b"".join([piece async for piece in html.stream(page, tables, made)]).decode()


async def attempts(
    rows: Iterable[Row] = (ROW,),
    parameters: Iterable[tuple[str, str]] = (),
    context: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    given = list(parameters)
    page = Page("Attempts", "page.html", [section(rows, given, **more)], context=context or {})
    return await rendered(page, given)


def tags_of(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    return tags


def links_of(text: str) -> list[str]:
    return [each.get("href") or "" for each in tags_of(text).named("a")]


async def full_page() -> str:
    times = [NOW_S - 3600, NOW_S]
    chart = charts.stacked_bars(times, [charts.Series("failed", [1, 2], "bad")], "Batches")
    page = Page(
        "Attempts",
        "page.html",
        [section(coverage=MISSING, next_cursor="abc", facets={"outcome": [("parked", 3), (None, 1)]})],
        facts={"failed": 31, "oldest_wait_s": 5400, "stored_bytes": 1536, "last_success_at": NOW_S, "is_paused": True},
        context={
            "charts": [chart],
            "plots": [
                {
                    "chart": charts.step_line(times, [1, 2], "Age"),
                    "url": "/hours.json",
                    "section": "hours",
                    "x": "at",
                    "y": "failed",
                }
            ],
            "lead": "Every try.",
            "fact_links": {"failed": "/attempts?outcome=failed"},
            "fact_tones": {"failed": "bad"},
            "acts": [
                {"id": "replay", "url": "/replay", "label": "Replay", "question": "Replay 3?", "fields": {"ids": "1"}}
            ],
        },
    )
    return await rendered(page, [("refresh", "5")], flash="Done.", csrf_token="token", is_signed_in=True)


async def error_page() -> str:
    context = {"message": "wrong", "problems": [("url", "is no https address")], "status": 422}
    return await rendered(Page("It cannot be as asked", "error.html", context=context, status=422))


async def sign_in_page() -> str:
    context = {"next": "/", "problem": "not known", "has_tokens": True, "needs_sign_in": True}
    page = Page("Sign in", "sign_in.html", context=context)
    return await rendered(page, path="/sign-in", person=None, nav=())


@pytest.fixture(params=[full_page, error_page, sign_in_page], ids=lambda made: made.__name__)
async def some_page(request: pytest.FixtureRequest) -> str:
    text: str = await request.param()
    return text


def test_a_page_closes_what_it_opens(some_page: str) -> None:
    assert tags_of(some_page).mistakes == []


def test_a_page_has_one_main_heading_and_one_main_part(some_page: str) -> None:
    tags = tags_of(some_page)
    assert (len(tags.named("h1")), len(tags.named("main"))) == (1, 1)


def test_a_page_begins_with_a_link_to_its_content(some_page: str) -> None:
    assert links_of(some_page)[0] == "#main"


def test_a_page_has_no_script_or_style_of_its_own(some_page: str) -> None:
    tags = tags_of(some_page)
    handlers = [
        name for _, attributes in tags.all for name in attributes if name.startswith(("on", "hx-on")) or name == "style"
    ]
    texts = re.findall(r"<script[^>]*>([^<]*)</script>", some_page)
    assert (handlers, tags.named("style"), "".join(texts)) == ([], [], "")


def test_no_id_is_there_twice(some_page: str) -> None:
    ids = [attributes["id"] for _, attributes in tags_of(some_page).all if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_field_has_a_name_for_people(some_page: str) -> None:
    labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', some_page))
    inside = {
        name
        for text in re.findall(r"<label.*?</label>", some_page, re.DOTALL)
        for name in re.findall(r'name="([^"]+)"', text)
    }
    fields = [each for each in tags_of(some_page).named("input") if each.get("type") != "hidden"]
    assert [each for each in fields if each.get("id") not in labelled and each.get("name") not in inside] == []


def test_every_file_that_a_page_names_exists(some_page: str) -> None:
    named = re.findall(r'"/static/([^"]+)"', some_page)
    assert [name for name in named if not (FOLDER / "static" / name).is_file()] == []


async def test_a_template_that_is_in_use_stays_as_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "one.html"
    file.write_text("old")
    made = html.environment(FileSystemLoader(tmp_path))
    made.get_template("one.html")

    file.write_text("newer, of another version")
    os.utime(file, (NOW_S, NOW_S))

    assert made.get_template("one.html").render() == "old"


async def test_text_from_outside_is_text_wherever_it_stands() -> None:
    row = ROW | dict.fromkeys(("id", "integration", "outcome", "note"), HOSTILE) | {"answer": {HOSTILE: HOSTILE}}
    page = Page(HOSTILE, "page.html", [section([row], coverage=MISSING)], facts={HOSTILE: HOSTILE})
    text = await rendered(
        page, [("q", HOSTILE), ("integration", HOSTILE)], person=Person(HOSTILE, Role.VIEWER), flash=HOSTILE
    )
    scripts = tags_of(text).named("script")
    assert "<script>" not in text
    assert "\u202e" not in text
    assert all("src" in each for each in scripts)


async def test_a_page_that_is_open_is_marked_in_the_navigation() -> None:
    marked = [each["href"] for each in tags_of(await attempts()).named("a") if each.get("aria-current") == "page"]
    assert marked == ["/attempts"]


async def test_the_sorted_column_says_its_direction() -> None:
    heads = tags_of(await attempts()).named("th")
    assert [each["aria-sort"] for each in heads if "aria-sort" in each] == ["descending"]


async def test_the_heading_of_the_sorted_column_turns_the_order_round() -> None:
    assert "/attempts?sort=at" in links_of(await attempts())


async def test_a_column_of_figures_is_sorted_from_the_top_first() -> None:
    links = links_of(await attempts())
    assert ("/attempts?sort=-status" in links, "/attempts?sort=integration" in links) == (True, True)


async def test_a_column_that_cannot_be_sorted_has_no_link() -> None:
    assert not [link for link in links_of(await attempts()) if "trend" in link and "sort" in link]


async def test_sorting_keeps_the_conditions_and_goes_to_the_first_page() -> None:
    parameters = [("outcome", "parked"), ("after", "WzEsMl0")]
    assert "/attempts?outcome=parked&sort=-status" in links_of(await attempts(parameters=parameters))


async def test_a_time_can_be_read_by_machines() -> None:
    times = tags_of(await attempts()).named("time")
    assert "2026-11-22T09:49:00Z" in [each["datetime"] for each in times]


async def test_a_state_has_a_word_and_a_sign() -> None:
    assert re.search(
        r'<span class="badge tone-bad"><span class="sign" aria-hidden="true">✕</span>parked</span>', await attempts()
    )


async def test_a_state_that_nobody_knows_is_neutral() -> None:
    assert 'class="badge tone-info"' in await attempts([ROW | {"outcome": "strange"}])


async def test_a_long_value_is_cut_and_says_where_the_whole_is() -> None:
    text = await attempts()
    assert "x" * 3000 not in text
    assert "/attempts.json?id=crm%3A0-100" in links_of(text)


async def test_a_wide_column_is_shown_only_when_asked_for() -> None:
    usual, asked = await attempts(), await attempts(parameters=[("cols", "id,note")])
    cell = '<td class="is-text">n</td>'
    assert (cell in usual, cell in asked) == (False, True)


async def test_a_table_has_a_caption() -> None:
    assert "<caption>1 attempt</caption>" in await attempts()


async def test_each_table_links_to_the_same_rows_as_json_and_csv() -> None:
    links = links_of(await attempts(parameters=[("outcome", "parked")]))
    assert "/attempts.json?outcome=parked&section=attempts" in links
    assert "/attempts.csv?outcome=parked&section=attempts" in links


async def test_a_table_with_more_pages_links_to_all_rows_as_csv() -> None:
    links = links_of(await attempts(next_cursor="WzEsMl0"))
    assert "/attempts.csv?section=attempts&size=all" in links


async def test_a_table_with_more_rows_links_to_its_next_page() -> None:
    assert "/attempts?after=WzEsMl0" in links_of(await attempts(next_cursor="WzEsMl0"))


async def test_a_table_that_the_url_does_not_speak_of_turns_its_pages_by_name() -> None:
    parameters = [("outcome", "parked"), ("after", "WzEsMl0"), ("refresh", "5")]
    other = Section("batches", COLUMNS, _each([ROW]), next_cursor="WzMsNF0")
    page = Page("Attempts", "page.html", [section(parameters=parameters, next_cursor="WzUsNl0"), other])

    links = links_of(await rendered(page, parameters))

    assert "/attempts?refresh=5&after=WzMsNF0&section=batches" in links
    assert "/attempts?outcome=parked&refresh=5&after=WzUsNl0" in links


async def test_the_conditions_of_one_table_are_not_asked_of_another() -> None:
    parameters = [("outcome", "parked"), ("of", "crm")]
    other = Section("batches", COLUMNS, _each([ROW]))
    page = Page("Attempts", "page.html", [section(parameters=[("outcome", "parked")]), other])

    links = links_of(await rendered(page, parameters))

    assert "/attempts.csv?outcome=parked&of=crm&section=attempts" in links
    assert "/attempts.csv?of=crm&section=batches" in links


async def test_what_a_page_was_asked_stays_where_no_table_is_narrowed() -> None:
    page = Page("Found", "page.html", [Section("events", COLUMNS, _each([ROW]))])

    assert "/attempts.csv?id=crm&section=events" in links_of(await rendered(page, [("id", "crm")]))


async def test_a_count_narrows_the_table_to_its_value() -> None:
    parameters = [("facet", "outcome")]
    links = links_of(await attempts(parameters=parameters, facets={"outcome": [("parked", 3)]}))
    assert "/attempts?facet=outcome&outcome=parked" in links


async def test_the_count_that_is_chosen_widens_the_table_again() -> None:
    parameters = [("facet", "outcome"), ("outcome", "parked")]
    chosen = [
        each["href"]
        for each in tags_of(await attempts(parameters=parameters, facets={"outcome": [("parked", 3)]})).named("a")
        if each.get("aria-current") == "true"
    ]
    assert chosen == ["/attempts?facet=outcome"]


async def test_a_count_of_no_value_asks_for_blank_ones() -> None:
    links = links_of(await attempts(parameters=[("facet", "outcome")], facets={"outcome": [(None, 3)]}))
    assert "/attempts?facet=outcome&outcome__blank=1" in links


async def test_one_of_two_conditions_on_a_column_can_be_taken_away() -> None:
    parameters = [("status__gt", "399"), ("status__gt", "499")]
    links = links_of(await attempts(parameters=parameters))
    assert {"/attempts?status__gt=399", "/attempts?status__gt=499"} <= set(links)


async def test_the_filter_form_keeps_what_was_chosen_before() -> None:
    text = await attempts(parameters=[("outcome", "parked"), ("sort", "-status"), ("q", "crm")])
    hidden = {(each["name"], each["value"]) for each in tags_of(text).named("input") if each.get("type") == "hidden"}
    assert hidden == {("outcome", "parked"), ("sort", "-status")}


async def test_what_the_filter_form_sends_without_a_script_is_a_condition() -> None:
    sent = tidied([("q", ""), ("_column", "status"), ("_operator", "gt"), ("_value", "399")])
    conditions = parse_query(sent, COLUMNS, key="id", sort="at").conditions
    assert [(each.column, each.operator, each.value) for each in conditions] == [("status", "gt", 399)]


async def test_missing_partitions_are_said_above_the_table() -> None:
    text = await attempts(coverage=MISSING)
    assert "http://w2:6066 did not answer: no answer within 1 s; missing: partition 1" in text
    assert text.index('id="coverage"') < text.index("<table")


async def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert 'id="coverage"' not in await attempts(coverage=EVERYTHING)


async def test_no_rows_under_conditions_say_how_to_see_all() -> None:
    text = await attempts([], [("outcome", "parked")])
    assert "No row meets all conditions" in text
    assert "/attempts" in links_of(text)


async def test_no_rows_at_all_say_why_in_the_words_of_the_page() -> None:
    assert "Nothing is parked." in await attempts([], context={"nothing": {"attempts": "Nothing is parked."}})


async def test_no_rows_where_partitions_are_missing_do_not_say_that_there_are_none() -> None:
    assert "some partitions are missing" in await attempts([], coverage=MISSING)


async def test_an_act_asks_first_and_sends_the_token() -> None:
    text = await full_page()
    form = re.search(r'<div class="confirm" id="replay" popover.*?</form>', text, re.DOTALL)
    assert form is not None
    assert "Replay 3?" in form[0]
    assert '<input type="hidden" name="csrf_token" value="token">' in form[0]


async def test_live_refresh_works_without_a_script() -> None:
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in await full_page()


@pytest.mark.parametrize("asked", ["0", "1", "x", '5"><script>', "²"])
async def test_live_refresh_takes_only_whole_seconds_from_two_on(asked: str) -> None:
    assert 'http-equiv="refresh"' not in await attempts(parameters=[("refresh", asked)])


async def test_facts_are_shown_in_their_units() -> None:
    shown = re.findall(r"<dt>([^<]+)</dt>\s*<dd>(.*?)</dd>", await full_page(), re.DOTALL)
    texts = {name: re.sub(r"<[^>]+>", "", value).strip() for name, value in shown}
    assert texts["Oldest wait"] == "1 h 30 min"
    assert texts["Stored"] == "1.5 KiB"


async def test_a_picture_has_its_figures_as_a_table() -> None:
    text = await full_page()
    assert re.search(r'<details class="twin">.*?<th scope="col">failed</th>', text, re.DOTALL)


def test_vendored_files_are_those_that_the_list_names() -> None:
    listed = dict(
        re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", (REPOSITORY / "THIRD_PARTY.md").read_text(), re.MULTILINE)
    )
    vendored = FOLDER / "static" / "vendor"
    found = {
        path.relative_to(vendored).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendored.rglob("*")
        if path.is_file()
    }
    assert found == listed


@pytest.mark.parametrize("name", ["style.css", "view.js", "theme.js"])
def test_own_files_ask_no_other_host(name: str) -> None:
    assert not re.search(r"https?://|@import", (FOLDER / "static" / name).read_text())
