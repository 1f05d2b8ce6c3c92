"""A customer's endpoint, as well or badly behaved as a test wants: a raw HTTP/1.1 server on a loopback port.

``Endpoint(answer)`` calls ``answer(request, writer)`` once a request is complete; the makers below (``reply``, ``raw``,
``reset``, ``silence``, ...) give such functions, and ``in_turn`` puts them one after the other. What came is in
``endpoint.seen``.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Answering = Callable[["Seen", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A request as it came. ``head`` is its bytes up to the empty line; ``connection`` counts from 1."""

    head: bytes
    body: bytes
    connection: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def request_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def wire(self) -> bytes:
        return self.head + b"\r\n\r\n" + self.body


def reply(status: int, body: bytes = b"", **headers: str) -> Answering:
    """Answer properly; header names are written with ``_`` for ``-``."""

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def raw(data: bytes, *, then_close: bool = False) -> Answering:
    """Write ``data`` as it is."""

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if then_close:
            writer.close()

    return answer


def reset(after: bytes = b"") -> Answering:
    """Write ``after``, then break the connection off with RST."""

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        if after:
            writer.write(after)
            await writer.drain()
            await asyncio.sleep(0.05)  # so that the bytes are on their way before the reset overtakes them
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer


def silence() -> Answering:
    """Never answer."""

    async def answer(_: Seen, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return answer


def endless(chunk: bytes, *, first: bytes = b"", pause_s: float = 0.0) -> Answering:
    """Write ``first``, then ``chunk`` again and again until the other side hangs up."""

    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_s)

    return answer


def in_turn(*answers: Answering) -> Answering:
    """One answer after the other; the last one stays."""
    waiting = list(answers)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(seen, writer)

    return answer


class Endpoint:
    """The server. ``hung_up`` is set when a client hangs up; ``connections`` is how many were opened."""

    def __init__(self, answer: Answering, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        self.connections = 0
        self._arrived = asyncio.Condition()
        self.hung_up = asyncio.Event()
        self.peer_certificates: list[object] = []
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    def url(self, path: str = "/events", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def received(self, count: int) -> None:
        """Wait, for at most five seconds, until ``count`` requests have come."""
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = self.connections
        self.peer_certificates.append(writer.get_extra_info("peercert"))
        try:
            while not writer.is_closing():
                await self._one(reader, writer, connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            return  # asyncio's stream server would report it; stop() is the only one who cancels
        finally:
            self.hung_up.set()
            writer.close()
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(head, body, connection, headers)
        self.seen.append(seen)
        async with self._arrived:
            self._arrived.notify_all()
        await self._answer_while_connected(seen, reader, writer)

    async def _answer_while_connected(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer; end early where the client hangs up meanwhile."""
        answering = asyncio.ensure_future(self.answer(seen, writer))
        watching = asyncio.ensure_future(_until_gone(reader))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if answering.done() and not answering.cancelled() and (error := answering.exception()):
            raise error


async def _until_gone(reader: asyncio.StreamReader) -> None:
    # Not reader.read(): it could take the first byte of the next request.
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110  a stream reader has no event for its end
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(answer: Answering, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """Run an endpoint for as long as the block lasts."""
    endpoint = Endpoint(answer, tls=tls)
    await endpoint.start()
    try:
        yield endpoint
    finally:
        await endpoint.stop()
