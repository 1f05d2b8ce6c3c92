"""A worker whose events, answers, dead letters and settings mean harm, and a client that sends requests as they are written."""

import asyncio
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from aiokafka import AIOKafkaProducer

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundRequest
from pipeline.local import ports
from tests.support.inbound_flow import put_requests, request
from tests.support.worker_process import PARTITIONS, WorkerProcess, eventually

ADMIN = "admin-token-0123456789"
OPERATOR = "operator-token-0123456789"
VIEWER = "viewer-token-0123456789"
EXPIRED = "expired-token-0123456789"
SECRET = "Bearer a-secret-of-a-customer"

SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"'><img src=x onerror=alert(1)>"
REVERSED = "\u202egnp.exe\u2066"
CONTROL = "bell\x07 null\x00 escape\x1b[31m"
FORMULA = '=HYPERLINK("http://evil.invalid","open")'
TEMPLATE = "{{ 7*'7' }}{% raw %}${7*7}"
LINK = "javascript:alert(1)"
LONG = "long" * 25_000
HOSTILE = (
    SCRIPT,
    IMAGE,
    REVERSED,
    CONTROL,
    FORMULA,
    "+1+1",
    "@SUM(1)",
    "\t=1+1",
    TEMPLATE,
    LINK,
    "../../etc/passwd",
    LONG,
)
PUBLISHED = ("event_name", "platform", "user_id", "hwid", "campaign_code", "message_code", "uuid", "email", "phone")

UNREADABLE = (
    SCRIPT.encode(),
    b"\xff\xfe\x00\x00 no text",
    FORMULA.encode(),
    b'{"event_name": "\\ud800 alone", "platform": "iOS", "application_code": "APP", "timestamp": 1}',
    "\u202e{}".encode(),
    b"[" * 100_000,
    LONG.encode(),
)


