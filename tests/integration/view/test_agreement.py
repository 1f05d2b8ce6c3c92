"""HTML, JSON and CSV of a page are one: the same rows, in the same order, whatever is asked of them."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.view.formats.csv import cell
from tests.support.hostile_flow import SCRIPT, HostileFlow, Reply
from tests.support.html_tables import HtmlTables, seen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

csv.field_size_limit(1 << 24)
Rows = list[dict[str, Any]]
Asked = list[tuple[str, str]]
ANEW = 6
"""Times that a page is read again where its rows changed while it was read."""
ELSEWHERE = {
    "/": {"attention", "ledger", "hours", "rates"},
    "/integrations/{id}": {"ledger", "outcomes"},
    "/dead-letters/{partition}/{offset}": {"dead_letter"},
    "/integrations/new": {"fields"},
    "/integrations/{id}/edit": {"fields"},
    "/integrations/{id}/duplicate": {"fields"},
    "/webhooks/new": {"fields"},
    "/webhooks/{id}/edit": {"fields"},
    "/webhooks/{id}/url": {"request"},
}
"""Sections that HTML shows as a picture or otherwise."""


def plainly(columns: list[dict[str, Any]]) -> Asked:
    return []


def sorted_downwards(columns: list[dict[str, Any]]) -> Asked:
    return [("sort", f"-{columns[-1]['name']}")]


def sorted_upwards_and_cut(columns: list[dict[str, Any]]) -> Asked:
    return [("sort", columns[0]["name"]), ("size", "2")]


def searched_and_narrowed(columns: list[dict[str, Any]]) -> Asked:
    return [
        ("q", "ing"),
        ("size", "1000"),
        (f"{columns[0]['name']}__blank", "0"),
        (f"{columns[-1]['name']}__not", SCRIPT),
    ]


def with_an_unknown_column(columns: list[dict[str, Any]]) -> Asked:
    return [("no_such_column", "1")]


class Three:
    """A page in its three formats, read while nothing in it changed but figures of the moment."""

    def __init__(self, flow: HostileFlow, target: str, asked: Asked) -> None:
        for _ in range(ANEW):
            self.before = self._read(flow, target, "json", asked)
            if self.before.status != 200:
                self.html = self._read(flow, target, "html", asked)
                self.csvs = {"": self._read(flow, target, "csv", asked)}
                return
            sections = self.before.json()["sections"]
            names = [column["name"] for each in sections.values() for column in each["columns"]]
            self.order = {name: place for place, name in enumerate(dict.fromkeys(names))}
            self.html = self._read(flow, target, "html", [*asked, ("cols", ",".join(self.order))])
            # What is asked is asked of the first section, unless another is named.
            named = [*sections][:1] if asked else [*sections]
            self.csvs = {name: self._read(flow, target, "csv", asked or [("section", name)]) for name in named}
            self.after = self._read(flow, target, "json", asked)
            if self._is_same():
                return
        pytest.fail(f"{target} {asked}: its rows did not stay the same")

    def _read(self, flow: HostileFlow, target: str, extension: str, asked: Asked) -> Reply:
        return flow.see_as(extension, target, **dict(asked))

    def _is_same(self) -> bool:
        return self._keys(self.before) == self._keys(self.after)

    def _keys(self, reply: Reply) -> Any:
        """What of the rows does not go on by itself."""
        return {
            name: [[value for value in row.values() if isinstance(value, str)] for row in section["rows"]]
            for name, section in reply.json()["sections"].items()
        }

    def sections(self) -> Iterator[tuple[str, list[dict[str, Any]], Rows, Rows]]:
        """Name, columns, and the rows as JSON had them at first and at last."""
        later = self.after.json()["sections"]
        for name, section in self.before.json()["sections"].items():
            yield name, section["columns"], section["rows"], later[name]["rows"]


def different_in_csv(three: Three) -> Iterator[str]:
    for name, columns, rows, later in three.sections():
        if name not in three.csvs:
            continue
        reply = three.csvs[name]
        lines = list(csv.reader(io.StringIO(reply.text, newline="")))
        names = [column["name"] for column in columns]
        if lines[0] != names:
            yield f"{name}: the columns are {lines[0]} instead of {names}"
            continue
        if len(lines) - 1 != len(rows):
            yield f"{name}: {len(lines) - 1} rows instead of {len(rows)}"
        for number, (line, row, after) in enumerate(zip(lines[1:], rows, later, strict=False)):
            for column, text in zip(names, line, strict=True):
                if row[column] == after[column] and text != cell(row[column]):
                    yield f"{name}[{number}].{column}: {text[:80]!r} instead of {cell(row[column])[:80]!r}"


def different_in_html(three: Three, elsewhere: set[str]) -> Iterator[str]:
    found = HtmlTables(three.html.text)
    for name, columns, rows, later in three.sections():
        table = found.tables.get(name, [])
        if name in elsewhere or (name not in found.tables and not rows):
            continue
        if len(table) != len(rows):
            yield f"{name}: {len(table)} rows instead of {len(rows)}"
        ordered = sorted(columns, key=lambda column: three.order[column["name"]])
        titles = [" ".join(column["title"].split()) for column in ordered]
        heads = found.heads.get(name, [])
        heads = heads[len(heads) - len(titles) :] if heads[:1] == ["Chosen"] else heads  # the boxes to choose rows by
        if heads != titles:
            yield f"{name}: the columns are {heads} instead of {titles}"
            continue
        for number, (line, row, after) in enumerate(zip(table, rows, later, strict=False)):
            for column, text in zip(ordered, line, strict=True):
                value = row[column["name"]]
                wanted = seen(value, column["kind"])
                if value == after[column["name"]] and wanted is not None and text != wanted:
                    yield f"{name}[{number}].{column['name']}: {text[:80]!r} instead of {wanted[:80]!r}"


@pytest.mark.parametrize(
    "ask", [plainly, sorted_downwards, sorted_upwards_and_cut, searched_and_narrowed, with_an_unknown_column]
)
def test_a_page_says_the_same_in_each_format(
    hostile: HostileFlow, ask: Callable[[list[dict[str, Any]]], Asked]
) -> None:
    differences = []
    compared = 0
    for path, target in hostile.examples().items():
        sections = hostile.see_as("json", target).json()["sections"]
        if not sections:
            continue
        columns = next(iter(sections.values()))["columns"]
        three = Three(hostile, target, ask(columns))
        if three.before.status != 200:
            statuses = {three.html.status, *(each.status for each in three.csvs.values())}
            differences += [f"{path}: {three.before.status} as JSON, else {statuses}"] * (
                statuses != {three.before.status}
            )
            continue
        compared += sum(len(rows) for _, _, rows, _ in three.sections())
        differences += [f"{path}: as CSV: {each}" for each in different_in_csv(three)]
        differences += [f"{path}: as HTML: {each}" for each in different_in_html(three, ELSEWHERE.get(path, set()))]
    assert not differences, "\n".join(differences[:40])
    assert compared > 50 or ask is with_an_unknown_column


def test_a_following_page_begins_where_the_one_before_ended(hostile: HostileFlow) -> None:
    first = hostile.see_as("json", "/attempts", size=3).json()["sections"]["attempts"]
    three = Three(hostile, "/attempts", [("size", "3"), ("after", first["next"])])

    assert not [*different_in_csv(three), *different_in_html(three, set())]
    shown = [
        (row["batch"], row["attempt"], row["at"]) for row in first["rows"]
    ]  # a replayed batch begins with try 1 again
    following = next(rows for name, _, rows, _ in three.sections() if name == "attempts")
    assert not {(row["batch"], row["attempt"], row["at"]) for row in following} & set(shown)
