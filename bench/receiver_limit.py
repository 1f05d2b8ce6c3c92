"""What the receiver can take: ready-made requests of 100 events, posted as fast as they are answered.

python -m bench.receiver_limit [--seconds 3]
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from bench.rig import Endpoint, rig
from bench.table import show
from pipeline.traffic import events

CONNECTIONS = 16
EVENTS = 100


class Limit(NamedTuple):
    """What a receiver takes, and the CPU seconds that it needs for 100,000 events."""

    events_per_s: float
    cpu_s: float


class _Poster(asyncio.Protocol):
    """One connection: as soon as an answer is here, the next request goes out."""

    def __init__(self, lane: str, head: str, body: bytes) -> None:
        self._lane, self._head, self._body = lane, head, body
        self.posted = -1
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 an answer is small and comes whole
        if not self.is_over:
            self._post()

    def _post(self) -> None:
        self.posted += 1
        first = self.posted * EVENTS
        headers = self._head.format(lane=self._lane, first=first, end=first + EVENTS)
        self._transport.writelines((headers.encode(), self._body))


async def _post_for(seconds: float, url: str) -> float:
    address = urlsplit(url)
    body = b"[" + b",".join(events(9, EVENTS)) + b"]"
    head = (
        f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: */*\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nUser-Agent: bench\r\nwebhook-timestamp: 1723799271\r\n"
        "webhook-id: {lane}:{first}-{end}\r\ndistributary-sequence: {lane} {first}-{end}\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    connected = [
        await loop.create_connection(lambda n=number: _Poster(f"post-{n}", head, body), address.hostname, address.port)  # type: ignore[misc]
        for number in range(CONNECTIONS)
    ]
    start, before = time.perf_counter(), sum(poster.posted for _, poster in connected)
    await asyncio.sleep(seconds)
    rate = (sum(poster.posted for _, poster in connected) - before) * EVENTS / (time.perf_counter() - start)
    for transport, poster in connected:
        poster.is_over = True
        transport.close()
    await asyncio.sleep(0.1)
    return rate


def receiver_limit(endpoint: Endpoint, seconds: float = 3.0) -> Limit:
    """Measure a receiver that has nothing else to do."""
    process = psutil.Process(endpoint.process.pid)
    endpoint.reset()
    before = process.cpu_times()
    rate = asyncio.run(_post_for(seconds, endpoint.url))
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    limit = Limit(rate, cpu_s / endpoint.stats()["events"] * 100_000)
    endpoint.reset()
    return limit


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(arguments)
    with rig() as found, found.receiver() as endpoint:
        limit = receiver_limit(endpoint, options.seconds)
    show(
        "The receiver alone",
        ("", "events/s", "CPU s/100k events"),
        [["only counting", f"{limit.events_per_s:,.0f}", f"{limit.cpu_s:.2f}"]],
        f"{EVENTS} events a request, {CONNECTIONS} connections",
    )


if __name__ == "__main__":
    main()
