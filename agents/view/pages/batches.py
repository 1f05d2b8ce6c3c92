"""Sealed batches: what became of each, its events, its tries."""

import asyncio
from functools import partial
from typing import Any, Final

import msgspec

from agents.view.flow_parts import FlowParts
from agents.view.pages.attempts import Requests
from agents.view.pages.browsing import each, time_range, with_facets
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.errors import NotFoundError, ViewError
from pipeline.model.batch import parse_batch_id
from pipeline.view.charts import Dot, Tone, dot_plot
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.index.tables import ATTEMPTS, BATCHES, PARKED, Table
from pipeline.view.mask import mask_event
from pipeline.view.page import Page, Section
from pipeline.view.query import Condition, Operator, Query
from pipeline.view.roles import Role
from pipeline.view.scan import EVENT_COLUMNS, event_row

FACETS: Final = ("outcome", "reason", "kind", "integration")
MOST_EVENTS: Final = 1000
MOST_TRIES: Final = 200
_TONES: Final[dict[str, Tone]] = {"delivered": "good", "retry": "warn", "refused": "bad"}
_EVENTS: Final[Columns] = (
    Column("number", "Number", Kind.INTEGER, "Its place in the lane's sequence.", is_sortable=False),
    *(column for column in EVENT_COLUMNS if column.name in {"event_name", "platform", "application_code", "campaign", "message", "user_id", "hwid", "uuid"}),
    Column("event", "Event", Kind.JSON, "All that is sent of it.", is_sortable=False, is_wide=True),
)  # fmt: skip


class BatchPages:
    """``/batches`` and one batch."""

    def __init__(self, parts: FlowParts, requests: Requests) -> None:
        self._gather = parts.gather
        self._requests = requests

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/batches", self.search, nav="Batches")
        view.page("/batches/{id}", self.one)

    async def search(self, visit: Visit) -> Page:
        """Search batches."""
        asked = with_facets(visit, FACETS)
        section = await self._gather.section(
            "batches", "batches", asked, what="batches", **time_range(visit, "sealed_at")
        )
        nothing = {"batches": "No batch fits. Without conditions: no window was sealed since the view's memory begins."}
        return Page("Batches", "page.html", [section], context={"nothing": nothing})

    async def one(self, visit: Visit) -> Page:
        """One batch: created, tried, ended; its events; its request."""
        name = visit.match["id"]
        try:
            lane, first, end = parse_batch_id(name)
        except ValueError as error:
            raise NotFoundError(str(error)) from None
        overlapping = (
            Condition("lane", Operator.EXACT, lane),
            Condition("first", Operator.LESS, end),
            Condition("end", Operator.GREATER, first),
        )
        ask = partial(self._section, visit, overlapping)
        records, tries, parked = await asyncio.gather(
            ask("records", BATCHES, "Its records, the oldest first: as it was sealed, and each replay."),
            ask("tries", ATTEMPTS, "All tries of it and of its parts, the oldest first."),
            ask("parked", PARKED, "What of it was parked."),
        )
        found = {section.name: rows for section, rows in (records, tries, parked)}
        if not any(found.values()):
            missing = records[0].coverage.sentence()
            raise NotFoundError(f"batch {name} is not remembered" + (f" ({missing})" if missing else ""))
        visit.promise()
        row = found["records"][-1] if found["records"] else None
        waiting = [each for each in found["parked"] if each["state"] == "parked"]
        at_s = found["tries"][-1]["at"] if found["tries"] else visit.now_s
        request, events = await asyncio.gather(
            self._requests.shown(name, visit.masks, at_s), self._events(visit, row, name)
        )
        context: dict[str, Any] = {
            "request": request,
            "row": found["tries"][-1] if found["tries"] else None,
            "charts": [_timeline(visit, found["tries"])] if found["tries"] else [],
            "lead": _story(name, row, found["tries"], waiting),
        }
        if waiting and visit.person.role.includes(Role.OPERATOR):
            context["acts"] = [_replay_act(visit, waiting)]
        sections = [section for section, _ in (records, tries, parked)]
        return Page(
            f"Batch {name}", "attempt.html", [sections[1], events, sections[0], sections[2]], _facts(row), context
        )

    async def _section(
        self, visit: Visit, conditions: tuple[Condition, ...], name: str, table: Table, heading: str
    ) -> tuple[Section, list[Row]]:
        query = Query(conditions, sort=table.time, key=table.key, limit=MOST_TRIES)
        found = await self._gather.ask(table.name, query, visit.masks)
        rows = [row async for row in found.rows]
        return Section(name, table.columns, each(rows), heading, coverage=found.coverage), rows

    async def _events(self, visit: Visit, row: Row | None, name: str) -> Section:
        heading = "Its events are not here: the batch is older than the view remembers."
        rows: list[Row] = []
        if row is not None:
            try:
                batch = await self._requests.batch_at(row)
            except ViewError as error:
                heading = f"Its events cannot be shown: {error}"
            else:
                rows = [_event(number, event, visit) for number, event in list(batch.numbered())[:MOST_EVENTS]]
                heading = f"The events of {batch.id}, as they are sent"
                if batch.event_count > MOST_EVENTS:
                    heading += f"; the first {MOST_EVENTS:,} of {batch.event_count:,}"
                if batch.id != name:
                    heading += f"; {name} is a part of it"
        return Section("events", _EVENTS, each(rows), heading)


