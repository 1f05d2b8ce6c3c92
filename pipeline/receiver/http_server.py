"""A small HTTP/1.1 server that costs little enough to measure senders against.

It understands what webhook senders send: a request line, headers, a body of announced length, keep-alive. Anything else
is answered with the status that says so. Each complete request goes to a handler, which answers on the connection.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

_MAX_HEAD_BYTES: Final = 64 * 1024
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """A request as it came. Header names are in lower case; ``body`` is empty where bodies are not kept."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    body_bytes: int


def head_of(status: int, body_bytes: int, *, content_type: str = "text/plain", headers: str = "") -> bytes:
    """An answer up to its body; ``headers`` are further header lines, each with its line end."""
    return (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
        f"Content-Type: {content_type}\r\n{headers}Content-Length: {body_bytes}\r\n\r\n"
    ).encode("latin-1")


def response(status: int, body: bytes = b"", *, content_type: str = "text/plain", headers: str = "") -> bytes:
    """A whole answer."""
    return head_of(status, len(body), content_type=content_type, headers=headers) + body


class Connection(asyncio.Protocol):
    """One client. Requests are handled one after the other; ``finish`` or ``write`` + ``finish`` answers the current one.

    ``keep_body`` says whether the handler wants bodies; ``max_body_bytes`` is the largest that is taken.
    """

    def __init__(
        self,
        handle: Callable[[Request, "Connection"], None],
        connections: set["Connection"],
        *,
        keep_body: bool,
        max_body_bytes: int,
    ) -> None:
        self._handle = handle
        self._connections = connections
        self._keep_body = keep_body
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport
        self._waiting = bytearray()
        self._request: Request | None = None
        self._parts: list[bytes] = []
        self._missing_bytes = 0
        self._is_answering = False
        self._can_write = asyncio.Event()
        self.is_lost = False

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._can_write.set()
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """End."""
        self.is_lost = True
        self._can_write.set()
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Hold back: the client does not read."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._is_answering:
            self._waiting += data
        elif self._request is not None:
            self._take_body(data)
        else:
            self._waiting += data
            self._take_head()

    # What handlers call

    def write(self, data: bytes) -> None:
        """Send some of the answer."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written, or is gone."""
        await self._can_write.wait()

    def finish(self, data: bytes = b"") -> None:
        """Send the rest of the answer and go on with the next request."""
        if data:
            self._transport.write(data)
        self._is_answering = False
        if self._waiting:
            self._take_head()

    def close(self, data: bytes = b"") -> None:
        """Send ``data`` and close the connection."""
        if data:
            self._transport.write(data)
        self._transport.close()

    def reset(self) -> None:
        """Break the connection off with RST."""
        connected: socket.socket | None = self._transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # Inside

    def _take_head(self) -> None:
        end = self._waiting.find(b"\r\n\r\n")
        if end < 0:
            if len(self._waiting) > _MAX_HEAD_BYTES:
                self._refuse(431)
            return
        lines = self._waiting[:end].decode("latin-1").split("\r\n")
        rest = bytes(self._waiting[end + 4 :])
        self._waiting.clear()
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004  method, path, version
            self._refuse(400)
            return
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if "transfer-encoding" in headers:
            self._refuse(411)
            return
        announced = headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()):
            self._refuse(400)
            return
        length = int(announced)
        if length > self._max_body_bytes:
            self._refuse(413)
            return
        self._request = Request(words[0], words[1], headers, b"", length)
        self._missing_bytes = length
        if headers.get("expect", "").lower() == "100-continue" and not rest:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        request = self._request
        assert request is not None
        if len(data) > self._missing_bytes:
            self._waiting += data[self._missing_bytes :]
            data = data[: self._missing_bytes]
        self._missing_bytes -= len(data)
        if self._keep_body and data:
            self._parts.append(data)
        if self._missing_bytes:
            return
        if self._parts:
            request.body = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
            self._parts = []
        self._request = None
        self._is_answering = True
        self._handle(request, self)

    def _refuse(self, status: int) -> None:
        self._is_answering = True
        self.close(response(status, headers="Connection: close\r\n"))
