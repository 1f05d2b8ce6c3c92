"""A page as HTML: what templates are given, and how their text is sent piece by piece.

Every template is given these names (a name that is not there is an error, never an empty text):

``page``           the ``Page``: ``title``, ``facts``, ``context``, ``status``
``tables``         one ``Table`` a section, in order: ``section`` (``name``, ``heading``, ``query``, ``facets``, ``next_cursor``,
                   ``coverage``), ``columns`` (those to show, by ``cols=``), ``rows`` (a list: a page of HTML holds at most 1000)
``coverage``       of all sections together; ``coverage.sentence()`` is empty where nothing is missing
``person``         who looks (``name``, ``role``), or ``None`` before anybody has signed in
``is_signed_in``   whether there is a session that can be signed out of (not so behind a proxy, or without tokens)
``may(role)``      whether the person has at least that role: ``{% if may("operator") %}``
``nav``            entries ``title``, ``url``, ``is_here``
``saved_views``    entries ``title``, ``url``, from ``view.views`` of ``faust.yml``
``flash``          one sentence about the act just done, or ``""``
``csrf_token``     for ``<input type="hidden" name="csrf_token">``, or the header ``X-CSRF-Token``
``url_for(path, **values)``  a URL within the view: ``{name}`` in ``path`` is filled and quoted, all else become parameters
``here(**changes)``          this page's URL with parameters set, or removed with ``None``; leaves ``after`` out
``twin(format, **changes)``  this page as ``json`` or ``csv``
``link(column, row)``        where a cell leads (``column.link`` with the row's values), or ``""``
``apart(section)``           for ``here`` and ``twin`` of a section that the URL does not speak of: what is to be left out of it
``whole(table, row)``        where one row is to be had in full, for values that were shortened
``static(name)``             the URL of a file in ``static/``, with a hash of its content
``parameters``     the URL's parameters as pairs; ``parameter(name)`` the last of that name, or ``""``
``path``           the page's path within the view
``now_s``          UNIX seconds
``is_begun``       whether what every page begins with (``begin.html``) has been sent

All names in ``page.context`` are there too. Filters: ``shown`` (any value as text for people, made inert and shortened to 300
characters; ``shown(n)`` for another length), ``is_cut`` (whether ``shown`` shortened it), ``moment`` (UNIX seconds as ISO 8601
in UTC), ``sized`` (bytes), ``lasting`` (seconds), ``figure`` (a number with thin groups), ``as_json`` (indented text), ``inert``
(uncut).
Everything is escaped; there is no inline script or style, which the content security policy forbids.
"""

import functools
import json
import string
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined

from pipeline.model.moments import format_time
from pipeline.view.charts import sparkline
from pipeline.view.columns import Column, Columns, Row, column_named
from pipeline.view.formats.pace import Turns, in_pieces, paced
from pipeline.view.formats.text import SHOWN_CHARACTERS, inert, plain, text_of
from pipeline.view.page import Page, Section
from pipeline.view.query import MOST_ROWS_A_PAGE, OF_TABLES
from pipeline.view.roles import Person, Role

CONTENT_TYPE: Final = "text/html"
TWINS: Final = ("json", "csv")
_NAMED: Final = (".html", ".json", ".csv")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_KIB: Final = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


@dataclass(slots=True)
class Table:
    """A section with its rows read; ``is_cut`` says that it has more than a page of HTML holds."""

    section: Section
    columns: Columns
    rows: list[Row]
    is_cut: bool = False


class NavEntry(NamedTuple):
    """A link that every page has."""

    title: str
    url: str
    is_here: bool


