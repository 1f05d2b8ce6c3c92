"""One source event: which integrations take it, which filter refuses it, and where it went."""

import asyncio
from contextlib import aclosing
from typing import Final
from zlib import crc32

import msgspec
from aiokafka import ConsumerRecord

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import each
from agents.view.records import decoded, place_in
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.errors import CodecError, NotFoundError, PoisonError, ViewError
from pipeline.ingest.decode import JSON_WHITE_SPACE, EventDecoder
from pipeline.ingest.event import Event
from pipeline.model.batch import decode_batch
from pipeline.model.integration import Integration
from pipeline.model.moments import format_time
from pipeline.model.placement import partition_of
from pipeline.sinks.registry import SINKS
from pipeline.view.apply import select
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.index.tables import ATTEMPTS
from pipeline.view.mask import mask_event
from pipeline.view.page import Page, Section
from pipeline.view.query import Condition, Operator, Query, encode_cursor, parse_query
from pipeline.view.refusal import refusal
from pipeline.view.scan import event_row
from pipeline.view.sentence import sentence

TRACE_WITHIN_S: Final = 3.0
SHOWN_BYTES: Final = 16 << 10
_INTEGRATIONS: Final[Columns] = (
    Column("integration", "Integration", Kind.CODE, link="/integrations/{integration}"),
    Column("kind", "Kind", Kind.STATE),
    Column("state", "Takes it", Kind.STATE, "matched or refused, by its filters as they are now."),
    Column("because", "Refused because", Kind.TEXT, "The first filter that is in the way."),
    Column("batch", "Batch", Kind.CODE, "Where it went.", is_sortable=False, link="/batches/{batch}"),
    Column("found", "Found", Kind.TEXT, "What is known of where it went.", is_sortable=False),
)


