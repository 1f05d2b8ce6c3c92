"""A receiver for integrations of kind http: verifies each request, keeps each event once, and knows what is missing.

    WEBHOOK_SECRETS="whsec_..." python http_receiver.py --port 8090 --database http-events.db

Needs aiohttp. It keeps what it has taken in SQLite, and answers only when that is on disk. What it does with a request:

1. verify the signature (Standard Webhooks), where secrets are given, and the Authorization header, where one is given;
2. look ``webhook-id`` up: the same delivery may come again, and is then answered with 200 and nothing else;
3. number the events by ``distributary-sequence``, and store each under its lane and number, which are unique. Where only
   their count is said, since they lie scattered in many ranges, store each under its lane and uuid instead.

``GET /stats`` tells how many events are there, how many came again, and which numbers are missing. Those of scattered events
count as missing too, since nobody says which they are; ``scattered`` is how many there are.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

TOLERANCE_S = 300
LARGEST_BODY_BYTES = 16 << 20

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (webhook_id TEXT PRIMARY KEY, taken_at REAL, repeats INTEGER DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS events (lane TEXT, number INTEGER, event TEXT, PRIMARY KEY (lane, number)) STRICT;
CREATE TABLE IF NOT EXISTS scattered (lane TEXT, uuid TEXT, event TEXT, PRIMARY KEY (lane, uuid)) STRICT;
"""

# Numbers between two that are there. They belong to batches that are still being tried, or were parked.
GAPS = """
SELECT lane, number + 1, next FROM (
    SELECT lane, number, LEAD(number) OVER (PARTITION BY lane ORDER BY number) AS next FROM events
) WHERE next > number + 1
"""


class RefusedError(Exception):
    """A request that is not taken. The sender does not try a 4xx again, so this must be for what cannot become right."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def verify_signature(headers: Mapping[str, str], body: bytes, secrets: list[str], now_s: float) -> None:
    """Raise ``RefusedError`` unless one of ``secrets`` has signed ``body`` within the last five minutes.

    ``body`` is the JSON text: where it came with ``Content-Encoding: gzip``, after unpacking. While a secret is being
    replaced there are two signatures, and one of them has to fit.
    """
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise RefusedError(401, "webhook-timestamp is missing, or not of now")
    signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
    given = [entry[3:] for entry in headers.get("webhook-signature", "").split() if entry.startswith("v1,")]
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        if any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in given):
            return
    raise RefusedError(401, "no signature in webhook-signature fits")


def numbers_of(sequence: str) -> tuple[str, list[int] | None, int]:
    """The lane that ``distributary-sequence`` names, the numbers, and how many: ``crm 3-5,17-18`` is 3, 4 and 17 of crm.

    ``crm 3-9000~700`` is 700 numbers from 3 to 8999, not told which.
    """
    try:
        lane, _, ranges = sequence.partition(" ")
        _, is_scattered, count = ranges.partition("~")
        if is_scattered:
            return lane, None, int(count)
        pairs = [part.split("-") for part in ranges.split(",")]
        numbers = [number for first, end in pairs for number in range(int(first), int(end))]
    except ValueError:
        forms = "LANE FIRST-END[,FIRST-END...] or LANE FIRST-END~COUNT"
        raise RefusedError(400, f"distributary-sequence is not {forms}") from None
    return lane, numbers, len(numbers)


def events_of(body: bytes) -> list[Any]:
    """The events of a body: an array, an envelope around one (``body: envelope``), or one event (``body: object``)."""
    try:
        content = json.loads(body)
    except ValueError:
        raise RefusedError(400, "the body is not JSON") from None
    if isinstance(content, dict):
        return content["events"] if "batch" in content and "events" in content else [content]
    if not isinstance(content, list):
        raise RefusedError(400, "the body is neither an array nor an object")
    return content


class Store:
    """What has been taken, in SQLite."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(SCHEMA)

    def keep(self, webhook_id: str, lane: str, numbers: list[int] | None, events: list[Any]) -> None:
        """Keep a delivery and its events, all or nothing; on disk when this returns."""
        texts = [json.dumps(event, ensure_ascii=False) for event in events]
        with self._lock, self._connection:  # the connection is one transaction
            # A delivery that was seen before: done already. Rows may be deleted after a few days: none comes that late.
            seen = self._connection.execute(
                "UPDATE deliveries SET repeats = repeats + 1 WHERE webhook_id = ?", (webhook_id,)
            )
            if seen.rowcount:
                return
            self._connection.execute("INSERT INTO deliveries VALUES (?, ?, 0)", (webhook_id, time.time()))
            # Parts of a batch have names of their own, so the numbers decide in the end: each is stored once. Where they
            # are not known, uuids do.
            if numbers is None:
                table = "scattered"
                keys = [str(event.get("uuid") or text) for event, text in zip(events, texts, strict=True)]
            else:
                table, keys = "events", numbers
            self._connection.executemany(
                f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)",  # noqa: S608  one of two words
                [(lane, key, text) for key, text in zip(keys, texts, strict=True)],
            )

    def stats(self) -> dict[str, Any]:
        """What is there, and what is not."""
        with self._lock:
            (events,) = self._connection.execute("SELECT COUNT(*) FROM events").fetchone()
            (scattered,) = self._connection.execute("SELECT COUNT(*) FROM scattered").fetchone()
            repeats = self._connection.execute("SELECT COALESCE(SUM(repeats), 0) FROM deliveries").fetchone()[0]
            gaps = self._connection.execute(GAPS).fetchall()
        told = {"events": events + scattered, "repeats": repeats}
        if scattered:
            told["scattered"] = scattered
        return told | {"gaps": [f"{lane} {first}-{end}" for lane, first, end in gaps]}


