"""A worker with integrations in every state that people look for, and the endpoint that they deliver to."""

import http.server
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.worker_process import WorkerProcess

ADMIN = {"name": "ana", "role": "admin", "token": "ana-token-0123456789"}
VIEWER = {"name": "vic", "role": "viewer", "token": "vic-token-0123456789"}


class Endpoint:
    """Takes every request, but those below ``/broken`` as long as it is: those get a 500, or a 429 where it asks for a pause."""

    def __init__(self) -> None:
        self.is_broken = True
        self.pause_s = 0
        endpoint = self

        class Answering(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fails = endpoint.is_broken and self.path.startswith("/broken")
                body = b'{"error": "out of order"}' if fails else b"{}"
                self.send_response((429 if endpoint.pause_s else 500) if fails else 200)
                if fails and endpoint.pause_s:
                    self.send_header("Retry-After", str(endpoint.pause_s))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ViewedWorker(WorkerProcess):
    """One worker: ``crm`` delivers, ``broken`` cannot, ``slow`` gathers, ``off`` is disabled, ``unused`` matches nothing."""

    def __init__(self, brokers: str, folder: Path, endpoint: Endpoint) -> None:
        super().__init__("view-all", brokers, folder)
        self.endpoint = endpoint

    def settings(self) -> dict[str, Any]:
        """With a token for each role that is tested."""
        return {**super().settings(), "view": {"tokens": [ADMIN, VIEWER]}}

    def integrations(self) -> list[dict[str, Any]]:
        """Those of ``faust.yml``."""
        soon = {"max_events": 10, "max_age": "300ms"}
        breaker = {"after_tries": 2, "after": "1s", "pause": "10m"}
        return [
            self._one("crm", "Push Sent", batch=soon, authorization="Bearer hush-hush"),
            self._one("broken", "Push Sent", batch=soon, breaker=breaker, retry={"delays": ["100ms"] * 30}),
            self._one("slow", "Push Sent", batch={"max_events": 1000, "max_age": "50m"}),
            self._one("off", "Push Sent", enabled=False),
            self._one("unused", "Email Sent"),
        ]

    def _one(self, name: str, event: str, **keys: Any) -> dict[str, Any]:
        url = f"{self.endpoint.url}/{name}?key=hidden-in-the-query"
        return {"id": name, "kind": "http", "url": url, "events": [event], "platforms": ["*"], **keys}

    def send(self, count: int) -> None:
        """Put events into the source topic."""
        fields = {"event_name": "Push Sent", "platform": "iOS", "application_code": "A"}
        events = [{**fields, "timestamp": int(time.time()), "hwid": f"device-{number}"} for number in range(count)]
        self.run("send", "-", stdin=b"".join(json.dumps(event).encode() + b"\n" for event in events))


def ask(
    worker: ViewedWorker, path: str, *, role: dict[str, str] = ADMIN, form: dict[str, str] | None = None
) -> tuple[int, str]:
    """Ask a page, or send a JSON object to an act; gives status and text."""
    data = None if form is None else json.dumps(form).encode()
    headers = {"Authorization": f"Bearer {role['token']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{worker.port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def page(worker: ViewedWorker, path: str, **options: Any) -> dict[str, Any]:
    """A page as JSON, which must be there."""
    status, text = ask(worker, path, **options)
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


def rows(worker: ViewedWorker, path: str, section: str) -> list[dict[str, Any]]:
    """The rows of a section of a page."""
    found: list[dict[str, Any]] = page(worker, path)["sections"][section]["rows"]
    return found


def row(worker: ViewedWorker, name: str) -> dict[str, Any]:
    """The row of an integration in the list of all."""
    return next(each for each in rows(worker, "/integrations.json", "integrations") if each["integration"] == name)