class Reply(NamedTuple):
    """What the worker answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body, which must be UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


class _Endpoint:
    """Takes all that is sent to ``/taking``, and refuses the rest; says things that mean harm either way."""

    said = (SCRIPT + IMAGE + REVERSED).encode() + b"\x00\xff\xed\xa0\x80" + LONG.encode()

    def __init__(self) -> None:
        said = self.said

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200 if self.path.startswith("/taking") else 400, SCRIPT)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class HostileFlow(WorkerProcess):
    """One worker: ``taking`` delivers, ``refusing`` discards and parks, ``gathering`` holds an open window."""

    def __init__(self, brokers: str, folder: Path) -> None:
        super().__init__("hostile", brokers, folder)
        self.endpoint = _Endpoint()
        self._cookie = ""
        self.inbound_port = ports.choose()

    def settings(self) -> dict[str, Any]:
        """With a token for each role, and one whose time is over."""
        tokens = [("anna", "admin", ADMIN), ("olga", "operator", OPERATOR), ("vera", "viewer", VIEWER)]
        named: list[dict[str, Any]] = [{"name": name, "role": role, "token": token} for name, role, token in tokens]
        named.append({"name": "emil", "role": "admin", "token": EXPIRED, "expires": "2020-01-01"})
        return {
            **super().settings(),
            "view": {"tokens": named},
            "inbound": {"port": self.inbound_port, "webhooks": [self._webhook()]},
            "segment_destination": {"applications": {"APP": "segment-token-0123456789"}},
        }

    def _webhook(self) -> dict[str, Any]:
        return {
            "id": "spelled",
            "name": SCRIPT,
            "event": IMAGE,
            "application": "APP",
            "identify": {"by": "user_id", "field": "id"},
            "attributes": {FORMULA: f"[{json.dumps(SCRIPT)}]"},
            "sample": json.dumps(dict.fromkeys(HOSTILE[:-1], LINK)).replace("${", "$${"),
            "secret": "a-secret-of-a-webhook-0123456789",
        }

    def integrations(self) -> list[dict[str, Any]]:
        """Those of ``faust.yml``."""
        soon = {"batch": {"max_events": 5, "max_age": "200ms"}, "retry": {"delays": ["10ms"]}}
        return [
            self._one("taking", **soon),
            self._one("refusing", **soon, breaker={"after_tries": 1, "after": "0s", "pause": "10m"}),
            self._one("gathering", batch={"max_events": 1000, "max_age": "50m"}),
            self._one("spelled", enabled=False, campaigns=[SCRIPT, IMAGE, FORMULA]),
        ]

    def _one(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "id": name,
            "kind": "http",
            "url": f"{self.endpoint.url}/{name}",
            "authorization": SECRET,
            "events": "*",
            "platforms": "*",
            "applications": ["APP"],
            "live_activities": True,
            **more,
        }

    def begin_with_traffic(self) -> None:
        """Start, send everything, and wait until it is where it ends."""
        self.start()
        asyncio.run(self._publish())
        asyncio.run(put_requests(self.brokers, self.app, [*_requests()]))
        eventually(lambda: len(self.rows("/attempts", "attempts", integration="taking")) >= 3, "events are delivered")
        eventually(lambda: self.rows("/attempts", "attempts", integration="refusing"), "events are refused")
        eventually(
            lambda: len(self.rows("/dead-letters", "dead_letters")) >= len(UNREADABLE) + len(HOSTILE),
            "unreadable ones are dead letters",
        )
        eventually(lambda: self.rows("/integrations/gathering/window", "events"), "a window is open")
        eventually(lambda: len(self.rows("/webhooks/requests", "requests")) > len(HOSTILE), "requests are in the log")
        eventually(lambda: self.rows("/users", "users"), "users are known")
        made = self.send("POST", "/api/v1/integrations", self.settings_of("kept"))
        assert made.status == 201, made.text
        count = len(self.rows("/parked", "parked", size=1000))
        begun = self.send("POST", "/parked/replay", {"integration": "refusing", "expected": str(count), "rate": "500"})
        assert begun.status == 200, begun.text
        eventually(
            lambda: self.rows("/replays", "replays")[0]["state"] not in {"waiting", "running"},
            "what was parked is replayed",
        )

    def settings_of(self, name: str, **more: Any) -> dict[str, Any]:
        """Settings of one more integration, for the API."""
        return {**self._one(name), "events": ["Nothing Like It"], **more}

    async def _publish(self) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.brokers)
        await producer.start()
        try:
            for number, record in enumerate(self._records()):
                await producer.send(self.topic, record, partition=number % PARTITIONS)
            await producer.flush()
        finally:
            await producer.stop()

    def _records(self) -> Iterator[bytes]:
        base = {"event_name": "Push Sent", "platform": "iOS", "application_code": "APP"}
        now_s = int(time.time())
        for number, text in enumerate(HOSTILE):
            usual = {name: f"{name}-{number}" for name in PUBLISHED[2:]}
            changes = (dict.fromkeys(PUBLISHED[2:], text), {"event_name": text}, {"platform": text, "uuid": text})
            for place, change in enumerate(changes):
                # No two at the same second: whoever shows the latest shows the same ones each time.
                moment = {"timestamp": now_s - 3 * number - place}
                yield json.dumps({**base, **usual, **moment, **change}).encode()
        yield from UNREADABLE

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request with ``target`` as it is. A body is sent as JSON unless it is bytes or text."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        data: bytes | None = None
        if body is not None:
            is_raw = isinstance(body, bytes | str)
            data = (body.encode() if isinstance(body, str) else body) if is_raw else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def see_as(self, extension: str, target: str, **parameters: Any) -> Reply:
        """A page in one of its formats: ``html``, ``json`` or ``csv``; ``target`` may have parameters of its own.

        HTML is read as a browser does, with a session.
        """
        path, _, query = target.partition("?")
        given = [*parse_qsl(query), *((name, each) for name, each in parameters.items())]
        query = urlencode([(name, value) for name, value in given])
        path = path if extension == "html" else f"{'/index' if path == '/' else path}.{extension}"
        target = f"{path}?{query}" if query else path
        return self.browse(target) if extension == "html" else self.see(target)

    def browse(self, target: str) -> Reply:
        """GET a page as a browser in which the admin is signed in."""
        self._cookie = self._cookie or self._signed_in()
        return self.send("GET", target, token=None, headers={"Cookie": self._cookie, "Accept": "text/html"})

    def _signed_in(self) -> str:
        form = self.see("/sign-in", token=None)
        cookie = form.headers["set-cookie"].partition(";")[0]
        found = re.search('name="csrf_token" value="([^"]+)"', form.text)
        assert found is not None, form.text
        said = urlencode({"token": ADMIN, "csrf_token": found[1]})
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        reply = self.send("POST", "/sign-in", said, token=None, headers=headers)
        assert reply.status == 303, reply.text
        return reply.headers["set-cookie"].partition(";")[0]

    def see(self, path: str, *, token: str | None = ADMIN, **parameters: Any) -> Reply:
        """GET a page."""
        return self.send("GET", f"{path}?{urlencode(parameters, doseq=True)}" if parameters else path, token=token)

    def rows(self, path: str, section: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a page's section."""
        reply = self.see(f"{path}.json", **parameters)
        assert reply.status == 200, reply.text
        return list(reply.json()["sections"][section]["rows"])

    def pages(self) -> list[str]:
        """Every page that is served, without what names its format; ``{name}`` for a step."""
        paths = self.see("/api/v1/openapi.json").json()["paths"]
        found = [
            path.removesuffix(".json") for path in paths if path.endswith(".json") and not path.startswith("/api/")
        ]
        assert len(found) > 20
        return ["/" if path == "/index" else path for path in found]

    def examples(self) -> dict[str, str]:
        """Each page once, by its path with ``{name}``: a page that there is."""
        return {path: self.example(path) for path in self.pages()}

    def example(self, path: str) -> str:
        """A page that there is, of those at ``path``."""
        if "{" not in path:
            return f"{path}{_NEEDED.get(path, '')}"
        return path.format(**{name: quote(str(value), safe="") for name, value in self.steps(path).items()})

    def steps(self, path: str) -> dict[str, Any]:
        """What stands for each ``{name}`` of a page that there is; a new page needs an entry here."""
        found = _EXAMPLES[path]
        steps: dict[str, Any] = found(self) if callable(found) else found
        return steps

    def close(self) -> None:
        """End it."""
        self.stop()
        self.endpoint.close()


