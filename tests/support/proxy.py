"""A forward proxy on loopback, as companies have them: tunnels CONNECT, and passes on requests in absolute form."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from yarl import URL


@dataclass
class ForwardProxy:
    """``seen`` are the requests' heads as they came. ``hosts`` says where names are; what is not there is refused."""

    hosts: Mapping[str, str] = field(default_factory=dict)
    seen: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            method, goal, _ = head.split(b"\r\n")[0].decode().split(" ")
            url = URL(f"https://{goal}/") if method == "CONNECT" else URL(goal)
            address = self.hosts.get(url.host or "")
            if address is None:
                writer.write(b"HTTP/1.1 403 Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                await self._pass_on(head, method, url, address, reader, writer)
        writer.close()

    async def _pass_on(  # noqa: PLR0917
        self,
        head: bytes,
        method: str,
        url: URL,
        address: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(address, url.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there_writer.write(head.replace(str(url).encode(), url.raw_path_qs.encode(), 1))
        try:
            await asyncio.wait(
                {
                    asyncio.ensure_future(_pump(reader, there_writer)),
                    asyncio.ensure_future(_pump(there_reader, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            there_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def proxying(**hosts: str) -> AsyncIterator[ForwardProxy]:
    """Run a proxy that knows ``hosts`` (``_`` for ``.``)."""
    proxy = ForwardProxy({name.replace("_", "."): address for name, address in hosts.items()})
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
