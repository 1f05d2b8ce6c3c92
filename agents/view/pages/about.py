"""The page that says what is running, how it is set, and what can be had from where."""

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from importlib.metadata import version
from typing import Any, Final

from yarl import URL

from agents.view.server import Route
from agents.view.visit import Visit
from pipeline.config.schema import Settings
from pipeline.sinks.registry import SINKS
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.formats.html import twin_path
from pipeline.view.page import Page, Section

_SETTINGS: Final[Columns] = (
    Column("key", "Setting", Kind.CODE, "as faust.yml has it", is_sortable=False),
    Column("value", "Value", Kind.CODE, "secrets are never shown", is_sortable=False),
)
_SINKS: Final[Columns] = (
    Column("kind", "Kind", Kind.CODE, is_sortable=False),
    Column("summary", "What it sends", is_sortable=False),
    Column("integrations", "Integrations in faust.yml", Kind.INTEGER, is_sortable=False),
)
_PAGES: Final[Columns] = (
    Column("path", "Path", Kind.CODE, is_sortable=False),
    Column("method", "Method", Kind.CODE, is_sortable=False),
    Column("kind", "Kind", Kind.CODE, "page, act, api or events", is_sortable=False),
    Column("role", "Takes the role", Kind.STATE, is_sortable=False),
    Column("json", "As JSON", Kind.CODE, is_sortable=False),
    Column("csv", "As CSV", Kind.CODE, is_sortable=False),
)
_SHOWN_ELSEWHERE: Final = frozenset({"integrations"})
_HOST_ALONE: Final = frozenset({"notices.webhook"})
"""URLs whose path may be a secret, as it is with chat services."""


class AboutPage:
    """Made anew at each visit from the settings and from what is registered."""

    def __init__(self, settings: Settings, routes: Callable[[], Iterable[Route]], started_at: float) -> None:
        self._settings = settings
        self._routes = routes
        self._started_at = started_at

    async def __call__(self, visit: Visit) -> Page:
        """The page."""
        settings = self._settings
        facts = {
            "app": settings.app,
            "version": version("distributary"),
            "faust": version("faust-streaming"),
            "python": ".".join(map(str, sys.version_info[:3])),
            "topic": settings.topic,
            "partitions": settings.partitions,
            "integrations": len(settings.integrations),
            "started_at": self._started_at,
            "up_s": round(visit.now_s - self._started_at),
        }
        sections = [
            Section("settings", _SETTINGS, _each(_settings(settings)), "How this worker is set."),
            Section("sinks", _SINKS, _each(_sinks(settings)), "The kinds of endpoints that there are sinks for."),
            Section("pages", _PAGES, _each(self._pages()), "All that this view serves."),
        ]
        return Page("About", "page.html", sections, facts)

    def _pages(self) -> Iterable[Row]:
        for route in self._routes():
            is_page = route.kind == "page"
            yield {
                "path": route.path,
                "method": route.method,
                "kind": route.kind,
                "role": route.role.value,
                "json": twin_path(route.path, "json") if is_page else None,
                "csv": twin_path(route.path, "csv") if is_page else None,
            }


def _settings(settings: Settings) -> Iterable[Row]:
    told = settings.model_dump(mode="json", by_alias=True, exclude=set(_SHOWN_ELSEWHERE))
    for key, value in _flat("", told):
        yield {"key": key, "value": _host_of(value) if key in _HOST_ALONE and value is not None else value}


def _flat(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), each)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, each in enumerate(value):
            yield from _flat(f"{key}[{index}]", each)
    else:
        yield key, value


def _host_of(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.scheme}://{parsed.host}/…"


def _sinks(settings: Settings) -> Iterable[Row]:
    for spec in SINKS:
        count = sum(each.kind == spec.kind for each in settings.integrations)
        yield {"kind": spec.kind, "summary": spec.summary, "integrations": count}


async def _each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row
