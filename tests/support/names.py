"""Names that stand for what a test wants, and small servers on chosen loopback addresses."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.local import ports


class Names(AbstractResolver):
    """Answers look-ups of a name with the next of its answers, the last one for ever; each is a list of addresses."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._waiting = {name: [*those] for name, those in answers.items()}
        self.lookups: list[str] = []

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        self.lookups.append(host)
        waiting = self._waiting.get(host.rstrip("."), [[host]] if _is_address(host) else None)
        if waiting is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Listener:
    """Counts connections at one address, and answers each request on them with 200 and its address."""

    def __init__(self, address: str, *, keeps_open: bool = True) -> None:
        self.address = address
        self.connections = 0
        self.requests = 0
        self._keeps_open = keeps_open
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(
                    (int(line.split(b":")[1]) for line in head.splitlines() if line.startswith(b"content-length:")), 0
                )
                await reader.readexactly(length)
                self.requests += 1
                body = self.address.encode()
                more = b"" if self._keeps_open else b"Connection: close\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(body), body))
                if not self._keeps_open:
                    break
        writer.close()
        self._writers.discard(writer)

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()


@contextlib.asynccontextmanager
async def listening(
    *addresses: str, tls: ssl.SSLContext | None = None, keeps_open: bool = True
) -> AsyncIterator[tuple[int, list[Listener]]]:
    """Listen on the same free port of every address; gives the port, and a listener for each."""
    # One that the system chose for the first address could be that of somebody's connection at another.
    port = ports.choose()
    listeners = [Listener(address, keeps_open=keeps_open) for address in addresses]
    async with contextlib.AsyncExitStack() as opened:
        for listener in listeners:
            server = await asyncio.start_server(listener.serve, listener.address, port, ssl=tls)
            opened.push_async_callback(_close, server, listener)
        yield port, listeners


async def _close(server: asyncio.Server, listener: Listener) -> None:
    server.close()
    listener.hang_up()
    await server.wait_closed()