@dataclass(slots=True)
class Around:
    """What a page's HTML shows beside the page: who looks, from where, and where else one can go.

    ``path`` is within the view, ``prefix`` what the proxy puts before it; ``nav`` and ``saved_views`` are titles and paths.
    """

    path: str
    now_s: float
    person: Person | None = None
    is_signed_in: bool = False
    prefix: str = ""
    parameters: Sequence[tuple[str, str]] = ()
    csrf_token: str = ""
    flash: str = ""
    nav: Sequence[tuple[str, str]] = ()
    saved_views: Sequence[tuple[str, str]] = ()
    static: Callable[[str], str] = field(default=lambda name: f"/static/{name}")

    def url_for(self, path: str, **values: Any) -> str:
        """A URL within the view: ``{name}`` in ``path`` is filled, what is left of ``values`` become parameters."""
        return self.prefix + filled(path, values)

    def here(self, **changes: Any) -> str:
        """This page with parameters changed: a value, a list of values, or ``None`` for none; on its first page of rows."""
        return self._changed(self.path, {"after": None, **changes})

    def twin(self, extension: str, **changes: Any) -> str:
        """This page in another format."""
        return self._changed(twin_path(self.path, extension), changes)

    def whole(self, table: Table, row: Row) -> str:
        """Where all of ``row`` is to be had, uncut: as JSON, by its key where the section has one."""
        query = table.section.query
        if query is None or row.get(query.key) is None:
            return self.twin("json")
        key = text_of(row[query.key])
        return self.prefix + filled(twin_path(self.path, "json"), {query.key: key})

    def link(self, column: Column, row: Row) -> str:
        """Where a cell leads, or nothing: ``column.link`` with the row's values; none where one that it needs is missing."""
        names = _names_in(column.link)
        if not column.link or any(row.get(name) in (None, "") for name in names):
            return ""
        return self.prefix + filled(column.link, {name: text_of(row[name]) for name in names})

    def entries(self, links: Sequence[tuple[str, str]]) -> list[NavEntry]:
        """Links with what is open now marked: the page itself, or the list that it belongs to."""
        best = max((path for _, path in links if self._is_below(path)), key=len, default=None)
        return [NavEntry(title, self.prefix + path, path == best) for title, path in links]

    def may(self, role: str) -> bool:
        """Whether whoever looks has at least that role."""
        return self.person is not None and self.person.role.includes(Role(role))

    def parameter(self, name: str) -> str:
        """The last value of a parameter, or nothing."""
        return next((value for key, value in reversed(self.parameters) if key == name), "")

    def _is_below(self, path: str) -> bool:
        return self.path == path or (path != "/" and self.path.startswith(path + "/"))

    def _changed(self, path: str, changes: Mapping[str, Any]) -> str:
        kept = [(name, value) for name, value in self.parameters if name not in changes]
        for name, value in changes.items():
            values = value if isinstance(value, list | tuple) else [value]
            kept += [(name, text_of(each)) for each in values if each is not None]
        return self.prefix + quote(path, safe="/%~") + (f"?{_query(kept)}" if kept else "")


def filled(path: str, values: Mapping[str, Any]) -> str:
    """``path`` with each ``{name}`` replaced by its value, quoted as one step; the other values become parameters."""
    names = _names_in(path)
    steps = {name: _step(text_of(values[name])) for name in names}
    url = path.format_map(steps)
    before = path.partition("?")[0]
    head, mark, tail = url.partition("?")
    if before.endswith("}") and head.endswith((*_NAMED, "/.", "/..")):
        url = f"{head}.html{mark}{tail}"  # a name that ends in .json is no twin, and .. is not the folder above
    more = [
        (name, text_of(each))
        for name, value in values.items()
        if name not in names
        for each in (value if isinstance(value, list | tuple) else [value])
        if each is not None
    ]
    return url + (("&" if "?" in url else "?") + _query(more) if more else "")


@functools.lru_cache(maxsize=1000)
def _names_in(path: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(path) if name)


def twin_path(path: str, extension: str) -> str:
    """The path of the same page in another format; that of ``/`` is ``/index.json``."""
    bare = path.removesuffix(".html")
    return f"{'/index' if bare == '/' else bare}.{extension}"


