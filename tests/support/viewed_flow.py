"""A worker with customers' endpoints that a test makes fail and mends, and its view asked as programs ask it."""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.worker_process import WorkerProcess

OPERATOR = "operator-token-0123456789"
VIEWER = "viewer-token-0123456789"
ADMIN = "admin-token-0123456789"
SECRET = "Bearer a-secret-of-a-customer"


class Customers:
    """Endpoints, one for each path: ``answers`` holds the status that each gives, 200 where none is set."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.came: dict[str, list[tuple[str, bytes]]] = {}
        customers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                name = self.path.strip("/")
                status = customers.answers.get(name, 200)
                if status == 200:
                    customers.came.setdefault(name, []).append((self.headers["webhook-id"], body))
                said = f"<b>{status}</b>".encode()
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class ViewedFlow(WorkerProcess):
    """A worker with two integrations, ``crm`` of application CRM and ``shop`` of application SHOP."""

    def __init__(self, name: str, brokers: str, folder: Path) -> None:
        super().__init__(name, brokers, folder)
        self.customers = Customers()

    def integrations(self) -> list[dict[str, Any]]:
        return [
            {
                "id": name,
                "kind": "http",
                "url": f"{self.customers.url}{name}",
                "authorization": SECRET,
                "applications": [name.upper()],
                "events": ["*"],
                "platforms": ["*"],
                "live_activities": True,
                "batch": {"max_events": 10, "max_age": "200ms"},
                "retry": {"delays": ["10ms"]},
                "breaker": {"enabled": False},
            }
            for name in ("crm", "shop")
        ]

    def settings(self) -> dict[str, Any]:
        tokens = [("olga", "operator", OPERATOR), ("vera", "viewer", VIEWER), ("anna", "admin", ADMIN)]
        named = [{"name": name, "role": role, "token": token} for name, role, token in tokens]
        return {**super().settings(), "view": {"tokens": named}}

    def ask(self, path: str, token: str = ADMIN, body: Any = None, **parameters: Any) -> tuple[int, str]:
        """GET a path, or POST ``body`` to it as JSON; gives the status and the text."""
        url = f"http://127.0.0.1:{self.port}{path}" + (f"?{urlencode(parameters, doseq=True)}" if parameters else "")
        headers = {"Authorization": f"Bearer {token}"}
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=15) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def page(self, path: str, token: str = ADMIN, **parameters: Any) -> dict[str, Any]:
        """A page's JSON."""
        status, text = self.ask(f"{path}.json", token, **parameters)
        assert status == 200, text
        return json.loads(text)

    def rows(self, path: str, section: str, token: str = ADMIN, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a page's section."""
        return self.page(path, token, **parameters)["sections"][section]["rows"]

    def send(self, *events: dict[str, Any] | bytes) -> None:
        """Publish events, each as it is."""
        lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        self.run("send", "-", stdin=b"".join(line + b"\n" for line in lines))

    def close(self) -> None:
        self.stop()
        self.customers.close()


def event(application: str, number: int, **more: Any) -> dict[str, Any]:
    """An event of an application."""
    return {
        "event_name": "Push Sent",
        "application_code": application,
        "platform": "iOS",
        "timestamp": 1_700_000_000 + number,
        "user_id": f"user-{number}",
        "uuid": f"00000000-0000-4000-8000-{number:012d}",
        **more,
    }