def _event(number: int, value: bytes, visit: Visit) -> Row:
    try:
        event = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return {"number": number, "event": "(it cannot be read)"}
    listed = event_row(event, {}, visit.masks)
    return {"number": number, **{column.name: listed.get(column.name) for column in _EVENTS[1:-1]}, "event": mask_event(event, visit.masks)}  # fmt: skip


def _facts(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "outcome": row["outcome"],
        "integration": row["integration"],
        "events": row["events"],
        "sealed because": row["reason"],
        "filled_s": row["fill_s"],
        "tries": row["tries"],
        "delivered events": row["delivered_events"],
        "size_bytes": row["bytes"],
        "sealed_at": row["sealed_at"],
        "tried_at": row["tried_at"],
    }


def _story(name: str, row: Row | None, tries: list[Row], waiting: list[Row]) -> list[str]:
    """What happened, in sentences."""
    told = []
    if row is not None:
        told.append(f"{row['events']:,} events of {row['integration']}, sealed by {row['reason']}.")
    if tries:
        last = tries[-1]
        told.append(f"{len(tries)} {'try' if len(tries) == 1 else 'tries'}; the last one: {last['detail']}.")
        if last["next_at"] and not last["final"]:
            told.append("It is tried again.")
    elif row is not None and row["outcome"] == "waiting":
        told.append("It was not tried yet.")
    if waiting:
        told.append(f"It is parked ({waiting[-1]['reason']}) and can be replayed.")
    return told or [f"Only parts of {name} are remembered."]


def _timeline(visit: Visit, tries: list[Row]) -> Any:
    dots = [
        Dot(
            each_try["at"],
            each_try["attempt"],
            each_try["verdict"],
            _TONES.get(each_try["verdict"], "info"),
            visit.url_for("/attempts/{partition}/{offset}", partition=each_try["partition"], offset=each_try["offset"]),
        )
        for each_try in tries
    ]
    return dot_plot(dots, "Tries over time")


def _replay_act(visit: Visit, waiting: list[Row]) -> dict[str, Any]:
    events = sum(row["events"] for row in waiting)
    parts = "it" if len(waiting) == 1 else f"its {len(waiting)} parked parts"
    return {
        "id": "replay",
        "url": visit.url_for("/parked/replay"),
        "label": "Replay",
        "question": f"Send {parts} again, {events:,} events?",
        "fields": {
            "place__in": ",".join(str(row["place"]) for row in waiting),
            "expected": str(len(waiting)),
        },
        "tone": "good",
    }
