"""A page before it has a format: the same sections become HTML, JSON or CSV."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.view.columns import Columns, Row
from pipeline.view.coverage import EVERYTHING, Coverage, joined
from pipeline.view.query import Query


@dataclass(slots=True)
class Section:
    """A table of a page.

    ``rows`` are made as they are read, so that a million of them need no memory. ``heading`` is a sentence that says what is
    shown. ``query`` is there where viewers may filter and sort. ``next_cursor`` stands for the last row where more follow, and
    ``facets`` are counts by value of the columns asked for; both are known before the rows are read.
    """

    name: str
    columns: Columns
    rows: AsyncIterator[Row]
    heading: str = ""
    query: Query | None = None
    next_cursor: str = ""
    facets: dict[str, list[tuple[Any, int]]] = field(default_factory=dict)
    coverage: Coverage = EVERYTHING


@dataclass(slots=True)
class Page:
    """What a handler answers.

    ``facts`` are single figures above the tables, by name, and are part of the JSON; ``template`` is the HTML's, which has
    ``context`` beside all of this. ``.csv`` gives the section that ``?section=NAME`` asks for, else the first.
    """

    title: str
    template: str
    sections: list[Section] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    status: int = 200

    def coverage(self) -> Coverage:
        """That of all sections together."""
        return joined(section.coverage for section in self.sections)
