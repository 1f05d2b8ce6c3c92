"""JSON Schemas of what is sent and received, made from the types that encode and decode it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from pipeline.inbound.request import InboundRequest
from pipeline.ingest.event import PUBLISHED_FIELDS, Event
from pipeline.model.attempt import Attempt
from pipeline.model.platforms import PLATFORMS
from pipeline.notices.notice import Notice
from pipeline.sinks.email import EmailStatus
from pipeline.sinks.xtremepush_mapping import Webhook

Schema = dict[str, Any]

FIELDS: Final = MappingProxyType(
    {
        "event_name": "What happened, for example Email Opened.",
        "message_id": "The message that it is about, by number: unsigned, 64 bits.",
        "message_code": "The same by code, for example E682-E6D92B9A-53E24868.",
        "campaign_id": "The campaign, by number: unsigned, 64 bits.",
        "campaign_code": "The campaign, by code.",
        "platform": "Where it happened.",
        "payload": "What the message said; for mails the subject.",
        "application_code": "The application that it happened in, for example 32E5A-9B411.",
        "hwid": "The device; the address for mails, the number for messages.",
        "user_id": "The user.",
        "timestamp": "When it happened, in UNIX seconds.",
        "journey_title": "The journey that the message was sent by.",
        "journey_point_title": "The journey's point that it was sent at.",
        "live_activity_id": "The live activity that it belongs to.",
        "uuid": "The event's name: unique, and the same whenever it is sent.",
        "device_type": "The kind of device, by name or number.",
        "error_message": "Why a message could not be delivered.",
        "trigger_id": "What triggered the message.",
        "profile_id": "The user's profile.",
        "device_id": "The device, by another system's name.",
        "email": "The user's address.",
    }
)
"""What each field of an event means."""

_ALWAYS: Final = ("event_name", "platform", "application_code", "timestamp")
_SOMEBODY: Final = [{"required": ["hwid"]}, {"required": ["user_id"]}]


def schemas() -> dict[str, Schema]:
    """All schemas, by the names that the document refers to them by."""
    _, made = msgspec.json.schema_components(
        [Event, Attempt, Notice, EmailStatus, Webhook, InboundRequest], ref_template="#/components/schemas/{name}"
    )
    source = made.pop("Event")
    return {
        "SourceEvent": _source_event(source),
        "PublishedEvent": _sent_event(
            source, PUBLISHED_FIELDS, "The fields of an event that are sent unless set otherwise."
        ),
        "KnownEvent": _sent_event(source, Event.__struct_fields__, "An event with all known fields: `fields: known`."),
        "BatchArray": {"type": "array", "items": _ref("PublishedEvent"), "minItems": 1},
        "BatchEnvelope": _envelope(),
        "FailedEvents": _failed_events(),
        "SegmentBatch": _segment_batch(),
        "InboundAcceptedEvent": _inbound_event(),
        **{name: _without_nulls(_tidy(schema)) for name, schema in made.items()},
    }


def _inbound_event() -> Schema:
    """An event of ``<app>-inbound``: one of the source topic's shape, with its attributes."""
    attributes = {
        "type": "object",
        "description": "What the payload said, by the names of the event's attributes; `__webhook` is the webhook's id.",
    }
    return {
        "allOf": [_ref("SourceEvent")],
        "type": "object",
        "properties": {"attributes": attributes, "uuid": {"type": "string", "description": FIELDS["uuid"]}},
        "required": ["attributes", "uuid"],
    }


def delivery_headers(*, authorization: bool = True, more: Mapping[str, str] | None = None) -> Schema:
    """The headers of a delivery over HTTP; ``more`` gives further ones with what they are."""
    known = {
        "webhook-id": "The name of these events, the same on every try: LANE:FIRST-END, and ~COUNT where numbers between are missing.",
        "webhook-timestamp": "UNIX seconds of this try.",
        "distributary-sequence": "LANE FIRST-END[,FIRST-END...]: the sequence numbers of the events inside, END not included; "
        "LANE FIRST-END~COUNT where that would be longer than 4 KiB.",
        "distributary-purpose": "backfill or test, where the events have not just happened; else absent.",
    }
    if authorization:
        known["authorization"] = "What the integration's setting says; absent where it says nothing."
    optional = {"distributary-purpose", "authorization", *(more or {})}
    properties: dict[str, Schema] = {
        name: {"type": "string", "description": words} for name, words in (known | dict(more or {})).items()
    }
    properties["distributary-purpose"]["enum"] = ["backfill", "test"]
    return {"type": "object", "properties": properties, "required": [name for name in known if name not in optional]}


