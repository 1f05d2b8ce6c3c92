"""A worker with webhooks and Segment's calls, to which requests have come as the listener writes them down."""

import asyncio
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from pipeline.inbound.event import make_event
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest, encode, shown_body
from pipeline.local import ports
from pipeline.model.placement import partition_of
from tests.support.viewed_flow import ViewedFlow
from tests.support.worker_process import PARTITIONS, eventually

SECRET = "a-secret-of-a-webhook-0123456789"
APPLICATION = "32E5A-9B411"
SEGMENT_TOKEN = "segment-token-0123456789"


async def put_requests(brokers: str, app: str, requests: Sequence[InboundRequest]) -> None:
    """Put requests into the topic, where the listener would."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    try:
        for each in requests:
            partition = partition_of(each.webhook_id or each.application, PARTITIONS)
            await producer.send(f"{app}-inbound-requests", encode(each), partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


class InboundFlow(ViewedFlow):
    """``orders`` identifies by user id, ``mails`` by email, both of ``faust.yml``; requests are put where the listener puts them."""

    def __init__(self, name: str, brokers: str, folder: Path) -> None:
        super().__init__(name, brokers, folder)
        self.inbound_port = ports.choose()

    def settings(self) -> dict[str, Any]:
        """With what can come in."""
        return {
            **super().settings(),
            "inbound": {"port": self.inbound_port, "public_url": "https://hooks.example", "webhooks": self.webhooks()},
            "segment_destination": {"applications": {APPLICATION: SEGMENT_TOKEN}},
        }

    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks of ``faust.yml``."""
        return [self.webhook("orders", "user_id", "user.id"), self.webhook("mails", "email", "email")]

    def webhook(self, name: str, by: str, field: str, **more: Any) -> dict[str, Any]:
        """The settings of a webhook."""
        sample = json.dumps({"user": {"id": "12345"}, "email": "jane@example.com", "total": 5})
        return {
            "id": name,
            "name": f"The {name}",
            "event": "CheckoutSuccess",
            "application": APPLICATION,
            "identify": {"by": by, "field": field},
            "attributes": {"total": "total"},
            "sample": sample,
            "secret": SECRET,
            **more,
        }

    def call(self, path: str, body: Any, **headers: str) -> int:
        """POST to the listener, as other systems do; gives the status."""
        url = f"http://127.0.0.1:{self.inbound_port}{path}"
        sent = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, json.dumps(body).encode(), sent), timeout=15
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def track(self, **fields: Any) -> None:
        """Tell of a user, as Segment does."""
        headers = {"Authorization": f"Token {SEGMENT_TOKEN}", "X_PW_Appcode": APPLICATION}
        body = {"attributes": {}, **fields}
        eventually(
            lambda: self.call("/integration-segment/v1/track-user", body, **headers) == 200, "a user is tracked", 60
        )

    def receive(self, *requests: InboundRequest) -> None:
        """Put requests into the topic."""
        asyncio.run(put_requests(self.brokers, self.app, requests))

    def await_requests(self, count: int, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of the log of all requests, when there are that many."""
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = self.rows("/webhooks/requests", "requests", size=1000, **parameters)
            return len(found) >= count

        eventually(are_there, f"{count} inbound requests {parameters}", 60)
        return found


def request(
    webhook: str,
    outcome: Outcome = Outcome.ACCEPTED,
    *,
    by: str = "user_id",
    user: str = "12345",
    at_s: float = 0.0,
    **more: Any,
) -> InboundRequest:
    """A request to a webhook: an accepted one fires an event for ``user``."""
    at_s = at_s or time.time()
    request_id = str(uuid.uuid4())
    events = []
    if outcome is Outcome.ACCEPTED:
        made, event = make_event(
            request_id, name="CheckoutSuccess", application=APPLICATION, platform="Web", timestamp_s=int(at_s), user_id=user,
            attributes={"total": 5, "__webhook": webhook},
        )  # fmt: skip
        events = [InboundEvent(key="", uuid=made, event=msgspec.Raw(event))]
    body = more.pop("body", json.dumps({"user": {"id": user}, "email": user, "total": 5}).encode())
    text, is_cut = shown_body(body)
    return InboundRequest(
        at_s=at_s, request_id=request_id, source="webhook", outcome=outcome, status=outcome.status, webhook_id=webhook,
        application=APPLICATION, identifier_by=by, identifier=user, address="192.0.2.7", body=text, size_bytes=len(body),
        is_cut=is_cut, user_key=user, events=events, **more,
    )  # fmt: skip


def segment_call(
    call: str = "/post-events", *, taken: int = 2, disregarded: dict[str, int] | None = None, **more: Any
) -> InboundRequest:
    """A call of Segment's with so many events taken."""
    now_s = time.time()
    request_id = str(uuid.uuid4())
    events = []
    for number in range(taken):
        made, event = make_event(
            f"{request_id}-{number}", name="Order Completed", application=APPLICATION, platform="iOS", timestamp_s=int(now_s),
            user_id=f"user-{number}", attributes={"total": number},
        )  # fmt: skip
        events.append(InboundEvent(key="", uuid=made, event=msgspec.Raw(event)))
    return InboundRequest(
        at_s=now_s, request_id=request_id, source="segment", outcome=Outcome.ACCEPTED, status=200, application=APPLICATION,
        call=call, body='{"events":[]}', size_bytes=13, events=events, disregarded=disregarded or {}, **more,
    )  # fmt: skip
