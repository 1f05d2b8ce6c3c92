"""A page as JSON, made while it is read: a million rows need no more memory than one."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from pipeline.view.columns import Columns, Row
from pipeline.view.formats.pace import in_pieces
from pipeline.view.formats.text import plain
from pipeline.view.page import Page, Section

CONTENT_TYPE = "application/json"
_encoder = msgspec.json.Encoder()


def encoded(value: Any) -> bytes:
    """``value`` as JSON in ASCII, which no lone surrogate or direction mark gets through raw."""
    try:
        text = _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError):
        text = b"\xff"
    return text if text.isascii() else json.dumps(plain(value), separators=(",", ":")).encode()


async def stream(page: Page, now_s: float) -> AsyncIterator[bytes]:
    """The whole page, in pieces."""
    async for piece in in_pieces(_texts(page, now_s)):
        yield piece


async def _texts(page: Page, now_s: float) -> AsyncIterator[bytes]:
    coverage = page.coverage().as_json()
    head = {"title": page.title, "as_of": coverage["as_of"] or now_s, "coverage": coverage, "facts": page.facts}
    yield encoded(head)[:-1] + b',"sections":{'
    for index, section in enumerate(page.sections):
        yield (b"," if index else b"") + encoded(section.name) + b":" + _opening(section)
        names = tuple(column.name for column in section.columns)
        separator = b"\n"
        async for row in section.rows:
            yield separator + encoded(_of_columns(row, names))
            separator = b",\n"
        yield b"]}"
    yield b"}}\n"


def _opening(section: Section) -> bytes:
    facets = {
        name: [{"value": value, "count": count} for value, count in counts] for name, counts in section.facets.items()
    }
    said = {
        "heading": section.heading,
        "columns": described(section.columns),
        "next": section.next_cursor or None,
        "facets": facets,
        "coverage": section.coverage.as_json(),
    }
    return encoded(said)[:-1] + b',"rows":['


def described(columns: Columns) -> list[dict[str, Any]]:
    """The columns, for programs."""
    return [{"name": each.name, "title": each.title, "kind": each.kind.value, "help": each.help} for each in columns]


def _of_columns(row: Row, names: tuple[str, ...]) -> Row:
    return {name: row.get(name) for name in names}