def dead_letter_headers() -> Schema:
    """The record headers of a dead letter."""
    words = {
        "reason": "A short word for what is wrong.",
        "detail": "What was found, and where in the record.",
        "topic": "Where the record came from.",
        "partition": "Its partition, in decimal.",
        "offset": "Its offset, in decimal.",
        "timestamp_ms": "Its time, in UNIX milliseconds.",
    }
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in words.items()},
        "required": list(words),
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _source_event(event: Schema) -> Schema:
    properties = {name: _tidy(event["properties"][name]) | {"description": words} for name, words in FIELDS.items()}
    properties["platform"]["description"] += " A display name, or the number that stands for one."
    properties["uuid"]["description"] += " Made from topic, partition and offset where it is absent."
    return {
        "type": "object",
        "description": "One communication event. Fields that are not named here do no harm. hwid or user_id is not empty.",
        "properties": properties,
        "required": list(_ALWAYS),
        "anyOf": _SOMEBODY,
    }


def _sent_event(event: Schema, names: Iterable[str], description: str) -> Schema:
    properties = {
        name: _without_nulls(_tidy(event["properties"][name])) | {"description": FIELDS[name]} for name in names
    }
    properties["platform"] = {"type": "string", "enum": list(PLATFORMS), "description": FIELDS["platform"]}
    return {
        "type": "object",
        "description": f"{description} Later versions may add some: ignore what you do not know.",
        "properties": properties,
        "required": [*_ALWAYS, "uuid"],
        "anyOf": _SOMEBODY,
    }


def _envelope() -> Schema:
    number = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "properties": {
            "batch": {"type": "string", "description": "As webhook-id."},
            "lane": {"type": "string"},
            "first": number | {"description": "The number of the first event."},
            "end": number | {"description": "The number after that of the last event."},
            "events": _ref("BatchArray"),
        },
        "required": ["batch", "lane", "first", "end", "events"],
    }


def _failed_events() -> Schema:
    named = {
        "type": "object",
        "properties": {"uuid": {"type": "string"}, "detail": {"type": "string", "description": "Why, for people."}},
        "required": ["uuid"],
    }
    return {
        "type": "object",
        "description": "With a status of 2xx: takes all events but these, which are sent again alone.",
        "properties": {
            "failed": {
                "type": "array",
                "description": "uuids of events, with or without why.",
                "items": {"anyOf": [{"type": "string"}, named]},
            }
        },
    }


def _segment_batch() -> Schema:
    text = {"type": "string", "minLength": 1}
    when = {"type": "string", "format": "date-time"}
    message = {
        "type": "object",
        "properties": {
            "type": {"const": "track"},
            "event": text,
            "userId": text | {"description": "The user_id."},
            "anonymousId": text | {"description": "The hwid, only where there is no user_id."},
            "messageId": text | {"maxLength": 100, "description": "The event's uuid: Segment drops what it has seen."},
            "timestamp": when,
            "properties": {
                "type": "object",
                "properties": {
                    "message_type": {"enum": ["Push", "Email", "In-App", "SMS"]},
                    "campaign_code": text,
                    "device_type": {"anyOf": [text, {"type": "integer"}]},
                },
            },
        },
        "required": ["type", "event", "messageId", "timestamp", "properties"],
        "anyOf": [{"required": ["userId"]}, {"required": ["anonymousId"]}],
    }
    return {
        "type": "object",
        "properties": {
            "batch": {"type": "array", "items": message, "minItems": 1, "maxItems": 2500},
            "sentAt": when | {"description": "The time of this try."},
            "writeKey": text,
            "context": {"type": "object"},
        },
        "required": ["batch", "sentAt", "writeKey"],
    }


def _tidy(schema: Schema) -> Schema:
    """Without what only says how the code is written: titles, docstrings and defaults, at any depth."""
    tidied: Schema = {}
    for key, value in schema.items():
        if key in {"title", "default"} or (key == "description" and "properties" in schema):
            continue
        if key == "properties":
            tidied[key] = {name: _tidy(inner) for name, inner in value.items()}
        elif isinstance(value, dict):
            tidied[key] = _tidy(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tidied[key] = [_tidy(inner) for inner in value]
        else:
            tidied[key] = value
    return tidied


def _without_nulls(schema: Schema) -> Schema:
    """``schema`` of something that is left out rather than null, at any depth."""
    if "anyOf" in schema:
        kept = [inner for inner in schema["anyOf"] if inner != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return rest | (kept[0] if len(kept) == 1 else {"anyOf": kept})
    if "properties" in schema:
        return schema | {"properties": {name: _without_nulls(inner) for name, inner in schema["properties"].items()}}
    return schema
