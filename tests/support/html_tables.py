"""The tables of a page of HTML, read as a person reads them: what is seen, without buttons, pictures and signs."""

from html.parser import HTMLParser
from typing import Any

from pipeline.view.formats.html import figure, lasting, moment, shown, sized
from pipeline.view.formats.text import inert, text_of

_EMPTY = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_UNSEEN = frozenset({"button", "svg", "pre"})
_WHOLE = frozenset({"whole", "The whole value"})


class HtmlTables(HTMLParser):
    """``tables`` are the texts of the cells of each row, by the section's name; ``heads`` those of the headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heads: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._section = ""
        self._cell: list[str] | None = None
        self._open: list[tuple[str, bool]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _EMPTY:
            return
        given = dict(attrs)
        is_sign = bool({"sign", "arrow"} & set((given.get("class") or "").split()))
        self._open.append((tag, tag in _UNSEEN or is_sign))
        if tag == "table" and (given.get("id") or "").endswith("-rows"):
            self._section = str(given["id"]).removesuffix("-rows")
            self.heads[self._section], self.tables[self._section] = [], []
        elif tag == "tr" and self._section and "data-row" in given:
            self.tables[self._section].append([])
        elif tag in {"th", "td"} and self._section and given.get("class") != "pick":
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "table":
            self._section = ""
        elif tag in {"th", "td"} and self._cell is not None:
            text = " ".join(" ".join(self._cell).split())
            (self.heads[self._section] if tag == "th" else self.tables[self._section][-1]).append(text)
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not any(is_unseen for _, is_unseen in self._open) and data.strip() not in _WHOLE:
            self._cell.append(data)


def seen(value: Any, kind: str) -> str | None:
    """What the cell of a value says; ``None`` for pictures, which say it otherwise."""
    if value is None or value == "":
        return "\N{EN DASH}"
    is_number = isinstance(value, int | float)
    match kind:
        case "picture":
            return None
        case "time":
            text = f"{moment(value)[:19].replace('T', ' ')} UTC" if is_number else shown(value)
        case "state":
            text = shown(value, 60)
        case "flag":
            text = "yes" if value else "no"
        case "code":
            text = shown(value, 120)
        case "json":
            line = inert(text_of(value))
            text = line if len(line) <= 60 else f"{line[:60]}…"
        case "bytes" if is_number:
            text = sized(value)
        case "seconds" if is_number:
            text = lasting(value)
        case "integer" | "number" if is_number:
            text = figure(value)
        case _:
            text = shown(value)
    return " ".join(text.split())
