"""HTTP to customers' endpoints: the only place that opens such connections.

One ``HttpClient`` serves a whole worker. It keeps connections open between requests, verifies TLS, connects only where
the address guard permits it, follows no redirect, keeps no cookie, heeds no proxy variable, unpacks no compressed answer,
and reads no more of an answer than people and keep-alive need. What an endpoint or the network does is an ``Answer`` or
a ``NoAnswer``, never an exception.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pipeline.net.failures import describe_failure
from pipeline.net.guard import AddressGuard
from pipeline.net.resolver import Resolver
from pipeline.net.tls import client_context

KEEP_ALIVE_S = 30.0
CONNECT_TIMEOUT_S = 10.0
ANSWER_HEAD_BYTES = 4 * 1024
ANSWER_READ_BYTES = 64 * 1024
_ANSWER_BODY_WAIT_S = 5.0
_DNS_CACHE_S = 10
_MAX_HEADER_LINE_BYTES = 8 * 1024
_MAX_HEADERS = 128


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What all requests to one URL share, prepared once. Made by ``HttpClient.endpoint``."""

    url: URL
    timeout: aiohttp.ClientTimeout
    tls: ssl.SSLContext | bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint's answer to one request.

    ``head`` is the first 4 KiB of the body; ``body_bytes`` what was read of it, or the announced size where reading was
    given up; ``retry_after`` the header as it came.
    """

    status: int
    retry_after: str | None
    head: bytes
    body_bytes: int


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No status came back. ``detail`` says why, in words for people that hold neither the URL's path nor a header."""

    detail: str


class HttpClient:
    """Sends requests. ``open`` it on the event loop that uses it, ``close`` it after the last request.

    ``connect_timeout_s`` bounds the time to look up a name, connect and agree on TLS.
    """

    def __init__(self, guard: AddressGuard, *, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self.guard = guard
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._resolver: Resolver | None = None
        self._tls_contexts: dict[tuple[Path | None, Path | None, Path | None], ssl.SSLContext] = {}

    async def open(self) -> None:
        """Prepare the connection pool; opens no connection."""
        self._resolver = Resolver()
        connector = aiohttp.TCPConnector(
            limit=0,  # the delivery core bounds what is in flight; a second bound here would let hung endpoints starve others
            keepalive_timeout=KEEP_ALIVE_S,
            resolver=self._resolver,
            ttl_dns_cache=_DNS_CACHE_S,
            socket_factory=self.guard.make_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=_MAX_HEADER_LINE_BYTES,
            max_field_size=_MAX_HEADER_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    def endpoint(
        self,
        url: str,
        *,
        timeout_s: float,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> Endpoint:
        """Prepare for requests to ``url``, each of which may take ``timeout_s`` in all.

        ``ca``, ``cert`` and ``key`` are PEM files, read here (blocking): authorities to trust instead of the machine's,
        and the client's own certificate. Raises ``ValueError`` for a URL that cannot be requested, ``OSError`` (of which
        ``ssl.SSLError`` is one) for a file that cannot be read or used.
        """
        parsed = URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("expected a URL of the form https://host/path or http://host:port/path")
        if parsed.user is not None or parsed.password is not None:
            raise ValueError("a user name or password in the URL is not sent; use authorization")
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, self._connect_timeout_s))
        return Endpoint(parsed, timeout, self._tls_context(ca, cert, key) if parsed.scheme == "https" else True)

    async def post(self, endpoint: Endpoint, headers: CIMultiDict[str], body: bytes) -> Answer | NoAnswer:
        """POST ``body``; the status decides as soon as it is here, whatever then becomes of the answer's body.

        Raises ``RuntimeError`` where the client is not open, and passes ``asyncio.CancelledError`` through.
        """
        if self._session is None:
            raise RuntimeError("the HTTP client is not open: call open() first")
        try:
            response = await self._session.post(
                endpoint.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=endpoint.timeout,
                ssl=endpoint.tls,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return NoAnswer(describe_failure(error, endpoint.url, endpoint.timeout))
        try:
            head, body_bytes = await _read_answer(response)
        finally:
            # What was read to its end has given its connection back already; any other connection is of no more use.
            response.close()
        return Answer(response.status, response.headers.get("Retry-After"), head, body_bytes)

    def _tls_context(self, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
        files = (ca, cert, key)
        context = self._tls_contexts.get(files)
        if context is None:
            context = self._tls_contexts[files] = client_context(*files)
        return context


async def _read_answer(response: aiohttp.ClientResponse) -> tuple[bytes, int]:
    """Read an answer's body, up to the bounds. Returns its head and its size as far as that is known."""
    announced = response.content_length
    most = ANSWER_READ_BYTES if announced is None or announced <= ANSWER_READ_BYTES else ANSWER_HEAD_BYTES
    stream = response.content
    read = bytearray()
    if stream.is_eof():
        while not stream.at_eof():
            read += await stream.readany()
        return bytes(read[:ANSWER_HEAD_BYTES]), len(read)
    deadline = time.monotonic() + _ANSWER_BODY_WAIT_S
    try:
        while len(read) <= most and not stream.at_eof():
            async with asyncio.timeout(deadline - time.monotonic()):
                read += await stream.readany()
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass  # the status has been given; only the connection is lost
    return bytes(read[:ANSWER_HEAD_BYTES]), max(len(read), announced or 0)