def environment(loader: BaseLoader | None = None) -> Environment:
    """The templates of ``pipeline/view/templates``, or of another loader, with all filters."""
    made = Environment(
        loader=loader or PackageLoader("pipeline.view", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # files that an upgrade puts below a running worker do not fit its code
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    made.filters |= {
        "shown": shown,
        "is_cut": is_cut,
        "moment": moment,
        "sized": sized,
        "lasting": lasting,
        "figure": figure,
        "as_json": as_json,
        "sparkline": sparkline,
        "inert": lambda value: inert(text_of(value)),
    }
    return made


@functools.cache
def templates() -> Environment:
    """The one environment of a process."""
    return environment()


async def tables_of(page: Page, wanted_columns: Iterable[str] = ()) -> list[Table]:
    """Read every section, as far as a page of HTML holds it. ``wanted_columns`` are those of ``cols=``; none: the usual ones."""
    wanted = list(wanted_columns)
    found = []
    turns = Turns()
    for section in page.sections:
        rows: list[Row] = []
        is_cut = False
        async for row in section.rows:
            if len(rows) == MOST_ROWS_A_PAGE:
                is_cut = True
                break
            rows.append(row)
            await turns.pause()
        found.append(Table(section, _columns(section.columns, wanted), rows, is_cut))
    return found


def begin(around: Around, made: Environment | None = None) -> bytes:
    """What every page begins with, so that browsers can fetch styles and scripts while the page is gathered."""
    text = (
        (made or templates()).get_template("begin.html").render(static=lambda name: around.prefix + around.static(name))
    )
    return text.encode()


async def stream(
    page: Page, tables: list[Table], around: Around, made: Environment | None = None, *, is_begun: bool = False
) -> AsyncIterator[bytes]:
    """The whole page, or what follows :func:`begin`, in pieces.

    A mistake in its template shows before the first piece or, in a later part, in the middle.
    """
    template = (made or templates()).get_template(page.template)
    names = {
        **page.context,
        "page": page,
        "tables": tables,
        "coverage": page.coverage(),
        "person": around.person,
        "is_signed_in": around.is_signed_in,
        "may": around.may,
        "nav": around.entries(around.nav),
        "saved_views": [NavEntry(title, around.prefix + path, False) for title, path in around.saved_views],
        "flash": around.flash,
        "csrf_token": around.csrf_token,
        "url_for": around.url_for,
        "here": around.here,
        "twin": around.twin,
        "whole": around.whole,
        "apart": functools.partial(_apart, tables, around.parameters),
        "link": around.link,
        "static": lambda name: around.prefix + around.static(name),
        "parameters": list(around.parameters),
        "parameter": around.parameter,
        "path": around.path,
        "now_s": around.now_s,
        "is_begun": is_begun,
    }
    async for piece in in_pieces(paced(template.generate(names))):
        yield piece


def shown(value: Any, most_characters: int = SHOWN_CHARACTERS) -> str:
    """``value`` as text for people, inert, and cut where it is long."""
    text = text_of(value)
    return inert(text) if len(text) <= most_characters else inert(text[:most_characters]) + "…"


def is_cut(value: Any, most_characters: int = SHOWN_CHARACTERS) -> bool:
    """Whether ``shown`` leaves something out."""
    return len(text_of(value)) > most_characters


def moment(at: Any) -> str:
    """UNIX seconds as ``2026-11-22T10:00:00Z``; nothing for ``None``, the number itself where it is none that has a date."""
    if at is None:
        return ""
    try:
        return format_time(float(at))
    except (ValueError, OverflowError, OSError, TypeError):
        return shown(at)


def sized(size_bytes: Any) -> str:
    """``1536`` as ``1.5 KiB``."""
    if size_bytes is None:
        return ""
    size, unit = float(size_bytes), 0
    while abs(size) >= _KIB and unit < len(_UNITS) - 1:
        size, unit = size / _KIB, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or abs(size) >= 100 else f"{size:.1f} {_UNITS[unit]}"  # noqa: PLR2004 three digits do


def lasting(seconds: Any) -> str:
    """``5400`` as ``1 h 30 min``: the two largest units, and milliseconds below a second."""
    if seconds is None:
        return ""
    left = abs(float(seconds))
    sign = "-" if float(seconds) < 0 else ""
    if left < 1:
        return f"{sign}{left * 1000:.0f} ms"
    if left < 10:  # noqa: PLR2004 where a tenth of a second says something
        return f"{sign}{left:.1f} s"
    whole_s = round(left)
    parts: list[str] = []
    for size, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"), (1, "s")):
        count, whole_s = divmod(whole_s, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return sign + " ".join(part for part in parts[:2] if part)


def figure(number: Any) -> str:
    """``1234567`` as ``1 234 567``, with narrow no-break spaces; at most three digits after the point."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        return shown(number)
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.3f}".rstrip("0").rstrip(".")
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}")


def as_json(value: Any) -> str:
    """``value`` as indented JSON, inert."""
    return inert(json.dumps(plain(value), ensure_ascii=False, indent=2))


def _apart(tables: Sequence[Table], parameters: Sequence[tuple[str, str]], section: Section) -> dict[str, None]:
    """Parameters that narrow another table of the page, which would make no sense of ``section``."""
    if section.query is not None:
        return {}
    read_by = [table.section for table in tables if table.section.query is not None]
    names = {column.name for each in read_by for column in each.columns} | (OF_TABLES if read_by else frozenset())
    return {name: None for name, _ in parameters if name.partition("__")[0] in names}


def _columns(columns: Columns, wanted: list[str]) -> Columns:
    chosen = [column for name in wanted if (column := column_named(columns, name)) is not None]
    return tuple(chosen) or tuple(column for column in columns if not column.is_wide)


def _step(text: str) -> str:
    return quote(inert_bytes(text), safe="~")


def inert_bytes(text: str) -> bytes:
    """``text`` as UTF-8; a lone surrogate, which no URL can hold, is written out."""
    return text.encode("utf-8", "backslashreplace")


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    return urlencode([(name, inert_bytes(value)) for name, value in pairs])