def _requests() -> Iterator[InboundRequest]:
    """Requests to a webhook that say what means harm wherever they can say anything."""
    now_s = time.time()
    for number, text in enumerate(HOSTILE):
        at_s = now_s - number
        yield request("spelled", user=text[:500], at_s=at_s, body=json.dumps({"id": text}).encode(), key=text[:100])
        yield request("spelled", Outcome.MALFORMED_JSON, at_s=at_s - 0.5, body=text.encode(), detail=text[:300])
    yield request(SCRIPT, Outcome.UNKNOWN_WEBHOOK, by="", user="", at_s=now_s - 60)


def _first(path: str, section: str, **names: str) -> Any:
    def steps(flow: HostileFlow) -> dict[str, Any]:
        row = flow.rows(path, section)[0]
        return {name: row[column] for name, column in names.items()}

    return steps


def _windows_row(flow: HostileFlow) -> dict[str, Any]:
    return {"table": "windows", "key": flow.rows("/tables/windows", "rows")[0]["key"]}


_NEEDED = {
    "/events/found": "?user_id=user_id-0&since=1h",
    "/sql": f"?{urlencode({'q': 'SELECT integration, detail, answer_head FROM attempts ORDER BY batch, attempt'})}",
}
_OF_FILE = {"id": "taking"}
_OF_API = {"id": "kept"}
_EXAMPLES: dict[str, Any] = {
    "/attempts/{partition}/{offset}": _first("/attempts", "attempts", partition="partition", offset="offset"),
    "/batches/{id}": _first("/batches", "batches", id="batch"),
    "/dead-letters/{partition}/{offset}": _first(
        "/dead-letters", "dead_letters", partition="partition", offset="offset"
    ),
    "/integrations/{id}": _OF_FILE,
    "/integrations/{id}/window": {"id": "gathering"},
    "/integrations/{id}/edit": _OF_API,
    "/integrations/{id}/duplicate": _OF_FILE,
    "/integrations/{id}/preview": _OF_FILE,
    "/webhooks/{id}": {"id": "spelled"},
    "/webhooks/{id}/url": {"id": "spelled"},
    "/webhooks/{id}/edit": {"id": "spelled"},
    "/webhooks/requests/{partition}/{offset}": _first(
        "/webhooks/requests", "requests", partition="partition", offset="offset"
    ),
    "/users/{application}/{key}": _first("/users", "users", application="application", key="key"),
    "/replays/{id}": _first("/replays", "replays", id="id"),
    "/audit/{revision}": _first("/audit", "audit", revision="revision"),
    "/tables/{table}": {"table": "windows"},
    "/tables/{table}/{key}": _windows_row,
    "/workers/{worker}": _first("/workers", "workers", worker="worker"),
    "/topics/{topic}": lambda flow: {"topic": flow.topic},
    "/topics/{topic}/{partition}/{offset}": lambda flow: {"topic": flow.topic, "partition": 0, "offset": 0},
    "/events/{topic}/{partition}/{offset}": lambda flow: {"topic": flow.topic, "partition": 0, "offset": 0},
}
