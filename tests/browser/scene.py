"""What the browser looks at: two workers of one deployment, customers whose endpoints work or do not, and what came of it."""

import asyncio
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundRequest
from pipeline.local import ports
from tests.support.inbound_flow import put_requests, request
from tests.support.viewed_flow import Customers
from tests.support.worker_pair import ADMIN, VIEWER, Deployment, Worker
from tests.support.worker_process import eventually

__all__ = ["ADMIN", "OPERATOR", "VIEWER", "Scene"]

OPERATOR = "operator-token-of-the-scene"
SECRET = "Bearer a-secret-of-a-customer"
EVENTS = ("Push Sent", "Push Opened", "Email Sent", "Email Opened")
PLATFORMS = {"Push Sent": "iOS", "Push Opened": "Android", "Email Sent": "Email", "Email Opened": "Email"}
HOSTILE = "<script>alert(1)</script>\u202egnp.exe =1+1"


WEBHOOK = {
    "id": "orders",
    "name": "Orders",
    "event": "CheckoutSuccess",
    "application": "CRM",
    "identify": {"by": "user_id", "field": "user.id"},
    "attributes": {"total": "total"},
    "sample": '{"user": {"id": "user-1"}, "total": 99.5}',
    "secret": "a-secret-of-the-scene-0123456789",
}


class Scene:
    """The deployment, how to send it events, and where it stands."""

    def __init__(self, brokers: str, folder: Path) -> None:
        self.customers = Customers()
        self.customers.answers["billing"] = 503
        self.customers.answers["mailings"] = 500
        self.deployment = Deployment(
            brokers,
            folder,
            [*self._integrations()],
            view={
                "tokens": [
                    {"name": "anna", "role": "admin", "token": ADMIN},
                    {"name": "olga", "role": "operator", "token": OPERATOR},
                    {"name": "vera", "role": "viewer", "token": VIEWER},
                ],
                "views": [{"title": "Server errors", "path": "/attempts?status__gt=499"}],
            },
            inbound={"port": ports.choose(), "public_url": "https://hooks.example", "webhooks": [WEBHOOK]},
            segment_destination={"applications": {"CRM": "segment-token-of-the-scene"}},
        )
        self.workers: list[Worker] = []
        # The browser's own event loop runs in the thread of the tests, so what wants a loop gets another thread.
        self._aside = ThreadPoolExecutor(1)

    @property
    def url(self) -> str:
        """The first worker's address."""
        return self.workers[0].url

    def start(self) -> None:
        """Start the workers, and let things happen: deliveries, failures, an open breaker, parked batches, dead letters."""
        self.deployment.__enter__()
        self.workers = self.deployment.add(2)
        self.deployment.share()
        self.send("CRM", 60)
        self.send("BILLING", 25)
        self.send("MAILINGS", 25)
        self.receive(
            request("orders"),
            request("orders", Outcome.AUTH_REJECTED, by="", user=""),
            request("orders", body=json.dumps({"user": HOSTILE}).encode()),
        )
        self.publish([b"this is no JSON", b'{"event_name": "Push Sent"}', HOSTILE.encode()])
        self.await_rows("/batches", "batches", 6, outcome="delivered")
        self.await_rows("/parked", "parked", 2)
        self.await_rows("/dead-letters", "dead_letters", 3)
        self.await_rows("/webhooks/requests", "requests", 3)
        self.await_rows("/users", "users", 3)

    def stop(self) -> None:
        """End everything."""
        self.deployment.__exit__()
        self.customers.close()
        self._aside.shutdown()

    def _integrations(self) -> Iterable[dict[str, Any]]:
        for name, more in (
            ("crm", {}),
            ("billing", {"breaker": {"enabled": False}}),
            ("mailings", {"retry": {"delays": ["50ms"]}, "breaker": {"after_tries": 2, "after": "0s", "pause": "10m"}}),
        ):
            yield {
                "id": name,
                "kind": "http",
                "url": self.endpoint(name),
                "authorization": SECRET,
                "applications": [name.upper()],
                "events": ["*"],
                "platforms": ["*"],
                "batch": {"max_events": 10, "max_age": "300ms"},
                "retry": {"delays": ["20ms", "50ms"]},
                **more,
            }

    def create(self, name: str, **more: Any) -> None:
        """Make an integration of the application that is called as it is, by the API."""
        settings = {
            "id": name,
            "kind": "http",
            "url": self.endpoint(name),
            "applications": [name.upper()],
            "events": ["*"],
            "platforms": ["*"],
            "batch": {"max_events": 10, "max_age": "300ms"},
            **more,
        }
        self._ask("POST", "/api/v1/integrations", settings)

    def integration(self, name: str) -> dict[str, Any]:
        """An integration as the API has it."""
        return self._ask("GET", f"/api/v1/integrations/{name}")

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.loads(answer.read()))

    def endpoint(self, name: str) -> str:
        """Where a customer takes events."""
        return f"{self.customers.url}{name}"

    def send(self, application: str, count: int, **more: Any) -> list[str]:
        """Publish events of an application; gives their ids."""
        made = [
            {
                "event_name": EVENTS[number % len(EVENTS)],
                "platform": PLATFORMS[EVENTS[number % len(EVENTS)]],
                "application_code": application,
                "timestamp": int(time.time()),
                "user_id": f"user-{number}",
                "hwid": f"device-{number}",
                "email": f"user-{number}@mail.example",
                "campaign_code": HOSTILE if number % 7 == 0 else "SPRING",
                "uuid": str(uuid.uuid4()),
                **more,
            }
            for number in range(count)
        ]
        self.publish(json.dumps(each).encode() for each in made)
        return [each["uuid"] for each in made]

    def receive(self, *requests: InboundRequest) -> None:
        """Put requests to webhooks where the listener puts them."""
        self._aside.submit(self._receive, requests).result(30)

    def _receive(self, requests: Sequence[InboundRequest]) -> None:
        asyncio.run(put_requests(self.deployment.brokers, self.deployment.app, requests))

    def send_much(self, count: int) -> None:
        """Publish events that no integration takes: something to search through."""
        head = b'{"event_name":"Push Sent","platform":"iOS","application_code":"NOBODY","timestamp":1,"user_id":"'
        self.publish(b'%suser-%d"}' % (head, number) for number in range(count))

    def publish(self, events: Iterable[bytes]) -> None:
        """Send records as they are."""
        self._aside.submit(self.deployment.publish, list(events)).result(30)

    def rows(self, path: str, section: str, **parameters: Any) -> list[dict[str, Any]]:
        """What a page has, as JSON."""
        answer = self.workers[0].page(path, token=ADMIN, **parameters)
        assert answer.status == 200, answer.body
        return answer.rows(section)

    def await_rows(self, path: str, section: str, least: int, **parameters: Any) -> list[dict[str, Any]]:
        """The rows, when there are that many."""
        found: list[dict[str, Any]] = []

        def are_there() -> bool:
            found[:] = self.rows(path, section, **parameters)
            return len(found) >= least

        eventually(are_there, f"{least} {section} of {path} {parameters}", 60)
        return found

    def came(self, name: str) -> list[dict[str, Any]]:
        """The events that a customer's endpoint has taken."""
        return [event for _, body in list(self.customers.came.get(name, ())) for event in json.loads(body)]

    def await_came(self, name: str, is_so: Callable[[list[dict[str, Any]]], bool], what: str) -> None:
        """Wait until what an endpoint has taken is so."""
        eventually(lambda: is_so(self.came(name)), what, 60)
