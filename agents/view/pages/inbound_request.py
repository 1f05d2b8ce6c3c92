"""``/webhooks/requests/{partition}/{offset}``: one inbound request as the topic has it, and the events that were made of it."""

from typing import Any, Final

import msgspec

from agents.view.inbound_parts import InboundParts
from agents.view.pages.browsing import each
from agents.view.pages.webhooks import REQUESTS
from agents.view.records import place_in
from agents.view.server import View, Visit
from pipeline.errors import CodecError, NotFoundError
from pipeline.inbound.request import InboundRequest, decode
from pipeline.inbound.segment.answers import meaning as segment_meaning
from pipeline.inbound.settings import IDENTIFY_LABELS
from pipeline.inbound.stage import KEY_KEPT_S
from pipeline.model.moments import format_time
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.decoded_inbound import masked_event
from pipeline.view.index.lines import LONGEST_KEY
from pipeline.view.mask import mask_value
from pipeline.view.mask_payload import payload_text
from pipeline.view.page import Page, Section
from pipeline.view.query import Operator, Query

MOST_EVENTS: Final = 20
"""Events of a call that are shown whole; JSON and CSV have all."""
MOST_REPEATS: Final = 1000
"""Requests with the same idempotency key that are looked through."""

_EVENTS: Final[Columns] = (
    Column("uuid", "UUID", Kind.CODE, "The event's own.", is_sortable=False),
    Column("event_name", "Event", Kind.TEXT, is_sortable=False),
    Column("platform", "Platform", Kind.STATE, is_sortable=False),
    Column("user_id", "User ID", Kind.CODE, is_sortable=False),
    Column("hwid", "HWID", Kind.CODE, is_sortable=False),
    Column("attributes", "Attributes", Kind.JSON, "What the payload filled.", is_sortable=False),
)
_REASONS: Final[Columns] = (
    Column("reason", "Reason", Kind.TEXT, "Why events of the call were not taken.", is_sortable=False),
    Column("count", "Events", Kind.INTEGER, is_sortable=False),
)


class InboundRequestPage:
    """The page."""

    def __init__(self, parts: InboundParts) -> None:
        self._parts = parts

    def register(self, view: View) -> None:
        """Put it on ``view``, before the pages of single webhooks."""
        view.page(f"{REQUESTS}/{{partition}}/{{offset}}", self.one)

    async def one(self, visit: Visit) -> Page:
        """One inbound request: what came, what became of it, and what it fired."""
        partition, offset = place_in(visit.match)
        record = await self._parts.records.one(self._parts.names.inbound_requests, partition, offset)
        masks = visit.masks
        try:
            request = decode(record.value)
            by, identifier = request.identifier_by, request.identifier
            events = [masked_event(event.event, masks, by, identifier) for event in request.events]
        except CodecError as error:
            raise NotFoundError(str(error)) from error
        first = await self._first_of(request, partition, offset)
        if first is not None:
            events = []
        sections = [Section("events", _EVENTS, each(map(_event_row, events)), _fired(request, first))]
        if request.disregarded:
            counted = [{"reason": reason, "count": count} for reason, count in request.disregarded.items()]
            sections.append(Section("disregarded", _REASONS, each(counted), "Events of the call that were not taken."))
        context = {
            "body": payload_text(request.body, masks, by=by, identifier=identifier),
            "is_cut": request.is_cut,
            "is_masked": bool(masks),
            "why_no_body": _why_no_body(request),
            "events": [_indented(event) for event in events[:MOST_EVENTS]],
            "fact_tones": {} if request.outcome.is_success else {"result": "bad"},
            "fact_links": self._links(request, visit),
            "lead": _lead(request, masks) + ([] if first is None else [_fired(request, first)]),
            "nothing": {"events": "It fired nothing."},
        }
        title = f"Request of {format_time(request.at_s)}"
        return Page(title, "inbound_request.html", sections, _facts(request, masks), context)

    async def _first_of(self, request: InboundRequest, partition: int, offset: int) -> Row | None:
        """The request of the last day that fired the event before this one, which has the same idempotency key."""
        if not request.key or request.source != "webhook" or not request.events:
            return None
        asked = (
            Query(sort="at", key="place", limit=MOST_REPEATS)
            .where("webhook", request.webhook_id).where("key", request.key[:LONGEST_KEY]).where("outcome", request.outcome)
            .where("partition", partition).where("offset", offset, Operator.LESS)
        )  # fmt: skip
        first: Row | None = None
        async for row in (await self._parts.gather.ask("inbound_requests", asked)).rows:
            if first is None or row["at"] >= first["at"] + KEY_KEPT_S:
                first = row
        if first is None or request.at_s >= first["at"] + KEY_KEPT_S:
            return None
        record = await self._parts.records.one(self._parts.names.inbound_requests, partition, first["offset"])
        try:
            uuids = {event.uuid for event in decode(record.value).events}
        except CodecError as error:
            raise NotFoundError(str(error)) from error
        return first if request.events[0].uuid in uuids else None

    def _links(self, request: InboundRequest, visit: Visit) -> dict[str, str]:
        links = {}
        if request.webhook_id in self._parts.webhooks:
            links["webhook"] = visit.url_for("/webhooks/{id}", id=request.webhook_id)
        if request.source == "segment":
            links["call"] = visit.url_for("/segment")
        return links


def _facts(request: InboundRequest, masks: frozenset[Personal]) -> dict[str, Any]:
    identifier: Any = request.identifier or None
    if request.identifier_by and Personal(request.identifier_by) in masks:
        identifier = mask_value(Personal(request.identifier_by), identifier)
    facts: dict[str, Any] = {
        "came_at": request.at_s,
        "result": request.outcome.label,
        "status": request.status,
        "webhook": request.webhook_id or None,
    }
    if request.source == "segment":
        facts |= {"call": request.call, "application": request.application}
    if request.identifier_by:
        facts[IDENTIFY_LABELS.get(request.identifier_by, request.identifier_by)] = identifier  # type: ignore[call-overload]
    facts |= {"from": request.address or None, "size_bytes": request.size_bytes}
    key = mask_value(Personal.PAYLOAD, request.key) if masks else request.key
    return facts | ({"idempotency_key": key} if key else {})


def _lead(request: InboundRequest, masks: frozenset[Personal]) -> list[str]:
    lead = [segment_meaning(request.outcome) if request.source == "segment" else request.outcome.meaning]
    if request.detail and request.detail not in lead:
        detail = mask_value(Personal.PAYLOAD, request.detail) if masks else request.detail
        lead.append(f"In detail: {detail}.")
    return lead


def _fired(request: InboundRequest, first: Row | None) -> str:
    if first is not None:
        return f"It repeats the request of {format_time(first['at'])}, which fired the event: nothing was fired again."
    count = len(request.events)
    told = f"{count:,} event{'' if count == 1 else 's'} fired"
    return f"{told} to the user's partition." if request.source == "webhook" else f"{told} in this part of the call."


def _why_no_body(request: InboundRequest) -> str:
    return "The body was not read." if request.size_bytes else "The request had no body."


def _event_row(event: dict[str, Any]) -> Row:
    return {column.name: event.get(column.name) for column in _EVENTS}


def _indented(event: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(event), indent=2).decode()