class Receiver:
    """The two routes."""

    def __init__(self, store: Store, secrets: list[str], authorization: str) -> None:
        self._store = store
        self._secrets = secrets
        self._authorization = authorization

    async def deliver(self, request: web.Request) -> web.Response:
        """Take a delivery. 2xx means that its events are safe; the sender never sends them again."""
        body = await request.read()  # unpacked already, where it came as gzip
        try:
            self._check(request.headers, body)
            lane, numbers, count = numbers_of(request.headers.get("distributary-sequence", ""))
            events = events_of(body)
            if len(events) != count:
                raise RefusedError(400, f"{len(events)} events came with {count} numbers")  # noqa: TRY301
        except RefusedError as error:
            return web.Response(status=error.status, text=str(error))
        if request.headers.get("distributary-purpose") == "test":
            return web.Response(text="a test, not kept")
        webhook_id = request.headers["webhook-id"]
        # On a thread: the disk must not hold up other requests. An error here becomes a 500, and the sender tries again.
        await asyncio.to_thread(self._store.keep, webhook_id, lane, numbers, events)
        return web.Response(text="ok")

    async def stats(self, _: web.Request) -> web.Response:
        """Tell what is there."""
        return web.json_response(await asyncio.to_thread(self._store.stats))

    def _check(self, headers: Mapping[str, str], body: bytes) -> None:
        shown = headers.get("Authorization", "").encode()
        if self._authorization and not hmac.compare_digest(shown, self._authorization.encode()):
            raise RefusedError(401, "the Authorization header is not the one that was agreed on")
        if self._secrets:
            verify_signature(headers, body, self._secrets, time.time())
        if not headers.get("webhook-id"):
            raise RefusedError(400, "there is no webhook-id")


def main() -> None:
    """Run the receiver until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive what integrations of kind http send.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--database", default="http-events.db")
    arguments = parser.parse_args()
    # Secrets come from the environment: other users of a machine can read command lines.
    secrets = os.environ.get("WEBHOOK_SECRETS", "").split()
    receiver = Receiver(Store(arguments.database), secrets, os.environ.get("WEBHOOK_AUTHORIZATION", ""))
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    app.add_routes([web.get("/stats", receiver.stats), web.post("/{path:.*}", receiver.deliver)])
    listening = socket.create_server((arguments.host, arguments.port))
    print(f"receiving at http://{arguments.host}:{listening.getsockname()[1]}/", flush=True)
    web.run_app(app, sock=listening, print=None)


if __name__ == "__main__":
    main()
