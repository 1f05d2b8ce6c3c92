"""``/segment``: what Segment's destination calls brought, and what of it could not be taken."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from agents.view.inbound_parts import SEGMENT_EXAMPLE, InboundParts, off_page
from agents.view.pages.browsing import each, time_range, with_facets
from agents.view.server import View, Visit
from agents.view.sources.webhooks import HOUR_S, HOURS, first_hour
from pipeline.inbound.segment.reasons import Reason
from pipeline.view.charts import Series, stacked_bars
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.query import Query

FACETS: Final = ("call", "result")
MOST_APPLICATIONS: Final = 1000

_SHOWN: Final = ("at", "call", "result", "reason", "application", "preview", "events", "disregarded", "status")
_REASONS: Final[Columns] = (
    Column("reason", "Reason", Kind.TEXT, "Why an event, or a part of a profile, was not taken.", is_sortable=False),
    Column("count", "Events", Kind.INTEGER, "How many of the last 24 hours.", is_sortable=False),
    Column("meaning", "What it means", Kind.TEXT, "And what to do.", is_sortable=False),
)
_OFF: Final = "Segment's calls are not taken: faust.yml names no application under segment_destination."
_NO_CALLS: Final = "Segment has not called yet, or it is longer ago than the view remembers."
_NO_REASONS: Final = "Everything that came in the last 24 hours was taken."


class SegmentPage:
    """The page. ``parts`` is absent where nothing is taken."""

    def __init__(self, parts: InboundParts | None) -> None:
        self._parts = parts if parts is not None and parts.settings.segment_destination is not None else None

    def register(self, view: View) -> None:
        """Put it on ``view``."""
        view.page("/segment", self.show, nav="Segment")

    async def show(self, visit: Visit) -> Page:
        """Calls of Segment's destination: the last 24 hours by application, what was disregarded and why, then call by call."""
        if self._parts is None:
            return off_page("Segment", _OFF, SEGMENT_EXAMPLE)
        gather = self._parts.gather
        calls = await gather.section(
            "calls",
            "inbound_requests",
            with_facets(visit, FACETS),
            what="calls",
            source="segment",
            **time_range(visit, "at"),
        )
        calls.columns = _in_order(calls.columns)
        if visit.is_export:
            return Page("Segment", "page.html", [calls])
        found = await gather.ask("segment_calls", Query(sort="application", key="application", limit=MOST_APPLICATIONS))
        rows = [row async for row in found.rows]
        reasons = [*_reasons(rows)]
        columns = gather.source("segment_calls").columns
        sections = [
            calls,
            Section("applications", columns, each(rows), f"{len(rows)} applications.", coverage=found.coverage),
            Section("disregarded", _REASONS, each(reasons), _told(rows), coverage=found.coverage),
        ]
        facts = {
            "calls_24_h": sum(row["calls"] for row in rows),
            "events_24_h": sum(row["events"] for row in rows),
            "disregarded_24_h": sum(row["disregarded"] for row in rows),
            "repeated_24_h": sum(row["repeated"] for row in rows),
            "refused_calls_24_h": sum(row["failed"] for row in rows),
            "last_call_at": max((row["last_at"] for row in rows if row["last_at"] is not None), default=None),
        }
        hours = [sum(row["trend"][hour] for row in rows) for hour in range(HOURS)]
        times = [float((first_hour(visit.now_s) + hour) * HOUR_S) for hour in range(HOURS)]
        title = "Calls of the last 24 hours, an hour each"
        context = {
            "lead": f"Segment calls {self._parts.inbound.base_url}/integration-segment/v1; its API key is that of the application.",
            "charts": [stacked_bars(times, [Series("calls", hours, "info")], title)],
            "fact_tones": {name: "warn" for name in ("disregarded_24_h", "refused_calls_24_h") if facts[name]},
            "nothing": {"calls": _NO_CALLS, "disregarded": _NO_REASONS},
        }
        return Page("Segment", "page.html", sections, facts, context)


def _in_order(columns: Columns) -> Columns:
    """The columns that are shown first, with the call near the left edge: it says what a row is."""
    by_name = {column.name: column for column in columns}
    shown = [replace(by_name.pop(name), is_wide=False) for name in _SHOWN if name in by_name]
    return (*shown, *(replace(column, is_wide=True) for column in by_name.values()))


def _reasons(rows: Iterable[Row]) -> Iterable[Row]:
    counts: dict[str, int] = {}
    for row in rows:
        for reason, count in (row["reasons"] or {}).items():
            counts[reason] = counts.get(reason, 0) + count
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        known = Reason(name) if name in set(Reason) else None
        yield {
            "reason": name if known is None else known.label,
            "count": count,
            "meaning": None if known is None else known.meaning,
        }


def _told(rows: Iterable[Row]) -> str:
    count = sum(row["disregarded"] for row in rows)
    return f"{count:,} events of the last 24 hours were not taken, by reason." if count else "Nothing was disregarded."
