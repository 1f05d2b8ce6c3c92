"""Batches whose events can travel by gRPC, and sinks that send them."""

import json
from typing import Any

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.sinks.grpc import SPEC
from tests.contract.test_every_sink import NOW_S, sink_to
from tests.support.grpc_endpoint import Answering, serving_grpc


def event_of(number: int, **more: Any) -> bytes:
    fields = {
        "event_name": "Email Opened",
        "platform": "Email",
        "application_code": "32E5A-9B411",
        "hwid": "a@b.example",
        "timestamp": 1723799271,
        "uuid": f"u-{number}",
    }
    return json.dumps(fields | more, ensure_ascii=False, separators=(",", ":")).encode()


def batch_of_events(events: list[bytes], *, first: int = 0, lane: str = "crm") -> Batch:
    run = EventRun.of(events)
    return Batch(lane, first, first + len(events), SealReason.COUNT, NOW_S - 1, NOW_S, run.packed_ends(), run.block)


def batch_of(count: int, *, first: int = 0, lane: str = "crm", **more: Any) -> Batch:
    return batch_of_events([event_of(number, **more) for number in range(first, first + count)], first=first, lane=lane)


async def outcome_of(answer: Answering, batch: Batch | None = None, **more: Any) -> Outcome:
    """What comes of one try at an endpoint that answers so."""
    async with serving_grpc(answer) as endpoint, sink_to(SPEC, endpoint.url(), **more) as sink:
        return await sink.send(batch or batch_of(3), now_s=NOW_S)
