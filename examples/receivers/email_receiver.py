"""A receiver for integrations of kind email: one email status event a request, in the format of the legacy webhook.

    python email_receiver.py --port 8090

Needs Python alone. It keeps the last status of each message and address, which is what most use these events for. An
event may come again, and a later status may overtake an earlier one: so the event's own ``timestamp`` decides, not the order
of arrival. ``GET /stats`` tells what came.
"""

import argparse
import hmac
import json
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REQUIRED = ("event_name", "message_code", "platform", "application_code", "hwid", "user_id", "timestamp")
LARGEST_BODY_BYTES = 1 << 20
REMEMBERED_IDS = 100_000


class Statuses:
    """The last status of each message and address; keep it in a database where a restart must not lose it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, None] = {}  # a dict keeps its order, so the oldest comes first
        self._last: dict[tuple[str, str], tuple[int, str]] = {}
        self._counts: Counter[str] = Counter()
        self._repeats = 0

    def take(self, webhook_id: str, event: dict[str, Any]) -> None:
        """Take an event once."""
        with self._lock:
            if webhook_id in self._seen:
                self._repeats += 1
                return
            self._seen[webhook_id] = None
            if len(self._seen) > REMEMBERED_IDS:
                del self._seen[next(iter(self._seen))]
            self._counts[event["event_name"]] += 1
            key = (event["message_code"], event["hwid"])
            self._last[key] = max(self._last.get(key, (0, "")), (event["timestamp"], event["event_name"]))

    def stats(self) -> dict[str, Any]:
        """What came."""
        with self._lock:
            last = Counter(name for _, name in self._last.values())
            return {"events": dict(self._counts), "last": dict(last), "repeats": self._repeats}


class Handler(BaseHTTPRequestHandler):
    """One connection; senders keep it open between requests."""

    protocol_version = "HTTP/1.1"
    statuses = Statuses()
    authorization = os.environ.get("WEBHOOK_AUTHORIZATION", "")

    def do_POST(self) -> None:
        """Take an event: 200 when it is safe, 4xx where it can never be, 5xx where it may be tried again."""
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._answer(413, "too large")
            return
        body = self.rfile.read(length)
        shown = self.headers.get("Authorization", "").encode()
        if self.authorization and not hmac.compare_digest(shown, self.authorization.encode()):
            self._answer(401, "the Authorization header is not the one that was agreed on")
            return
        try:
            event = json.loads(body)
            missing = [name for name in REQUIRED if name not in event]
        except (ValueError, TypeError):
            self._answer(400, "the body is not a JSON object")
            return
        if missing:
            self._answer(400, f"missing: {', '.join(missing)}")
            return
        if self.headers.get("distributary-purpose") != "test":
            self.statuses.take(self.headers["webhook-id"], event)
        self._answer(200, "ok")

    def do_GET(self) -> None:
        """Tell what came."""
        self._answer(200, json.dumps(self.statuses.stats()))

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    """Run the receiver until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive what integrations of kind email send.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    print(f"receiving at http://{arguments.host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
