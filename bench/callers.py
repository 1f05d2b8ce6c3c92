"""Outside systems that call webhooks, for ``bench.inbound``: a process of its own.

Without ``--rate`` each connection sends its next request when it has the answer to the last one. With it requests are due at
even intervals, whatever the answers, and the time that one took counts from when it was due. Tells what came of it as JSON.
"""

import argparse
import asyncio
import json
import random
import time
import uuid
from collections import Counter, deque
from typing import Any
from urllib.parse import urlsplit

import msgspec

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
    "Idempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n"
)
DRAIN_S = 10.0


def order(user: str, number: int) -> bytes:
    """The payload of a shop's order, some 600 bytes."""
    return msgspec.json.encode(
        {
            "id": f"evt_{uuid.uuid4().hex}",
            "type": "order.paid",
            "created": 1_790_000_000 + number,
            "data": {
                "order": {
                    "number": f"ORD-{number:07}",
                    "currency": "EUR",
                    "total": round(random.uniform(5, 500), 2),
                    "items": [
                        {
                            "sku": f"SKU-{random.randrange(5000):05}",
                            "title": "A thing of some sort",
                            "quantity": 1,
                            "price": 19.9,
                        },
                        {
                            "sku": f"SKU-{random.randrange(5000):05}",
                            "title": "Another such thing",
                            "quantity": 2,
                            "price": 7.5,
                        },
                    ],
                    "shipping": {"country": "DE", "city": "Hamburg", "postcode": "20095", "method": "standard"},
                },
                "customer": {"id": user, "email": f"{user}@example.com", "name": "Jane Example"},
            },
        }
    )


class Caller(asyncio.Protocol):
    """One connection: sends what it is given, and tells each answer's status."""

    def __init__(self, on_answer: Any) -> None:
        self._on_answer = on_answer
        self._held = b""
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Some of an answer, or several."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            start = self._held.find(b"Content-Length: ", 0, end)
            length = int(self._held[start + 16 : self._held.find(b"\r\n", start)]) if start >= 0 else 0
            if len(self._held) < end + 4 + length:
                return
            status = int(self._held[9:12])
            self._held = self._held[end + 4 + length :]
            self._on_answer(self, status)

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is over."""
        self.is_lost = True


class Load:
    """Calls webhooks as ``options`` say."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._url = urlsplit(options.url)
        self._secret: str = options.secret
        self._connections: int = options.connections
        self._seconds: float = options.seconds
        self._rate: float = options.rate
        self._users: int = options.users
        self._webhooks: int = options.webhooks
        self._number = 0
        self._due_at_s: dict[Caller, float] = {}
        self._free: deque[Caller] = deque()
        self._waiting: deque[float] = deque()
        self.statuses: Counter[int] = Counter()
        self.took_s: list[float] = []

    def _request(self) -> bytes:
        self._number += 1
        body = order(f"user-{self._number % self._users}", self._number)
        path = self._url.path.format(self._number % self._webhooks)
        key = f"bench-{self._number}-{random.getrandbits(64):x}"
        head = HEAD.format(path=path, host=self._url.netloc, secret=self._secret, key=key, length=len(body))
        return head.encode() + body

    def _send(self, caller: Caller, due_at_s: float) -> None:
        assert caller.transport is not None
        self._due_at_s[caller] = due_at_s
        caller.transport.write(self._request())

    def _on_answer(self, caller: Caller, status: int) -> None:
        now_s = time.perf_counter()
        self.statuses[status] += 1
        self.took_s.append(now_s - self._due_at_s.pop(caller))
        if not self._rate:
            if now_s < self._until_s:
                self._send(caller, now_s)
        elif self._waiting:
            self._send(caller, self._waiting.popleft())
        else:
            self._free.append(caller)

    async def run(self) -> dict[str, Any]:
        """Call, and tell what came of it."""
        loop = asyncio.get_running_loop()
        callers = []
        for _ in range(self._connections):
            _, caller = await loop.create_connection(
                lambda: Caller(self._on_answer), self._url.hostname, self._url.port
            )
            callers.append(caller)
        began_s = time.perf_counter()
        self._until_s = began_s + self._seconds
        if self._rate:
            self._free.extend(callers)
            await self._send_at_rate(began_s)
        else:
            for caller in callers:
                self._send(caller, began_s)
            await asyncio.sleep(self._seconds)
        while (self._due_at_s or self._waiting) and time.perf_counter() < self._until_s + DRAIN_S:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began_s if self._rate else self._seconds
        took_s = sorted(self.took_s) or [0.0]
        return {
            "requests": sum(self.statuses.values()),
            "unanswered": len(self._due_at_s) + len(self._waiting),
            "lost_connections": sum(caller.is_lost for caller in callers),
            "statuses": self.statuses,
            "per_second": self.statuses[200] / seconds,
            "p50_ms": 1000 * took_s[len(took_s) // 2],
            "p99_ms": 1000 * took_s[int(len(took_s) * 0.99)],
            "max_ms": 1000 * took_s[-1],
        }

    async def _send_at_rate(self, began_s: float) -> None:
        due = 0
        while (now_s := time.perf_counter()) < self._until_s:
            while began_s + due / self._rate <= now_s:
                due_at_s = began_s + due / self._rate
                due += 1
                if self._free:
                    self._send(self._free.popleft(), due_at_s)
                else:
                    self._waiting.append(due_at_s)
            await asyncio.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="with {} where the number of a webhook stands, if there are several")
    parser.add_argument("secret")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: as many as are answered")
    parser.add_argument("--users", type=int, default=1000, help="ids user-0 to user-N")
    parser.add_argument("--webhooks", type=int, default=1, help="how many webhooks to call, in turn")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(Load(options).run())))


if __name__ == "__main__":
    main()
