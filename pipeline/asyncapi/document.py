"""The document: channels, messages and operations."""

from importlib.metadata import version
from typing import Any, Final, NamedTuple

from pipeline.asyncapi.schemas import dead_letter_headers, delivery_headers, schemas
from pipeline.sinks.registry import SINKS

ASYNCAPI: Final = "3.0.0"
PROTO: Final = "../proto/distributary/eventstream/v1/event_stream.proto"
"""Where gRPC's messages are defined, from the document's place in docs/."""


class Topics(NamedTuple):
    """The names of the topics; ``{app}`` stands in them for the app's name."""

    source: str
    attempts: str
    parked: str
    dead_letters: str
    notices: str
    inbound_requests: str
    inbound: str


class Told(NamedTuple):
    """How one kind of sink tells events: its messages by name, and the answers that say more than a status."""

    messages: dict[str, dict[str, Any]]
    answers: dict[str, dict[str, Any]]
    protocol: str = "http"


def document(topics: Topics) -> dict[str, Any]:
    """The AsyncAPI document, ready for YAML."""
    endpoints = {spec.kind: told_by(spec.kind) for spec in SINKS}
    messages = _topic_messages()
    for told in endpoints.values():
        messages |= told.messages | told.answers
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Distributary",
            "version": version("distributary"),
            "description": "Reads communication events from Kafka and delivers batches of them to customers' endpoints. "
            "Topics are named as seen by Distributary: it receives from the first, and sends to the others.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _topic_channels(topics)
        | {f"endpoint-{kind}": _endpoint(kind, told) for kind, told in endpoints.items()},
        "operations": _topic_operations()
        | {f"deliver-{spec.kind}": _delivery(spec.kind, spec.summary) for spec in SINKS},
        "components": {"messages": messages, "schemas": schemas()},
    }


def told_by(kind: str) -> Told:
    """How ``kind`` tells events; a kind that this module does not know has a message without a schema."""
    match kind:
        case "http":
            signed = delivery_headers(
                more={
                    "webhook-signature": "By Standard Webhooks, where the integration signs.",
                    "content-encoding": "gzip, where the integration compresses.",
                }
            )
            return Told(
                {
                    "httpArray": _json("A batch, as `body: array` sends it.", _ref("BatchArray"), signed),
                    "httpEnvelope": _json("A batch, as `body: envelope` sends it.", _ref("BatchEnvelope"), signed),
                    "httpObject": _json("One event, as `body: object` sends it.", _ref("PublishedEvent"), signed),
                },
                {"httpFailed": _json("An answer that takes a part of a batch.", _ref("FailedEvents"))},
            )
        case "email":
            return Told({"emailStatus": _json("One email event.", _ref("EmailStatus"), delivery_headers())}, {})
        case "xtremepush":
            headers = delivery_headers(
                more={"x-xtremepush-signature": "t=SECONDS,v1=HEX[,v1=HEX], with auth of type signed."}
            )
            return Told({"xtremepushEvent": _json("One event.", _ref("Webhook"), headers)}, {})
        case "segment":
            basic = {"authorization": {"type": "string", "description": "Basic, with the write key as user."}}
            headers = {"type": "object", "properties": basic, "required": ["authorization"]}
            return Told({"segmentBatch": _json("A batch of track calls.", _ref("SegmentBatch"), headers)}, {})
        case "grpc":
            return Told(
                {"grpcRequest": _protobuf("Some events of a batch: DeliverRequest.", delivery_headers())},
                {"grpcResponse": _protobuf("Answers to some of them: DeliverResponse.")},
                protocol="grpc",
            )
        case _:
            return Told({f"{kind}Message": {"summary": "Some events of a batch."}}, {})