class EventPage:
    """``/events/{topic}/{partition}/{offset}``."""

    def __init__(self, parts: FlowParts) -> None:
        self._gather = parts.gather
        self._records = parts.records
        self._names = parts.names
        self._integrations = parts.integrations
        self._source = parts.settings.topic
        self._epoch = parts.settings.source_epoch
        self._partitions = parts.settings.partitions

    def register(self, view: View) -> None:
        """Add it to the view."""
        view.page("/events/{topic}/{partition}/{offset}", self.one)

    async def one(self, visit: Visit) -> Page:
        """An event: which integrations take it, which filter refuses it, and where it went."""
        topic = visit.match["topic"]
        partition, offset = place_in(visit.match)
        kinds = {self._names.batches(spec.kind): spec.kind for spec in SINKS}
        if topic in kinds:
            return await self._batch_record(visit, topic, partition, offset)
        if topic != self._source:
            raise NotFoundError(f"events are shown of {self._source}, not of {topic[:80]}")
        record = await self._records.one(topic, partition, offset)
        facts = {"topic": topic, "partition": partition, "offset": offset, "written_at": record.timestamp / 1000,
                 "size_bytes": None if record.value is None else len(record.value)}  # fmt: skip
        try:
            event, encoded = EventDecoder(topic, partition, self._epoch).decode(record.value, offset)
        except PoisonError as poison:
            hidden = bool(visit.masks)  # nobody knows where in it personal data is
            context = {
                "lead": f"This record cannot be used ({poison.reason}); it is among the dead letters.",
                "event": None if hidden else decoded(record.value, SHOWN_BYTES)["text"],
                "is_raw": True,
                "letters": visit.url_for(
                    "/dead-letters", topic=topic, source_partition=partition, source_offset=offset
                ),
            }
            return Page(f"Event {partition}/{offset}", "event.html", [], facts | {"reason": poison.reason}, context)
        rows = await self._judged(event, record, encoded)
        query = parse_query(visit.parameters, _INTEGRATIONS, key="integration", sort="state")
        chosen = select(rows, query, _INTEGRATIONS)
        last = chosen.rows[-1] if chosen.has_more else None
        taking = sum(row["state"] == "matched" for row in rows)
        section = Section(
            "integrations",
            _INTEGRATIONS,
            each(chosen.rows),
            f"{taking:,} of {len(rows):,} integrations take it, by their filters as they are now; "
            + sentence("integrations", query, _INTEGRATIONS, matching=chosen.matching, shown=len(chosen.rows)),
            query,
            "" if last is None else encode_cursor(last[query.sort], last["integration"]),
            chosen.facets,
        )
        batches = [row["batch"] for row in rows if row["batch"]]
        tries = await self._tries(visit, batches)
        shown = mask_event(msgspec.json.decode(encoded), visit.masks)
        context = {
            "event": msgspec.json.format(msgspec.json.encode(shown), indent=2).decode(),
            "is_raw": False,
            "letters": None,
            "lead": f"{event.event_name} on {event.platform}.",
            "nothing": {
                "tries": "No try is known: the event matched nothing, waits in a window, or is older than the view remembers."
            },
        }
        listed = event_row(msgspec.json.decode(encoded), {}, visit.masks)
        facts |= {name: listed[name] for name in ("uuid", "user_id", "hwid", "campaign") if listed[name]}
        return Page(f"Event {event.uuid}", "event.html", [section, tries], facts, context)

    async def _batch_record(self, visit: Visit, topic: str, partition: int, offset: int) -> Page:
        record = await self._records.one(topic, partition, offset)
        try:
            batch = decode_batch(record.value or b"")
        except CodecError as error:
            raise NotFoundError(str(error)) from error
        context = {"event": None, "is_raw": False, "letters": None, "lead": f"This record is batch {batch.id}."}
        facts = {"batch": batch.id, "events": batch.event_count, "written_at": record.timestamp / 1000}
        return Page(f"Batch {batch.id}", "event.html", [], facts, {**context, "fact_links": {"batch": visit.url_for("/batches/{id}", id=batch.id)}})  # fmt: skip

    async def _judged(self, event: Event, record: ConsumerRecord, encoded: bytes) -> list[Row]:
        """Each integration with whether it takes the event; of those that do, where it went."""
        rows: list[Row] = []
        taking: list[tuple[Row, Integration]] = []
        for number, entry in enumerate(self._integrations.snapshot):
            integration = entry.integration
            why = refusal(integration, event)
            row: Row = {
                "integration": integration.id, "kind": integration.kind, "state": "refused" if why else "matched",
                "because": why, "batch": None, "found": None,
            }  # fmt: skip
            rows.append(row)
            if why is None:
                taking.append((row, integration))
            if number % 500 == 499:  # noqa: PLR2004 about 2 ms
                await asyncio.sleep(0)
        await self._trace(event, record, encoded, taking)
        return rows

    async def _trace(
        self, event: Event, record: ConsumerRecord, encoded: bytes, taking: list[tuple[Row, Integration]]
    ) -> None:
        """Look for the batches that hold the event: in the lanes' partitions, from the event's own time on."""
        needles = {f'"uuid":"{event.uuid}"'.encode(), (record.value or b"").strip(JSON_WHITE_SPACE), encoded}
        wanted: dict[tuple[str, int], dict[str, Row]] = {}
        for row, integration in taking:
            lane = _lane_of(integration, event)
            topic = self._names.batches(integration.kind)
            wanted.setdefault((topic, partition_of(lane, self._partitions)), {})[lane] = row
            row["found"] = "in no batch yet: it waits in a window, or its batch is gone"
        problem = ""
        try:
            async with asyncio.timeout(TRACE_WITHIN_S):
                for (topic, partition), lanes in wanted.items():
                    await self._trace_in(topic, partition, record.timestamp / 1000, needles, lanes)
        except TimeoutError:
            problem = f"not found within {TRACE_WITHIN_S:g} s; search the batches for its id"
        except ViewError as error:
            problem = str(error)
        for row, _ in taking:
            if problem and row["batch"] is None:
                row["found"] = problem

    async def _trace_in(
        self, topic: str, partition: int, since: float, needles: set[bytes], lanes: dict[str, Row]
    ) -> None:
        spans = await self._records.spans(topic, since, None)
        left = {partition: spans[partition]} if partition in spans else {}
        async with aclosing(self._records.each(topic, left)) as stretches:
            async for _, records in stretches:
                for record in records:
                    _note_batch(record, needles, lanes)
                if all(row["batch"] for row in lanes.values()):
                    return

    async def _tries(self, visit: Visit, batches: list[str]) -> Section:
        if not batches:
            return Section("tries", ATTEMPTS.columns, each([]), "No batch with it was found.")
        query = Query((Condition("batch", Operator.IN, tuple(batches)),), sort="at", key="place", limit=200)
        found = await self._gather.ask("attempts", query, visit.masks)
        return Section(
            "tries",
            ATTEMPTS.columns,
            found.rows,
            "The tries of its batches, the oldest first.",
            coverage=found.coverage,
        )


def _lane_of(integration: Integration, event: Event) -> str:
    if integration.lanes == 1:
        return integration.id
    return f"{integration.id}~{crc32((event.user_id or event.hwid or '').encode()) % integration.lanes}"


def _note_batch(record: ConsumerRecord, needles: set[bytes], lanes: dict[str, Row]) -> None:
    value = record.value or b""
    if not any(needle and needle in value for needle in needles):
        return
    try:
        batch = decode_batch(value)
    except CodecError:
        return
    row = lanes.get(batch.lane)
    if row is not None and row["batch"] is None:
        row["batch"], row["found"] = batch.id, f"sealed at {format_time(round(batch.sealed_at))}"
