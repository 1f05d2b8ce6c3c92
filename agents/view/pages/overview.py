"""``/``: is anything wrong, where, and since when."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from agents.view.gather import Gather, Gathered
from agents.view.pages.browsing import each
from agents.view.server import View, Visit
from agents.view.sources.state import WorkerState
from pipeline.delivery.pending import HOUR_S
from pipeline.notices.notice import Cause
from pipeline.view.attention import (
    DAY_S,
    MOST_NAMED,
    WATCHED_CAUSES,
    Attention,
    Level,
    Signs,
    as_row,
    counted,
    needs_attention,
    summary,
)
from pipeline.view.balance import balance_sentence
from pipeline.view.charts import Cell, Chart, Series, heat_strip, stacked_bars
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.query import Operator, Query

HOURS: Final = 24
MOST_NOTICES: Final = 500
MOST_PARTITIONS: Final = 1000
WORST: Final = 5
RETENTION_WITHIN_S: Final = 0.3

_ATTENTION: Final[Columns] = (
    Column("level", "Level", Kind.STATE, "critical: events are not delivered, or may be lost; warning: it may become that.", is_sortable=False),
    Column("what", "What", Kind.TEXT, is_sortable=False),
    Column("where", "Where", Kind.TEXT, is_sortable=False),
    Column("since", "Since", Kind.TIME, is_sortable=False),
    Column("count", "How many", Kind.INTEGER, "Events, records or partitions that it is about.", is_sortable=False),
    Column("url", "Rows", Kind.TEXT, "Where the rows behind it are.", is_sortable=False),
)  # fmt: skip
_HOURS: Final[Columns] = (
    Column("at", "Hour", Kind.TIME, "When the hour began in which the events' windows were opened.", is_sortable=False),
    *(
        Column(name, name.capitalize(), Kind.INTEGER, is_sortable=False)
        for name in ("matched", "delivered", "open", "waiting", "parked", "discarded")
    ),
)


class OverviewPage:
    """The first page."""

    def __init__(self, state: WorkerState, gather: Gather) -> None:
        self._state = state
        self._gather = gather

    def register(self, view: View) -> None:
        """Put it on ``view``."""
        view.page("/", self.show, nav="Overview")

    async def show(self, visit: Visit) -> Page:
        """What needs attention, then rates, the ledger, the last day, workers and the integrations that wait longest."""
        now, ask = visit.now_s, self._gather.ask
        source = self._state.topology.source.get_topic_name()
        lately = Query(sort="parked_at", key="place", limit=1).where("state", "parked")
        hours = Query(sort="at", key="at", limit=None).where("at", _first_hour(now), Operator.AT_LEAST)
        notices = Query(sort="at", is_descending=True, key="place", limit=MOST_NOTICES)
        notices = notices.where("at", now - DAY_S, Operator.AT_LEAST)
        causes = tuple(cause.value for cause in (*WATCHED_CAUSES, Cause.ENDPOINT_GONE))
        found = await asyncio.gather(
            ask("ledger-totals", Query(sort="id", key="id", limit=1)),
            ask("workers", Query(sort="worker", key="worker", limit=None)),
            ask("rates", Query(sort="worker", key="worker", limit=None)),
            ask("gates", Query(sort="waiting", is_descending=True, key="id", limit=MOST_NAMED).where("is_held", True)),
            ask("hour-totals", hours),
            ask("parked", lately.where("parked_at", now - HOUR_S, Operator.AT_LEAST)),
            ask("dead_letters", Query(sort="at", key="place", limit=1).where("at", now - DAY_S, Operator.AT_LEAST)),
            ask("notices", notices.where("cause", causes, Operator.IN), visit.masks),
            ask("partitions", Query(sort="partition", key="id", limit=MOST_PARTITIONS).where("topic", source)),
            self._gather.section(
                "waiting_longest", "integrations", replace(visit, parameters=[("sort", "-oldest_s"), ("waiting__gt", "0")]),
                what="integrations", limit=WORST,
            ),
            self._retention_s(source),
        )  # fmt: skip
        totals, workers, rates, held, by_hour, parked, dead, told, partitions, longest, retention_s = found
        rows = [
            await _all(gathered) for gathered in (totals, workers, rates, held, by_hour, parked, dead, told, partitions)
        ]
        # The page's own question: nothing here narrows it, or goes on from there.
        longest.query, longest.next_cursor = None, ""
        totals_row = rows[0][0] if rows[0] else None
        live_notices = await self._still_so(rows[7])
        signs = Signs(
            now_s=now,
            totals=totals_row,
            held=[_with_since(row, rows[7]) for row in rows[3]],
            held_count=held.matching or 0,
            workers=rows[1],
            missing=workers.coverage.missing,
            silent=[shard.worker for shard in workers.coverage.shards if shard.problem and shard.partitions],
            parked_lately=parked.matching or 0,
            dead_letters=dead.matching or 0,
            dead_letter_at=rows[6][0]["at"] if rows[6] else None,
            notices=live_notices,
            source_retention_s=retention_s,
        )
        wrong = needs_attention(signs)
        hours_shown = _each_hour(rows[4], now)
        attention = [as_row(one) | {"url": _url(one, visit)} for one in wrong]
        sections = [
            Section("attention", _ATTENTION, each(attention), f"{len(wrong)} to look at, the worst first.", coverage=held.coverage),
            Section("workers", self._gather.source("workers").columns, each(rows[1]), f"{counted(len(rows[1]), 'worker')}.", coverage=workers.coverage),
            longest,
            Section("hours", _HOURS, each(hours_shown), "The last 24 hours, by the hour in which windows were opened.", coverage=by_hour.coverage),
            Section("rates", self._gather.source("rates").columns, each(rows[2]), "Events a second.", coverage=rates.coverage),
            Section("ledger", self._gather.source("ledger-totals").columns, each(rows[0]), "All integrations together.", coverage=totals.coverage),
            Section("told", self._gather.source("notices").columns, each(rows[7]), "Notices of the last 24 hours that matter here.", coverage=told.coverage),
        ]  # fmt: skip
        is_complete = all(section.coverage.is_complete for section in sections)
        facts, links, tones = _facts(totals_row, rows[1], rows[2], now, visit)
        context = {
            "attention": [(one, row["url"]) for one, row in zip(wrong, attention, strict=True)],
            "summary": summary(wrong, is_complete=is_complete),
            "verdict": "bad" if any(one.level is Level.CRITICAL for one in wrong) else "warn" if wrong or not is_complete else "good",
            "lead": [] if totals_row is None else [balance_sentence(totals_row)],
            "charts": [_over_time(hours_shown), _lag_strip(rows[8])],
            "fact_links": links,
            "fact_tones": tones,
            "shown_sections": ("workers", "waiting_longest"),
            "nothing": {"waiting_longest": "Nothing waits."},
        }  # fmt: skip
        return Page("Overview", "overview.html", sections, facts, context)

    async def _retention_s(self, source: str) -> float | None:
        """How long Kafka keeps the source; ``None`` where it does not say so at once."""
        asked = asyncio.ensure_future(
            self._gather.ask("topics", Query(sort="topic", key="topic", limit=1).where("topic", source))
        )
        await asyncio.wait([asked], timeout=RETENTION_WITHIN_S)
        if not asked.done():
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())
            return None
        if asked.exception() is not None:
            return None
        rows = await _all(asked.result())
        return rows[0]["retention_s"] if rows else None

    async def _still_so(self, notices: Sequence[Row]) -> list[Row]:
        """Notices without those that are over: credentials that were taken since, batches that wait no more."""
        names = sorted({row["integration"] for row in notices if row["integration"]})
        if not names:
            return list(notices)
        query = Query(sort="integration", key="integration", limit=len(names)).where(
            "integration", tuple(names), Operator.IN
        )
        found = await self._gather.ask("integrations", query)
        known = {row["integration"]: row async for row in found.rows}
        return [
            row
            for row in notices
            if not is_over(row, known.get(row["integration"]), is_whole=found.coverage.is_complete)
        ]


def is_over(notice: Row, integration: Row | None, *, is_whole: bool) -> bool:
    """Whether what a notice told of an integration is past; ``integration`` is its row, ``None`` where there is none any more."""
    if integration is None:
        return is_whole and bool(notice["integration"])
    if notice["cause"] == Cause.CREDENTIALS_REFUSED:
        return (integration["last_success_at"] or 0.0) > notice["at"]
    if notice["cause"] == Cause.WAITING_LONG:
        return not integration["waiting"]
    return False


async def _all(found: Gathered) -> list[Row]:
    return [row async for row in found.rows]


def _url(one: Attention, visit: Visit) -> str:
    return visit.url_for(one.path, **one.parameters)


def _with_since(row: Row, notices: Iterable[Row]) -> Row:
    """A lane that is held back; of an endpoint that is gone only the notice says since when."""
    if row["since"] is not None:
        return row
    told = [
        each["at"]
        for each in notices
        if each["cause"] == Cause.ENDPOINT_GONE and each["integration"] == row["integration"]
    ]
    return {**row, "since": max(told, default=None)}


def _first_hour(now: float) -> float:
    return (now // HOUR_S - HOURS + 1) * HOUR_S


def _each_hour(rows: Iterable[Row], now: float) -> list[Row]:
    """One row an hour, also of those in which nothing happened."""
    known = {row["at"]: row for row in rows}
    first = _first_hour(now)
    names = [column.name for column in _HOURS if column.name != "at"]
    hours = [first + number * HOUR_S for number in range(HOURS)]
    return [{"at": at, **{name: known[at][name] if at in known else 0 for name in names}} for at in hours]


def _over_time(hours: Sequence[Row]) -> Chart:
    series = [
        Series("delivered", [row["delivered"] for row in hours], "good"),
        Series("in open windows", [row["open"] for row in hours], "info"),
        Series("waiting", [row["waiting"] for row in hours], "warn"),
        Series("parked or discarded", [row["parked"] + row["discarded"] for row in hours], "bad"),
    ]
    return stacked_bars(
        [row["at"] for row in hours], series, "Events matched in the last 24 hours, and where they are now"
    )


def _lag_strip(partitions: Sequence[Row]) -> Chart:
    ordered = sorted(partitions, key=lambda row: int(row["partition"]))
    return heat_strip(
        [Cell(str(row["partition"]), row["lag"]) for row in ordered], "Lag in events, by partition of the source"
    )


def _sum(rows: Iterable[Row], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return round(sum(known), 1) if known else None


def _facts(
    totals: Row | None, workers: Sequence[Row], rates: Sequence[Row], now: float, visit: Visit
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    lags = [row["lag_s"] for row in workers if row["lag_s"] is not None]
    lag = _sum(workers, "lag")
    facts: dict[str, Any] = {
        "arriving_a_second": _sum(rates, "arriving_s"),
        "matched_a_second": _sum(rates, "matched_s"),
        "delivered_a_second": _sum(rates, "delivered_s"),
        "gave_up_a_second": _sum(rates, "failed_s"),
        "lag_in_events": None if lag is None else int(lag),
        "lag_in_time_s": max(lags, default=None),
    }
    links = {
        "arriving_a_second": visit.url_for("/workers"),
        "lag_in_events": visit.url_for("/workers"),
        "lag_in_time_s": visit.url_for("/workers"),
        "delivered_a_second": visit.url_for("/attempts", verdict="delivered", since="1h"),
        "gave_up_a_second": visit.url_for("/parked", since="1h"),
    }
    tones: dict[str, str] = {}
    facts |= dict.fromkeys((*_LEDGER, "oldest_waiting_s"))
    if totals is not None:
        since = totals["waiting_since"]
        facts |= {name: totals[name] for name in _LEDGER}
        facts["oldest_waiting_s"] = None if since is None else max(0.0, now - since)
        links |= {
            "matched": visit.url_for("/integrations", sort="-matched", cols=_COLS_OF_LEDGER),
            "delivered": visit.url_for("/integrations", sort="-delivered", cols=_COLS_OF_LEDGER),
            "open": visit.url_for("/integrations", sort="-open", open__gt="0", cols=_COLS_OF_LEDGER),
            "waiting": visit.url_for("/batches", outcome__in="waiting,retrying", sort="sealed_at"),
            "parked": visit.url_for("/parked"),
            "discarded": visit.url_for("/integrations", sort="-discarded", discarded__gt="0", cols=_COLS_OF_LEDGER),
            "missing": visit.url_for("/integrations", missing__not="0", cols=_COLS_OF_LEDGER),
            "oldest_waiting_s": visit.url_for("/integrations", sort="-oldest_s"),
        }
        tones |= {name: tone for name, tone in (("missing", "bad"), ("parked", "warn")) if totals[name]}
    return facts, links, tones


_LEDGER: Final = ("matched", "delivered", "open", "waiting", "parked", "discarded", "missing")
_COLS_OF_LEDGER: Final = "integration,state,matched,delivered,open,waiting,parked,discarded,missing"
