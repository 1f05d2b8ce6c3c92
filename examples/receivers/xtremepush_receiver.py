"""A receiver for integrations of kind xtremepush: one event a request, signed where auth is of type signed.

    WEBHOOK_SECRETS="the secret" python xtremepush_receiver.py --port 8090

Needs Python alone. ``GET /stats`` tells what came. Several secrets, with a space between two, are all accepted: that is how
one is replaced without a lost event.
"""

import argparse
import hashlib
import hmac
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_S = 300
LARGEST_BODY_BYTES = 1 << 20
REMEMBERED_IDS = 100_000


def is_signed(header: str, body: bytes, secrets: list[str], now_s: float) -> bool:
    """Whether ``X-Xtremepush-Signature`` is by one of ``secrets``, and of now.

    The header is ``t=SECONDS,v1=HEX``, with a second ``v1`` while a secret is being replaced. Parts of other names are
    ignored. What is signed is the time, a dot and the body's bytes as they came.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    time_s = next((value for name, _, value in parts if name == "t"), "")
    if not time_s.isdigit() or abs(now_s - int(time_s)) > TOLERANCE_S:
        return False
    given = [value.encode() for name, _, value in parts if name == "v1"]
    expected = [
        hmac.digest(secret.encode(), time_s.encode() + b"." + body, hashlib.sha256).hex().encode() for secret in secrets
    ]
    return any(hmac.compare_digest(one, other) for one in expected for other in given)


class Events:
    """Counts events, each once; a real receiver would store them before it answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, None] = {}  # a dict keeps its order, so the oldest comes first
        self._counts: Counter[str] = Counter()
        self._repeats = 0

    def take(self, webhook_id: str, event: dict[str, Any]) -> None:
        """Take an event once. ``trigger_id`` is no name for it: all events of one trigger share it."""
        with self._lock:
            if webhook_id in self._seen:
                self._repeats += 1
                return
            self._seen[webhook_id] = None
            if len(self._seen) > REMEMBERED_IDS:
                del self._seen[next(iter(self._seen))]
            self._counts[f"{event['event']} {event['properties']['message_type']}"] += 1

    def stats(self) -> dict[str, Any]:
        """What came."""
        with self._lock:
            return {"events": dict(self._counts), "repeats": self._repeats}


class Handler(BaseHTTPRequestHandler):
    """One connection; senders keep it open between requests."""

    protocol_version = "HTTP/1.1"
    events = Events()
    secrets = os.environ.get("WEBHOOK_SECRETS", "").split()

    def do_POST(self) -> None:
        """Take an event: 200 when it is safe, 4xx where it can never be, 5xx where it may be tried again."""
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._answer(413, "too large")
            return
        body = self.rfile.read(length)
        header = self.headers.get("X-Xtremepush-Signature", "")
        if self.secrets and not is_signed(header, body, self.secrets, time.time()):
            self._answer(401, "the signature does not fit, or is old")
            return
        try:
            event = json.loads(body)
            is_event = isinstance(event["time"], int) and bool(event["event"] and event["properties"]["message_type"])
        except (ValueError, TypeError, KeyError):
            is_event = False
        if not is_event:
            self._answer(400, "the body is not an event: event, time and properties.message_type are needed")
            return
        if self.headers.get("distributary-purpose") != "test":
            self.events.take(self.headers["webhook-id"], event)
        self._answer(200, "ok")

    def do_GET(self) -> None:
        """Tell what came."""
        self._answer(200, json.dumps(self.events.stats()))

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    """Run the receiver until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive what integrations of kind xtremepush send.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    print(f"receiving at http://{arguments.host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
