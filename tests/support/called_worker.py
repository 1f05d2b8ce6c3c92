"""A whole worker that outside systems call: a process of its own, with real Kafka and Redis behind it."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from agents.topology import Names
from pipeline.inbound.request import InboundRequest, decode
from pipeline.local import ports
from tests.support.inbound_calls import Answer
from tests.support.whole_topic import read_topic
from tests.support.worker_process import PARTITIONS, WorkerProcess, eventually

APPLICATION = "32E5A-9B411"
TOKEN = "segment-token-0123456789"
SECRET = "secret-of-the-orders-webhook"
ORDER: dict[str, Any] = {
    "id": "evt_1",
    "customer": {"id": "jane", "email": "jane@example.com", "phone": "+15551234567", "device": "device-1"},
    "order": {"number": "ORD-001", "total": 99.5, "items": [{"sku": "a"}, {"sku": "b"}]},
}
ATTRIBUTES = {"total": "order.total", "skus": "order.items[*].sku", "first": "order.items[0].sku", "gone": "order.no"}


def webhook(name: str, by: str = "user_id", field: str = "customer.id", **keys: Any) -> dict[str, Any]:
    """A webhook as ``faust.yml`` has it."""
    return {
        "id": name,
        "name": name.title(),
        "event": "OrderPaid",
        "application": APPLICATION,
        "identify": {"by": by, "field": field},
        "attributes": ATTRIBUTES,
        "secret": SECRET,
        **keys,
    }


class CalledWorker(WorkerProcess):
    """A worker with a listener on ``inbound_port``; ``keys`` are settings of ``inbound``."""

    def __init__(self, brokers: str, redis_url: str, folder: Path, webhooks: list[dict[str, Any]], **keys: Any) -> None:
        super().__init__("called", brokers, folder)
        self.environment = {name: value for name, value in self.environment.items() if name != "REDIS_URL"}
        self.redis_url = redis_url
        self.inbound_port = ports.choose(besides={self.port})
        self.webhooks = webhooks
        self.keys = keys
        self.names = Names(self.app)

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "redis": self.redis_url,
            "inbound": {"port": self.inbound_port, "webhooks": self.webhooks, **self.keys},
            "segment_destination": {"applications": {APPLICATION: TOKEN}},
        }

    # calling

    def call(
        self,
        path: str,
        body: bytes | Mapping[str, Any] = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 20.0,
    ) -> Answer:
        """Call the listener on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.inbound_port, timeout=timeout_s)
        try:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def fire(self, name: str, body: bytes | Mapping[str, Any] | None = None, **headers: str) -> Answer:
        """Call a webhook as its secret's owner does; header names have _ for -."""
        given = {"Authorization": f"Bearer {SECRET}", **{n.replace("_", "-"): v for n, v in headers.items()}}
        return self.call(f"/webhooks/{name}", ORDER if body is None else body, headers=given)

    def segment(self, call: str, body: bytes | Mapping[str, Any], **headers: str) -> Answer:
        """Call as Segment does."""
        given = {"Authorization": f"Token {TOKEN}", "X-PW-Appcode": APPLICATION}
        given |= {n.replace("_", "-"): v for n, v in headers.items()}
        return self.call(f"/integration-segment/v1/{call}", body, headers=given)

    def know_jane(self) -> None:
        """Have the directory know the customer of ``ORDER``, by all that names her."""
        customer = ORDER["customer"]
        profile = {
            "user_id": customer["id"],
            "email": customer["email"],
            "device_id": customer["device"],
            "device_platform": "android",
            "attributes": {"phone": customer["phone"]},
        }
        eventually(lambda: self.segment("track-user", profile).status == 200, "the directory takes a user")

    def knows(self, name: str, body: Mapping[str, Any] | None = None) -> None:
        """Wait until a webhook finds the user of ``body``."""
        eventually(lambda: self.fire(name, body).status == 200, "the user is known")

    # what Kafka has

    def records(self, topic: str) -> list[tuple[int, bytes]]:
        """All records of a topic: partition and value."""
        return [(record.partition, record.value) for record in read_topic(self.brokers, topic, PARTITIONS)]

    def requests(self) -> list[InboundRequest]:
        """The activity log."""
        return [decode(value) for _, value in self.records(self.names.inbound_requests)]

    def request(self, request_id: str) -> InboundRequest:
        """The one record of a request."""
        found = [each for each in self.requests() if each.request_id == request_id]
        assert len(found) == 1, f"{len(found)} records of request {request_id}"
        return found[0]

    def events(self) -> list[dict[str, Any]]:
        """The accepted events."""
        return [json.loads(value) for _, value in self.records(self.names.inbound)]

    def event(self, uuid: str, within_s: float = 10.0) -> dict[str, Any]:
        """The one event with this id, once it is there."""
        deadline_s = time.monotonic() + within_s
        while not (found := [event for event in self.events() if event["uuid"] == uuid]):
            assert time.monotonic() < deadline_s, f"there is no event {uuid}"
            time.sleep(0.1)
        assert len(found) == 1
        return found[0]

    def counted(self) -> Counter[tuple[str, str]]:
        """The worker's own count of what it answered, by source and outcome."""
        counted: Counter[tuple[str, str]] = Counter()
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == "distributary_inbound_requests_total":
                    counted[sample.labels["source"], sample.labels["outcome"]] += int(sample.value)
        return counted
