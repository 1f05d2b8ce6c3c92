"""``/integrations/{id}``: why this customer got something, or nothing, and when the next batch goes."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from agents.commands.sender import RecordSender
from agents.view.gather import Gather, Gathered
from agents.view.integration_acts import IntegrationActs, actor_of
from agents.view.pages.browsing import each
from agents.view.revisions import tag_of
from agents.view.server import View, Visit
from agents.view.sources.state import WorkerState
from agents.view.visit import Done
from pipeline.delivery.pending import HOUR_S
from pipeline.errors import ConflictError, NotFoundError, UnavailableError
from pipeline.integrations.audit import entry_by
from pipeline.integrations.snapshot import Entry
from pipeline.model.integration import Integration
from pipeline.replay.held import resume_record
from pipeline.view.attention import counted, duration
from pipeline.view.balance import balance_sentence, why_of
from pipeline.view.charts import Chart, Dot, Measure, Series, Tone, bars, dot_plot, gauge, stacked_bars
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.query import Operator, Query
from pipeline.view.roles import Role

HOURS: Final = 24
SHOWN: Final = 10
SHOWN_TRIES: Final = 200
"""Tries that the dot plot and the latencies are of: the newest."""
MOST_LANES: Final = 1000
LATENCIES_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
VERDICTS: Final[tuple[tuple[str, Tone], ...]] = (("delivered", "good"), ("retry", "warn"), ("refused", "bad"))
SECTIONS: Final = {
    "lanes": "lanes", "gates": "gates", "window": "open_events", "batches": "batches", "attempts": "attempts",
    "parked": "parked", "hours": "hours",
}  # fmt: skip
"""The tables of the page that can be filtered and had whole as JSON or CSV, with the sources that they are of."""
_WHATS: Final = {"window": "open events", "hours": "hours"}
_SETTINGS: Final[Columns] = (
    Column("key", "Key", Kind.CODE, "As in faust.yml, with dots.", is_sortable=False),
    Column("value", "Value", Kind.JSON, "Secrets are not shown.", is_sortable=False),
)
_OUTCOMES: Final[Columns] = (
    Column("at", "From", Kind.TIME, is_sortable=False),
    *(Column(name, name.capitalize(), Kind.INTEGER, is_sortable=False) for name, _ in VERDICTS),
)


class IntegrationPages:
    """One integration, its open windows, and having its endpoint tried again."""

    def __init__(self, state: WorkerState, gather: Gather, acts: IntegrationActs, record: Any) -> None:
        self._state = state
        self._gather = gather
        self._acts = acts
        self._record = record

    def register(self, view: View) -> None:
        """Put them on ``view``; after the pages whose names are fixed."""
        view.page("/integrations/{id}", self.one)
        view.page("/integrations/{id}/window", self.window)
        view.action("/integrations/{id}/resume", self.resume)

    # the page

    async def one(self, visit: Visit) -> Page:
        """Everything that is known of one integration."""
        name = visit.match["id"]
        entry = self._acts.snapshot.get(name)
        if entry is not None and not visit.parameters:
            visit.promise()
        chosen = visit.parameter("section")
        names = [chosen] if chosen in SECTIONS and visit.format == "csv" else [*SECTIONS]
        summed, recent, counts, lanes, gates, audit, *tables = await asyncio.gather(
            self._ledger(name, visit),
            self._recent_tries(name, visit),
            self._counts(name, visit),
            self._lanes(name),
            self._gates(name),
            self._gather.section("audit", "audit", visit, what="entries", reads_url=False, limit=SHOWN, target=name),
            *(self._table(each, name, visit) for each in names),
        )
        row = await _first(summed)
        if entry is None and (row is None or not row["lanes"]):
            if row is None and not summed.coverage.is_complete:
                raise UnavailableError(
                    f"integration {name[:64]} is not known, and not all workers answer: {summed.coverage.sentence()}"
                )
            self._acts.entry(name)  # says which one may be meant
            raise NotFoundError(f"there is no integration {name[:64]}")
        tries = [each async for each in recent.rows]
        sections = dict(zip(names, tables, strict=True))
        hours = self._outcomes(counts, visit.now_s)
        audit.next_cursor = ""  # more are at /audit, where the page leads
        ledger_columns = self._gather.source("integrations").columns
        shown = [
            Section("ledger", ledger_columns, each([row] if row else []), balance_sentence(row) if row else "", coverage=summed.coverage),
            *sections.values(),
            Section("outcomes", _OUTCOMES, each(hours), "Tries by verdict and hour.", coverage=counts[1]),
            Section("settings", _SETTINGS, each(self._settings(entry)), "What is set; secrets are masked."),
            audit,
        ]  # fmt: skip
        return Page(
            name,
            "integration.html",
            shown,
            _facts(row, lanes, gates, entry),
            self._context(visit, entry, row, lanes=lanes, gates=gates, tries=tries, hours=hours),
        )

    def _context(
        self,
        visit: Visit,
        entry: Entry | None,
        row: Row | None,
        *,
        lanes: Sequence[Row],
        gates: Sequence[Row],
        tries: Sequence[Row],
        hours: Sequence[Row],
    ) -> dict[str, Any]:
        name = visit.match["id"]
        state = "ok" if row is None else row["state"]
        held = next((gate for gate in gates if gate["is_held"]), None)
        charts = [
            *([] if entry is None else window_gauge(lanes, entry.integration, visit.now_s)),
            _outcome_bars(hours),
            try_dots(tries, visit),
            latency_bars(tries),
            status_bars(tries),
        ]
        waiting = 0 if row is None else row["waiting"]
        lead = [why_of(state, held, waiting=waiting)]
        if row is not None:
            lead.append(balance_sentence(row))
        return {
            "entry": entry,
            "state": state,
            "lead": lead,
            "acts": self._buttons(visit, entry, held, row),
            "charts": charts,
            "parked": 0 if row is None else row["parked"],
            "fact_links": {
                "waiting": visit.url_for("/batches", integration=name, outcome__in="waiting,retrying"),
                "delivered": visit.url_for("/attempts", integration=name, verdict="delivered"),
                "parked": visit.url_for("/parked", integration=name),
                "open": visit.url_for("/integrations/{id}/window", id=name),
                "last_error_at": visit.url_for("/attempts", integration=name, verdict__not="delivered"),
            },
            "fact_tones": {} if row is None else {each: tone for each, tone in (("missing", "bad"), ("parked", "warn")) if row[each]},
            "sql": sql_of(name),
            "nothing": {
                "window": "No window is open: the next event that matches opens one.",
                "attempts": "Nothing was sent yet, or it is longer ago than the view remembers.",
                "batches": "No batch was sealed yet, or it is longer ago than the view remembers.",
                "parked": "Nothing is parked.",
                "audit": "Nobody has changed it in the view or the API.",
                "gates": "Nothing was delivered yet, so nothing can hold it back.",
                "hours": "No event of the last two days.",
                "lanes": "No event has matched yet.",
            },
        }  # fmt: skip

    def _buttons(self, visit: Visit, entry: Entry | None, held: Row | None, row: Row | None) -> list[dict[str, Any]]:
        """What whoever looks may do."""
        name, role = visit.match["id"], visit.person.role

        def button(act: str, label: str, question: str, **more: Any) -> dict[str, Any]:
            url = visit.url_for(f"/integrations/{{id}}/{act}", id=name)
            return {"id": f"act-{act}", "url": url, "label": label, "question": question, **more}

        found: list[dict[str, Any]] = []
        if not role.includes(Role.OPERATOR):
            return found
        waiting = 0 if row is None else row["waiting"]
        if held is not None:
            question = f"Have the endpoint of {name} tried again now? {counted(waiting, 'event')} wait for it."
            found.append(button("resume", "Resume", question, tone="good"))
        if entry is None:
            return found
        if entry.origin == "stored":
            fields = {"revision": tag_of(entry)}
            if entry.integration.enabled:
                question = f"Disable {name}? It takes no more events, and nothing is sent, until somebody enables it."
                found.append(button("disable", "Disable", question, fields=fields))
            else:
                found.append(button("enable", "Enable", f"Let {name} take events again?", fields=fields, tone="good"))
        found.append(button("test", "Test send", f"Send a test event to {name}'s endpoint, past windows and ledger?"))
        found.append(button("doctor", "Examine", f"Examine {name}, from its name to a test event?"))
        if entry.origin == "stored" and role.includes(Role.ADMIN):
            question = f"Delete {name}? It takes no more events; what it holds is not delivered but parked."
            found.append(button("delete", "Delete", question, fields={"revision": tag_of(entry)}, tone="bad"))
        return found

    def _settings(self, entry: Entry | None) -> list[Row]:
        settings = {} if entry is None else self._acts.shown_settings(entry)
        return [{"key": key, "value": value} for key, value in flat(settings)]

    # what it asks

    async def _ledger(self, name: str, visit: Visit) -> Gathered:
        query = Query(sort="integration", key="integration", limit=1).where("integration", name)
        return await self._gather.ask("integrations", query, visit.masks)

    async def _lanes(self, name: str) -> list[Row]:
        query = Query(sort="lane", key="lane", limit=MOST_LANES).where("integration", name)
        return [row async for row in (await self._gather.ask("lanes", query)).rows]

    async def _gates(self, name: str) -> list[Row]:
        query = Query(sort="lane", key="id", limit=MOST_LANES).where("integration", name)
        return [row async for row in (await self._gather.ask("gates", query)).rows]

    async def _recent_tries(self, name: str, visit: Visit) -> Gathered:
        query = Query(sort="at", is_descending=True, key="place", limit=SHOWN_TRIES).where("integration", name)
        return await self._gather.ask("attempts", query, visit.masks)

    async def _counts(self, name: str, visit: Visit) -> tuple[dict[float, Counter[str]], Any]:
        first = (visit.now_s // HOUR_S - HOURS + 1) * HOUR_S
        query = Query(sort="slot", key="part", limit=None).where("integration", name).where("width_s", HOUR_S)
        found = await self._gather.ask("attempt_counts", query.where("at", first, Operator.AT_LEAST), visit.masks)
        counts: defaultdict[float, Counter[str]] = defaultdict(Counter)
        async for row in found.rows:
            counts[row["slot"]][row["verdict"]] += row["rows"]
        return counts, found.coverage

    async def _table(self, section: str, name: str, visit: Visit) -> Section:
        """A table of the page. The one that the URL names reads its conditions; without a name that is the tries."""
        reads_url = visit.parameter("section", "attempts") == section
        limit = -1 if reads_url and (visit.is_export or visit.parameter("size")) else SHOWN
        asked = replace(visit, parameters=[pair for pair in visit.parameters if pair[0] != "section"])
        what = _WHATS.get(section, section)
        source = SECTIONS[section]
        return await self._gather.section(
            section, source, asked, what=what, reads_url=reads_url, limit=limit, integration=name
        )

    @staticmethod
    def _outcomes(counts: tuple[Mapping[float, Counter[str]], Any], now: float) -> list[Row]:
        first = now // HOUR_S - HOURS + 1
        slots = [(first + number) * HOUR_S for number in range(HOURS)]
        return [{"at": at, **{name: counts[0][at][name] for name, _ in VERDICTS}} for at in slots]

    # its windows

    async def window(self, visit: Visit) -> Page:
        """The events that wait in open windows."""
        name = visit.match["id"]
        entry = self._acts.entry(name)
        events = await self._gather.section("events", "open_events", visit, what="open events", integration=name)
        if visit.is_export:
            return Page(f"Open windows of {name}", "page.html", [events])
        lanes = await self._lanes(name)
        opened = [row for row in lanes if row["open"]]
        facts = {
            "events": sum(row["open"] for row in opened),
            "size_bytes": sum(row["open_bytes"] for row in opened),
            "opened_at": min((row["opened_at"] for row in opened), default=None),
            "sealed_at": min((row["due_at"] for row in opened if row["due_at"] is not None), default=None),
        }
        context = {
            "lead": next_seal(opened, entry.integration, visit.now_s),
            "charts": window_gauge(lanes, entry.integration, visit.now_s),
            "fact_links": {"events": visit.url_for("/integrations/{id}", id=name)},
            "nothing": {"events": "No window is open: the next event that matches opens one."},
        }
        return Page(f"Open windows of {name}", "page.html", [events], facts, context)

    # going on

    async def resume(self, visit: Visit) -> Done:
        """Have the endpoint tried again, whatever holds its lanes back."""
        name = visit.match["id"]
        query = Query(sort="lane", key="id", limit=MOST_LANES).where("integration", name).where("is_held", True)
        found = await self._gather.ask("gates", query)
        held = [row async for row in found.rows]
        if not held:
            if not found.coverage.is_complete:
                raise UnavailableError(f"it is not known what holds {name[:64]} back: {found.coverage.sentence()}")
            self._acts.snapshot.get(name) or self._acts.entry(name)
            raise ConflictError(f"nothing holds {name[:64]} back", status=409)
        details = {"lanes": [row["lane"] for row in held], "waiting_events": sum(row["waiting"] for row in held)}
        await self._record(entry_by(actor_of(visit), "endpoint resumed", name, details, at=visit.now_s))
        names = self._state.topology.names
        async with RecordSender(self._state.brokers) as sender:
            for row in held:
                record = resume_record(row["lane"], visit.now_s)
                await sender.send(names.batches(row["kind"]), row["partition"], row["lane"].encode(), record)
            await sender.flush()
        told = f"The endpoint of {name} is tried again, in {counted(len(held), 'lane')}"
        if not found.coverage.is_complete:
            told += f"; others may be held back too: {found.coverage.sentence()}"
        return Done(told, visit.url_for("/integrations/{id}", id=name), details)


def sql_of(name: str) -> str:
    """A query to begin with; the SQL page shows it before anything is run."""
    quoted = name.replace("'", "''")
    parts = (
        "SELECT time_bucket(INTERVAL 1 HOUR, to_timestamp(at)) AS hour, verdict, count(*) AS tries,",
        "round(avg(duration_s), 3) AS seconds FROM attempts",
        f"WHERE integration = '{quoted}' GROUP BY ALL ORDER BY hour DESC",
    )
    return " ".join(parts)


def flat(settings: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Settings, a key with dots for each."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def window_gauge(lanes: Iterable[Row], integration: Integration, now: float) -> list[Chart]:
    """How near the open window that is due first is to its limits; nothing where none is open."""
    opened = [row for row in lanes if row["open"] and row["opened_at"] is not None]
    if not opened:
        return []
    row = min(opened, key=lambda each: float(each["opened_at"]))
    limits = integration.seal_limits
    measures = [
        Measure("Events", row["open"], limits.max_events),
        Measure("Age", max(0.0, now - row["opened_at"]), limits.max_age_s, duration),
        Measure("Size", row["open_bytes"], limits.max_bytes, _sized),
    ]
    title = "The open window and what seals it"
    if len(opened) > 1:
        title = f"The oldest of {len(opened)} open windows and what seals it"
    return [gauge(measures, title)]


def next_seal(opened: Sequence[Row], integration: Integration, now: float) -> str:
    """When the next batch goes, in a sentence."""
    due = [row for row in opened if row["due_at"] is not None]
    if not due:
        return "Nothing is gathered just now."
    first = min(due, key=lambda row: float(row["due_at"]))
    left = max(0, integration.seal_limits.max_events - max(row["open"] for row in opened))
    return (
        f"The next batch is sealed in {duration(max(0.0, first['due_at'] - now))} at the latest, "
        f"or when {counted(left, 'more event')} match before that."
    )


def try_dots(tries: Sequence[Row], visit: Visit) -> Chart:
    """Each try by time and number."""
    tones = dict(VERDICTS)
    dots = [
        Dot(
            row["at"], float(row["attempt"]), row["verdict"], tones.get(row["verdict"], "info"),
            visit.url_for("/attempts/{partition}/{offset}", partition=row["partition"], offset=row["offset"]),
        )
        for row in reversed(tries)
    ]  # fmt: skip
    return dot_plot(
        dots, f"The last {counted(len(tries), 'try', 'tries')}: which try of its batch, and what came of it"
    )


def latency_bars(tries: Sequence[Row]) -> Chart:
    """How long tries took, by class."""
    counts = [0] * (len(LATENCIES_S) + 1)
    for row in tries:
        took_s = row["duration_s"] or 0.0
        counts[next((i for i, most in enumerate(LATENCIES_S) if took_s <= most), len(LATENCIES_S))] += 1
    labels = [f"up to {most:g} s" for most in LATENCIES_S] + [f"above {LATENCIES_S[-1]:g} s"]
    return bars(
        [*zip(labels, counts, strict=True)],
        f"How long the last {counted(len(tries), 'try', 'tries')} took",
        name="Time",
    )


def status_bars(tries: Sequence[Row]) -> Chart:
    """What endpoints answered."""
    counts = Counter("no answer" if row["status"] is None else str(row["status"]) for row in tries)
    return bars(
        counts.most_common(SHOWN),
        f"Answers to the last {counted(len(tries), 'try', 'tries')}, by status",
        name="Status",
    )


def _outcome_bars(hours: Sequence[Row]) -> Chart:
    series = [Series(name, [row[name] for row in hours], tone) for name, tone in VERDICTS]
    return stacked_bars([row["at"] for row in hours], series, "Tries of the last 24 hours by verdict, an hour each")


def _facts(row: Row | None, lanes: Sequence[Row], gates: Sequence[Row], entry: Entry | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if row is not None:
        names = ("matched", "delivered", "open", "waiting", "parked", "discarded", "missing")
        facts |= {name: row[name] for name in names}
        facts["oldest_waiting_s"] = row["oldest_s"]
        facts["success_24_h_ratio"] = None if row["success"] is None else row["success"] / 100
        facts["last_success_at"] = row["last_success_at"]
        facts["last_error_at"] = row["last_error_at"]
    due = [lane["due_at"] for lane in lanes if lane["open"] and lane["due_at"] is not None]
    facts["next_batch_at"] = min(due, default=None)
    held = [gate for gate in gates if gate["is_held"]]
    if held:
        facts["next_try_at"] = min(
            (gate["next_probe_at"] for gate in held if gate["next_probe_at"] is not None), default=None
        )
    if entry is not None:
        rate = entry.integration.rate
        facts["pace"] = "as fast as it answers" if rate is None else f"{rate.per_second:g} {rate.unit} a second"
        facts["in_flight"] = sum(lane["in_flight"] for lane in lanes)
        facts["at_once_at_most"] = entry.integration.in_flight_cap
    return facts


def _sized(size_bytes: float) -> str:
    for unit, least in (("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= least:
            return f"{size_bytes / least:.3g} {unit}"
    return f"{size_bytes:.0f} B"


async def _first(found: Gathered) -> Row | None:
    return next(iter([row async for row in found.rows]), None)