def _topic_channels(topics: Topics) -> dict[str, Any]:
    def channel(address: str, message: str, description: str) -> dict[str, Any]:
        found: dict[str, Any] = {"address": address, "description": description, "messages": _messages([message])}
        if "{app}" in address:
            found["parameters"] = {"app": {"default": "distributary", "description": "The setting `app`."}}
        return found

    return {
        "source": channel(topics.source, "sourceEvent", "Events, one a record, with any key."),
        "attempts": channel(topics.attempts, "attempt", "Every try to deliver a batch, in the partition of its lane."),
        "parked": channel(topics.parked, "parked", "Batches that gave up, whole, so that they can be taken up again."),
        "dead-letters": channel(topics.dead_letters, "deadLetter", "Records that cannot be used, with why."),
        "notices": channel(topics.notices, "notice", "What needs people."),
        "inbound-requests": channel(
            topics.inbound_requests,
            "inboundRequest",
            "What came in by webhooks and Segment's calls, and what became of it; only where `inbound` is set.",
        ),
        "inbound": channel(
            topics.inbound, "inboundEvent", "Accepted inbound events, each once; only where `inbound` is set."
        ),
    }


def _topic_messages() -> dict[str, Any]:
    return {
        "sourceEvent": _json("A communication event.", _ref("SourceEvent")),
        "attempt": _json("What came of one try.", _ref("Attempt")),
        "notice": _json("What needs people: an endpoint that fails, a batch that was parked.", _ref("Notice")),
        "inboundRequest": _json("One request, or one part of a call of Segment's.", _ref("InboundRequest")),
        "inboundEvent": _json("An event that an outside system fired.", _ref("InboundAcceptedEvent")),
        "parked": {
            "summary": "A batch that gave up: to be read and replayed by Distributary alone.",
            "contentType": "application/vnd.msgpack",
            "payload": {"type": "array", "description": "A MessagePack array: batch, kind, reason, attempts, time."},
        },
        "deadLetter": {
            "summary": "The record's own bytes, as they came.",
            "contentType": "application/octet-stream",
            "headers": dead_letter_headers(),
            "payload": {"description": "Anything, or nothing."},
        },
    }


def _topic_operations() -> dict[str, Any]:
    def operation(action: str, channel: str, summary: str) -> dict[str, Any]:
        return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}

    return {
        "read-events": operation("receive", "source", "Reads events, in chunks."),
        "record-attempts": operation("send", "attempts", "Records every try."),
        "park-batches": operation("send", "parked", "Keeps what gave up."),
        "take-requests": operation("send", "inbound-requests", "Keeps every inbound request before it is answered."),
        "take-events": operation("send", "inbound", "Writes the events of accepted requests, each once."),
        "tell-people": operation("send", "notices", "Tells people what needs them."),
        "set-dead-letters-aside": operation("send", "dead-letters", "Keeps what cannot be used."),
    }


def _endpoint(kind: str, told: Told) -> dict[str, Any]:
    return {
        "address": None,
        "title": f"The endpoint of an integration of kind {kind}",
        "description": f"Its address is the integration's setting `url`; see docs/sinks/{kind}.md.",
        "messages": _messages([*told.messages, *told.answers]),
    }


def _delivery(kind: str, summary: str) -> dict[str, Any]:
    told, channel = told_by(kind), f"#/channels/endpoint-{kind}"
    operation: dict[str, Any] = {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": summary,
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in told.messages],
    }
    if told.protocol == "http":
        operation["bindings"] = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}
    if told.answers:
        replies = [{"$ref": f"{channel}/messages/{name}"} for name in told.answers]
        operation["reply"] = {"channel": {"$ref": channel}, "messages": replies}
    return operation


def _messages(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _json(summary: str, payload: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"summary": summary, "contentType": "application/json"}
    if headers is not None:
        message["headers"] = headers
    return message | {"payload": payload}


def _protobuf(summary: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"summary": summary, "contentType": "application/grpc"}
    if headers is not None:
        message["headers"] = headers
    schema = {"schemaFormat": "application/vnd.google.protobuf;version=3", "schema": {"$ref": PROTO}}
    return message | {"payload": schema}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
