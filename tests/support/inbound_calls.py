"""Callers of the listener, on real sockets."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from agents.inbound.answers import json_answer
from agents.inbound.server import Answered, Handler, InboundServer
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.settings import InboundSettings
from pipeline.local import ports
from pipeline.metrics import Metrics


@dataclass
class Answer:
    """What a caller was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Caller:
    """One connection to the listener."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pending: list[bytes] = field(default_factory=list)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, within_s: float = 20.0) -> Answer:
        """The next answer; raises ``asyncio.IncompleteReadError`` where the connection ends before it."""
        async with asyncio.timeout(within_s):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return Answer(int(status_line.split(" ")[1]), headers, body)

    async def call(self, path: str, body: bytes = b"{}", *, method: str = "POST", **headers: str) -> Answer:
        await self.send(request(path, body, method=method, **headers))
        return await self.answer()

    async def ended(self, within_s: float = 10.0) -> bool:
        """Whether the listener ends the connection in time, with nothing more said."""
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def request(path: str, body: bytes = b"{}", *, method: str = "POST", **headers: str) -> bytes:
    """A request as bytes; header names have _ for -."""
    lines = {
        "Host": "hooks.example",
        "Content-Length": str(len(body)),
        **{n.replace("_", "-"): v for n, v in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


@contextlib.asynccontextmanager
async def caller(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1" if tls else None
    )
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@dataclass
class Listener:
    """A listener without a worker, whose one handler answers 200 when it is let."""

    port: int
    server: InboundServer
    metrics: Metrics
    may_answer: asyncio.Event
    under_way: int = 0
    busy: int = 0

    def figures(self, name: str) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(self.metrics.render().decode())
        return {
            tuple(sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"distributary_{name}"
        }


@contextlib.asynccontextmanager
async def listening(**keys: Any) -> AsyncIterator[Listener]:
    """A listener with one handler below ``/webhooks/``; ``keys`` are settings."""
    settings = InboundSettings.model_validate({"port": ports.choose(), **keys})
    may_answer, metrics = asyncio.Event(), Metrics("0")
    may_answer.set()

    async def handle(incoming: web.BaseRequest, rest: str, is_busy: bool) -> Answered:  # noqa: FBT001 a handler's signature
        if is_busy:
            found.busy += 1
            return Answered(Outcome.BUSY, json_answer(503, b"{}"))
        found.under_way += 1
        await may_answer.wait()
        found.under_way -= 1
        return Answered(Outcome.ACCEPTED, json_answer(200, json.dumps(rest).encode()))

    handlers: Mapping[str, tuple[str, Handler]] = {"/webhooks/": ("webhook", handle)}
    server = InboundServer(settings, handlers, metrics)
    await server.open()
    found = Listener(settings.port, server, metrics, may_answer)
    try:
        yield found
    finally:
        may_answer.set()
        await server.close()
