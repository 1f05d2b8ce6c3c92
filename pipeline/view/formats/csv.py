"""One section of a page as CSV (RFC 4180, UTF-8), made while it is read. Spreadsheets take no cell for a formula."""

import csv
from collections.abc import AsyncIterator
from typing import Any, Final

from pipeline.errors import NotFoundError
from pipeline.view.formats.pace import in_pieces
from pipeline.view.formats.text import inert, text_of
from pipeline.view.page import Page, Section

CONTENT_TYPE: Final = "text/csv"
PARTIAL: Final = 206
_FORMULA: Final = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 the wide forms, which some spreadsheets take as well


class _Line:
    """What ``csv.writer`` writes to: keeps the line it was given last."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


def cell(value: Any) -> str:
    """``value`` as a cell. Text that a spreadsheet would take for a formula gets an apostrophe before it."""
    text = inert(text_of(value))
    if not isinstance(value, int | float) and text and (text[0] in _FORMULA or text.lstrip()[:1] in _FORMULA):
        return "'" + text
    return text


def chosen(page: Page, name: str) -> Section:
    """The section to write: the one with ``name``, else the first. Raises ``NotFoundError`` where there is none."""
    for section in page.sections:
        if not name or section.name == name:
            return section
    there_are = ", ".join(section.name for section in page.sections)
    raise NotFoundError(f"section: there is no {name[:40]!r} here; there are {there_are}" if name else "no rows here")


def status_of(section: Section, *, accepts_partial: bool) -> int:
    """206 where something is missing and the reader did not say that it knows (``?partial=ok``), else 200."""
    return 200 if section.coverage.is_complete or accepts_partial else PARTIAL


async def stream(section: Section) -> AsyncIterator[bytes]:
    """The section's rows below a line of the columns' names; before it a comment where something is missing."""
    async for piece in in_pieces(_texts(section)):
        yield piece


async def _texts(section: Section) -> AsyncIterator[bytes]:
    line = _Line()
    writer = csv.writer(line)
    if not section.coverage.is_complete:
        yield f"# incomplete: {' '.join(inert(section.coverage.sentence()).split())}\r\n".encode()
    names = [column.name for column in section.columns]
    writer.writerow([cell(name) for name in names])
    yield line.text.encode()
    async for row in section.rows:
        writer.writerow([cell(row.get(name)) for name in names])
        yield line.text.encode()
