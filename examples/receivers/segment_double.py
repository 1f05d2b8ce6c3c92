"""A double of Segment's Tracking API, to try integrations of kind segment without a workspace.

    SEGMENT_WRITE_KEY=the-key python segment_double.py --port 8090

Needs Python alone. Point the integration at it with ``url: http://127.0.0.1:8090``. It takes ``POST /v1/batch``, and
behaves as Segment is documented to: 400 for what is too large or not JSON, 200 for everything else, even for events that it
does not want. Events of a ``messageId`` that was seen before count once. ``GET /stats`` tells what came, and why events were
not wanted, which Segment shows in its debugger only.
"""

import argparse
import base64
import gzip
import json
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST_BODY_BYTES = 500 * 1000
LARGEST_EVENT_BYTES = 32 * 1024
MOST_EVENTS = 2500


class Workspace:
    """What a source has received."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, str] = {}
        self._repeats = 0
        self._unwanted: Counter[str] = Counter()

    def take(self, messages: list[Any]) -> None:
        """Take messages, each ``messageId`` once."""
        with self._lock:
            for message in messages:
                reason = why_unwanted(message)
                if reason:
                    self._unwanted[reason] += 1
                elif message["messageId"] in self._events:
                    self._repeats += 1
                else:
                    self._events[message["messageId"]] = message["event"]

    def refuse(self, reason: str) -> None:
        """Note why a whole request was not wanted."""
        with self._lock:
            self._unwanted[reason] += 1

    def stats(self) -> dict[str, Any]:
        """What came."""
        with self._lock:
            counts = dict(Counter(self._events.values()))
            return {"events": counts, "repeats": self._repeats, "unwanted": dict(self._unwanted)}


def why_unwanted(message: Any) -> str:
    """Why Segment would take no event from ``message``; empty where it would."""
    if not isinstance(message, dict) or message.get("type") != "track":
        return "not a track call"
    if not message.get("event"):
        return "no event name"
    if not (message.get("userId") or message.get("anonymousId")):
        return "neither userId nor anonymousId"
    if not message.get("messageId"):
        return "no messageId"
    if len(json.dumps(message).encode()) > LARGEST_EVENT_BYTES:
        return "larger than 32 KB"
    return ""


class Handler(BaseHTTPRequestHandler):
    """One connection; senders keep it open between requests."""

    protocol_version = "HTTP/1.1"
    workspace = Workspace()
    write_key = os.environ.get("SEGMENT_WRITE_KEY", "")

    def do_POST(self) -> None:
        """Take a batch."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if self.path != "/v1/batch":
            self._answer(404, {"success": False, "message": "only POST /v1/batch is here"})
        elif len(body) > LARGEST_BODY_BYTES or not isinstance(content, dict):
            self._answer(400, {"success": False, "message": "too large, or not a JSON object"})
        else:
            self._take(content)
            self._answer(200, {"success": True})

    def do_GET(self) -> None:
        """Tell what came."""
        self._answer(200, self.workspace.stats())

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def _take(self, content: dict[str, Any]) -> None:
        messages = content.get("batch")
        if self.write_key and self._shown_key(content) != self.write_key:
            self.workspace.refuse("an unknown write key")
        elif not isinstance(messages, list) or len(messages) > MOST_EVENTS:
            self.workspace.refuse("no batch, or more than 2,500 events in it")
        elif not content.get("sentAt"):
            self.workspace.refuse("no sentAt, by which Segment corrects the times of events")
        else:
            self.workspace.take(messages)

    def _shown_key(self, content: dict[str, Any]) -> str:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return str(content.get("writeKey", ""))
        return base64.b64decode(encoded).decode("utf-8", "replace").removesuffix(":")

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    """Run the double until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive what integrations of kind segment send.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    print(f"receiving at http://{arguments.host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
