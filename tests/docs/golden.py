"""The requests that the pages on sinks show, made by the sinks themselves."""

import re
from typing import Any

import grpc
import grpc.aio

from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.sinks.registry import spec_of
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest, DeliverResponse, EventResult
from tests.contract.test_every_sink import sink_to
from tests.support.endpoint import reply, serving

NOW_S = 1_723_798_230.0
EVENT = (
    '{"event_name":"Email Sent","message_id":200123258,"message_code":"E682-E6D92B9A-53E24868","campaign_id":961048,'
    '"platform":"Email","payload":"Summer sale ☀","application_code":"32E5A-9B411","hwid":"ana@mail.example",'
    '"user_id":"1894410","timestamp":1723798222,"journey_title":"Welcome","journey_point_title":"5_Welcome",'
    '"uuid":"8b0d0d43-1c0f-4b2e-9d53-6f5a0c9a4b11"}'
).encode()
AUTHORIZATION = "Bearer a-token"
SETTINGS: dict[str, dict[str, Any]] = {
    "http": {"signing": {"secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}},
    "email": {},
    "xtremepush": {"channels": "Email", "authorization": None, "auth": {"type": "signed", "secret": "the secret"}},
    "segment": {"write_key": "the-key", "authorization": None},
}
_VARYING = {
    r"(?m)^Host: .*?\r?$": "Host: crm.example",
    r"(?m)^User-Agent: .*?\r?$": "User-Agent: Distributary/0.1.0",
    r'"version": "[^"]*"': '"version": "0.1.0"',
}


def batch() -> Batch:
    run = EventRun.of([EVENT])
    return Batch("crm", 100, 101, SealReason.AGE, NOW_S - 1, NOW_S, run.packed_ends(), run.block)


async def request_of(kind: str) -> str:
    """What ``kind`` sends for ``EVENT`` over HTTP, but for what changes from place to place."""
    path = "" if kind == "segment" else "/events"
    settings = {"authorization": AUTHORIZATION} | SETTINGS[kind]
    async with serving(reply(200)) as endpoint, sink_to(spec_of(kind), endpoint.url(path), **settings) as sink:
        await sink.send(batch(), now_s=NOW_S)
        text = endpoint.seen[0].wire.decode().replace("\r\n", "\n")
    for pattern, replacement in _VARYING.items():
        text = re.sub(pattern, replacement, text)
    return text


async def stream_of() -> tuple[list[str], DeliverRequest]:
    """What the grpc sink sends for ``EVENT``: the metadata that a receiver is told of, and the message."""
    seen: list[tuple[list[str], DeliverRequest]] = []

    async def deliver(requests: Any, context: Any) -> Any:
        metadata = [f"{name}: {value}" for name, value in context.invocation_metadata()]
        async for encoded in requests:
            request = DeliverRequest.FromString(encoded)
            seen.append((metadata, request))
            results = [EventResult(uuid=event.uuid, status=EventResult.Status.Success) for event in request.events]
            yield DeliverResponse(results=results).SerializeToString()

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(deliver)
    service = grpc.method_handlers_generic_handler(
        "distributary.eventstream.v1.EventStreamService", {"Deliver": handler}
    )
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        url = f"grpc://127.0.0.1:{port}"
        async with sink_to(spec_of("grpc"), url, authorization=AUTHORIZATION) as sink:
            await sink.send(batch(), now_s=NOW_S)
    finally:
        await server.stop(None)
    metadata, request = seen[0]
    told = ("authorization", "webhook-", "distributary-")
    return [line for line in metadata if line.startswith(told)], request
