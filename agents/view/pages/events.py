"""Source events: the last ones, a search through the topics, and where one event went."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiokafka import ConsumerRecord
from markupsafe import Markup

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import each, moment
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.errors import CodecError, PoisonError, ViewQueryError
from pipeline.ingest.decode import EventDecoder
from pipeline.model.batch import decode_batch
from pipeline.model.moments import format_time
from pipeline.sinks.registry import SINKS
from pipeline.view.apply import select
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.events import Told
from pipeline.view.formats.text import inert, text_of
from pipeline.view.mask import mask_text, mask_value
from pipeline.view.page import Page, Section
from pipeline.view.query import encode_cursor, parse_query
from pipeline.view.scan import EVENT_COLUMNS, FIELDS, Progress, Wanted, event_row, find
from pipeline.view.sentence import sentence

LAST_EVENTS: Final = 50
MOST_HITS: Final = 1000
USUAL_RANGE_S: Final = 3600.0
WITHIN_S: Final = 5.0
TELL_EVERY_S: Final = 0.3
WHERE_SOURCE: Final = "source"
WHERE_BATCHES: Final = "batches"
_LISTED: Final = tuple(column for column in EVENT_COLUMNS if not column.is_wide)
_PLACE: Final = Column("place", "Place", Kind.CODE, "Topic, partition and offset.", is_wide=True)
_ROWS: Final[Columns] = (*EVENT_COLUMNS, _PLACE)


@dataclass(frozen=True, slots=True)
class Search:
    """A search as the URL says it."""

    wanted: Wanted
    topics: tuple[str, ...]
    since: float | None
    until: float | None
    cursor: dict[str, str]


class EventPages:
    """``/events``: the last events, a search, one event."""

    def __init__(self, parts: FlowParts) -> None:
        self._records = parts.records
        self._names = parts.names
        self._source = parts.settings.topic
        self._epoch = parts.settings.source_epoch

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/events", self.last, nav="Events")
        view.page("/events/found", self.found)
        view.events("/events/search", self.search)

    # the last ones

    async def last(self, visit: Visit) -> Page:
        """The last events of the source topic, and the form of a search; with something to search for, the search."""
        if _is_search(visit):
            return self._searching(visit) if visit.format == "html" else await self.found(visit)
        records = await self._records.tail(self._source, MOST_HITS)
        query = parse_query(visit.parameters, _ROWS, key="place", sort="at", is_descending=True)
        rows = [self._row(record, visit.masks) for record in records]
        chosen = select(rows, query, _ROWS)
        last = chosen.rows[-1] if chosen.has_more else None
        heading = sentence(
            f"of the last {len(rows):,} events of {self._source}", query, _ROWS, matching=None, shown=len(chosen.rows)
        )
        section = Section(
            "events",
            _ROWS,
            each(chosen.rows),
            heading,
            query,
            "" if last is None else encode_cursor(last[query.sort], last["place"]),
            chosen.facets,
        )
        context = {
            "search": self._form(visit),
            "stream": None,
            "nothing": {
                "events": f"None of the last {len(rows):,} events of {self._source} fits; search the topics for older ones."
            },
        }
        if any(name in FIELDS for name, _ in visit.parameters):
            context["lead"] = (
                f"Only the last {len(rows):,} events are looked at here; Search the topics reads all of a time."
            )
        return Page("Events", "events.html", [section], context=context)

    def _row(self, record: ConsumerRecord, masks: frozenset[Personal]) -> Row:
        place = _place(record)
        decoder = EventDecoder(record.topic, record.partition, self._epoch)
        try:
            _, encoded = decoder.decode(record.value, record.offset)
        except PoisonError as poison:
            row = event_row({}, place, masks)
            problem = str(poison)
            row["problem"] = (
                mask_value(Personal.PAYLOAD, problem) if Personal.PAYLOAD in masks else mask_text(problem, masks)
            )
            row["event_name"] = f"(unusable: {poison.reason})"
            return row | {"place": _name_of(record)}
        return event_row(msgspec.json.decode(encoded), place, masks) | {"place": _name_of(record)}

    # searching

    def _form(self, visit: Visit) -> dict[str, Any]:
        return {
            "fields": [(name, visit.parameter(name)) for name in FIELDS],
            "since": visit.parameter("since", "1h"),
            "until": visit.parameter("until"),
            "where": visit.parameter("in", WHERE_SOURCE),
        }

    def _searching(self, visit: Visit) -> Page:
        asked = self._asked(visit)
        parameters = {name: value for name, value in visit.parameters if name != "refresh"}
        context = {
            "search": self._form(visit),
            "stream": {
                "url": visit.url_for("/events/search", **parameters),
                "columns": [column.title for column in _LISTED],
                "caption": _caption(asked),
                "without": visit.url_for("/events/found", **parameters),
            },
            "nothing": {},
        }
        return Page("Events", "events.html", [], context=context)

    async def found(self, visit: Visit) -> Page:
        """What a search finds within five seconds, and a link to go on from there; as CSV all of it."""
        asked = self._asked(visit)
        # CSV cannot say that it is a part, nor where to go on, so it is the whole.
        until_s = None if visit.format == "csv" else time.monotonic() + WITHIN_S
        rows: list[Row] = []
        cursor: dict[str, str] = {}
        share = 0.0
        async with aclosing(self._scan(asked, visit.masks, until_s=until_s)) as steps:
            async for step in steps:
                rows += step.rows
                cursor, share = step.cursor, step.share
        rows.sort(key=lambda row: (row["at"] or 0, row["place"]))  # partitions answer in any order
        is_done = share >= 1.0
        goes_on = None
        if not is_done:
            kept = {name: value for name, value in visit.parameters if not name.startswith("from.")}
            fixed = {
                "since": format_time(asked.since) if asked.since else "",
                "until": format_time(asked.until) if asked.until else "",
            }
            again = {**kept, **{name: value for name, value in fixed.items() if value}}
            goes_on = visit.url_for(
                "/events/found", **again, **{f"from.{topic}": text for topic, text in cursor.items()}
            )
        heading = f"{len(rows):,} found, {share:.0%} of the records read" + (
            "" if is_done else "; the search is not at its end"
        )
        section = Section("events", _ROWS, each(rows), heading)
        context = {
            "search": self._form(visit),
            "stream": None,
            "goes_on": goes_on,
            "lead": _caption(asked),
            "nothing": {"events": "Nothing was found." if is_done else "Nothing was found so far."},
        }
        facts = {"found": len(rows), "read_ratio": round(share, 4), "complete": is_done, "next": goes_on}
        return Page("Found events", "events.html", [section], facts, context)

    async def search(self, visit: Visit) -> AsyncIterator[Told]:
        """The search as it goes: hits at once, how far it is, and its end."""
        asked = self._asked(visit)
        found, told_s = 0, 0.0
        async with aclosing(self._scan(asked, visit.masks)) as steps:
            async for step in steps:
                if step.rows:
                    found += len(step.rows)
                    yield Told("".join(_html_row(row, visit) for row in step.rows), "rows")
                if time.monotonic() - told_s > TELL_EVERY_S:
                    told_s = time.monotonic()
                    text = f"{found:,} found, {step.records:,} records read"
                    yield Told({"text": text, "share": round(step.share, 4)}, "progress")
                if found >= MOST_HITS:
                    yield Told(f"{found:,} found: stopped there. Narrow the search, or give a shorter time.", "end")
                    return
        yield Told(f"{found:,} found; everything was read.", "end")

    def _asked(self, visit: Visit) -> Search:
        values = {name: text for name in FIELDS if (text := visit.parameter(name).strip())}
        since = moment(visit, "since")
        where = visit.parameter("in", WHERE_SOURCE)
        if where not in {WHERE_SOURCE, WHERE_BATCHES, "both"}:
            raise ViewQueryError(f"in: is {WHERE_SOURCE}, {WHERE_BATCHES} or both")
        topics = [self._source] if where != WHERE_BATCHES else []
        if where != WHERE_SOURCE:
            topics += [self._names.batches(spec.kind) for spec in SINKS]
        cursor = {name.removeprefix("from."): value for name, value in visit.parameters if name.startswith("from.")}
        return Search(
            Wanted(values, visit.masks),
            tuple(topics),
            visit.now_s - USUAL_RANGE_S if since is None else since,
            moment(visit, "until"),
            cursor,
        )

    async def _scan(
        self, asked: Search, masks: frozenset[Personal], *, until_s: float | None = None
    ) -> AsyncIterator["_Step"]:
        progress: dict[str, Progress] = {}
        for topic in asked.topics:
            spans = await self._records.spans(topic, asked.since, asked.until)
            progress[topic] = Progress.of(spans, asked.cursor.get(topic, ""))
        made = self._of_made_uuid(asked.wanted, progress)
        read = 0
        for topic in asked.topics:
            async with aclosing(self._records.each(topic, made or progress[topic].left)) as stretches:
                async for partition, records in stretches:
                    rows = [row for record in records for row in self._hits(record, asked.wanted, masks)]
                    read += len(records)
                    progress[topic] = progress[topic].after(partition, records[-1].offset + 1)
                    yield _Step(
                        rows, read, _share(progress.values()), {name: each.cursor for name, each in progress.items()}
                    )
                    if until_s is not None and time.monotonic() > until_s:
                        return
        yield _Step([], read, 1.0, {})

    def _of_made_uuid(self, wanted: Wanted, progress: dict[str, Progress]) -> dict[int, tuple[int, int]]:
        """Where an id that was made from a record's place says that it is: no need to search for that one."""
        name = wanted.values.get("uuid", "")
        if self._source not in progress or len(name) != 36:  # noqa: PLR2004 the length of a UUID
            return {}
        try:
            offset = int(name[-12:], 16)
        except ValueError:
            return {}
        probe = b'{"event_name":"x","application_code":"x","platform":"Email","timestamp":1,"hwid":"x"}'
        for partition, (first, end) in progress[self._source].whole.items():
            event, _ = EventDecoder(self._source, partition, self._epoch).decode(probe, offset)
            if event.uuid == name and first <= offset < end:
                return {partition: (offset, offset + 1)}
        return {}

    def _hits(self, record: ConsumerRecord, wanted: Wanted, masks: frozenset[Personal]) -> list[Row]:
        if record.value is None:
            return []
        if record.topic != self._source:
            return self._hits_in_batch(record, wanted, masks)
        if wanted.may_be_in(record.value):
            event = find(record.value, wanted)
        elif "uuid" in wanted.values:
            event = None
        else:
            return []
        if event is None and "uuid" in wanted.values and b'"uuid"' not in record.value:
            row = self._row(record, masks)
            return [row] if row["uuid"] == wanted.values["uuid"] else []
        return [] if event is None else [event_row(event, _place(record), masks) | {"place": _name_of(record)}]

    def _hits_in_batch(self, record: ConsumerRecord, wanted: Wanted, masks: frozenset[Personal]) -> list[Row]:
        if not wanted.may_be_in(record.value):
            return []
        try:
            batch = decode_batch(record.value)
        except CodecError:
            return []
        found = []
        for number, value in batch.numbered():
            event = find(value, wanted)
            if event is not None:
                place = {**_place(record), "batch": batch.id}
                found.append(event_row(event, place, masks) | {"place": f"{_name_of(record)}/{number}"})
        return found


@dataclass(frozen=True, slots=True)
class _Step:
    """What a search found since the last step, and how far it is; ``cursor`` is where to go on, by topic."""

    rows: list[Row]
    records: int
    share: float
    cursor: dict[str, str]


def _is_search(visit: Visit) -> bool:
    return any(visit.parameter(name).strip() for name in FIELDS) and bool(visit.parameter("in"))


def _share(parts: Any) -> float:
    listed = list(parts)
    whole = sum(each_part.records for each_part in listed)
    return 1.0 if not whole else 1.0 - sum(each_part.records_left for each_part in listed) / whole


def _place(record: ConsumerRecord) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at": record.timestamp / 1000,
    }


def _name_of(record: ConsumerRecord) -> str:
    return f"{record.topic}/{record.partition}/{record.offset:012d}"


def _caption(asked: Search) -> str:
    values = " and ".join(f"{name} {value[:80]}" for name, value in asked.wanted.values.items())
    since = "" if asked.since is None else f" since {format_time(round(asked.since))}"
    until = "" if asked.until is None else f" until {format_time(round(asked.until))}"
    return (
        f"Events with {values} in {len(asked.topics)} {'topic' if len(asked.topics) == 1 else 'topics'}{since}{until}"
    )


def _html_row(row: Row, visit: Visit) -> Markup:
    """A hit as a row of the table, everything in it escaped."""
    cells = []
    for column in _LISTED:
        value = row.get(column.name)
        text: Markup | str = "" if value is None else inert(text_of(value))[:300]
        if column.kind is Kind.TIME and value is not None:
            stamp = format_time(value)
            text = Markup('<time datetime="{}" data-moment>{} UTC</time>').format(stamp, stamp[:19].replace("T", " "))
        if column.link and (column.name != "batch" or value):
            url = visit.url_for(column.link, **{name: row[name] for name in row if f"{{{name}}}" in column.link})
            text = Markup('<a href="{}">{}</a>').format(url, text)
        cells.append(Markup("<td>{}</td>").format(text))
    return Markup("<tr data-row>{}</tr>").format(Markup("").join(cells))
