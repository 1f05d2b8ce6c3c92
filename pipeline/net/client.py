"""HTTP to customers' endpoints: the only place that opens such connections.

One ``HttpClient`` serves a whole worker. It keeps connections open between requests, verifies TLS, connects only where
the address guard permits it, follows no redirect, keeps no cookie, unpacks no compressed answer, heeds no proxy variable
unless it is told to, and reads no more of an answer than people and keep-alive need. What an endpoint or the network does
is an ``Answer`` or a ``NoAnswer``, never an exception.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from pipeline.net.failures import describe_failure, refused_behind_proxy
from pipeline.net.guard import AddressGuard, spelled_address
from pipeline.net.proxy import EnvironmentProxies, Proxy
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
    """What all requests to one URL share, prepared once. Made by ``HttpClient.endpoint``.

    ``proxy`` is the one that requests go through. ``refusal`` is set where that would lead to an address that endpoints may
    not have: nothing is then sent.
    """

    url: URL
    timeout: aiohttp.ClientTimeout
    tls: ssl.SSLContext | bool
    proxy: Proxy | None = None
    refusal: "NoAnswer | None" = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint's answer to one request.

    ``head`` is the first 4 KiB of the body, unless the caller asked for more, and ``is_whole`` says whether that is all of it;
    ``body_bytes`` what was read of it, or the announced size where reading was given up. ``retry_after``, ``location``,
    ``rate_limit_reset`` (``X-RateLimit-Reset``) and ``content_encoding`` are headers as they came.
    """

    status: int
    retry_after: str | None
    head: bytes
    body_bytes: int
    location: str | None = None
    rate_limit_reset: str | None = None
    is_whole: bool = True
    content_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No status came back. ``detail`` says why, in words for people that hold neither the URL's path nor a header."""

    detail: str


class HttpClient:
    """Sends requests. ``open`` it on the event loop that uses it, ``close`` it after the last request.

    ``connect_timeout_s`` bounds the time to look up a name, connect and agree on TLS. ``resolver`` looks names up instead of
    the operating system; whatever it says, ``guard`` decides on each address at the moment of connecting. ``proxies`` says
    which requests go through a proxy: those connect to the proxy alone, wherever that is, and the proxy looks their names
    up, so that the guard sees only the addresses that stand in URLs themselves.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        resolver: AbstractResolver | None = None,
        proxies: EnvironmentProxies | None = None,
    ) -> None:
        self.guard = guard
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._proxied: aiohttp.ClientSession | None = None
        self._given_resolver = resolver
        self._resolver: AbstractResolver | None = None
        self._proxies = proxies
        self._tls_contexts: dict[tuple[Path | None, Path | None, Path | None], ssl.SSLContext] = {}

    async def open(self) -> None:
        """Prepare the connection pool; opens no connection."""
        self._resolver = self._given_resolver or Resolver()
        self._session = _session(self._resolver, self.guard)
        if self._proxies is not None:
            self._proxied = _session(self._resolver, None)

    async def close(self) -> None:
        """Close all connections."""
        for session in (self._session, self._proxied):
            if session is not None:
                await session.close()
        self._session = self._proxied = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def addresses(self, host: str, port: int) -> list[str]:
        """The IP addresses of ``host``, for what connects by another protocol; ``guard`` has not looked at them yet.

        Raises ``OSError`` where there are none, ``RuntimeError`` where the client is not open.
        """
        if self._resolver is None:
            raise RuntimeError("the HTTP client is not open: call open() first")
        found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        return [*dict.fromkeys(result["host"] for result in found)]

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
        tls = self._tls_context(ca, cert, key) if parsed.scheme == "https" else True
        proxy = self.proxy_for(parsed)
        return Endpoint(parsed, timeout, tls, proxy, None if proxy is None else self._refusal_behind_proxy(parsed))

    def proxy_for(self, url: URL) -> Proxy | None:
        """The proxy that requests to ``url`` go through; raises ``ValueError`` where it cannot be used."""
        return None if self._proxies is None else self._proxies.proxy_for(url)

    async def post(
        self,
        endpoint: Endpoint,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[bytes],
        *,
        head_bytes: int = ANSWER_HEAD_BYTES,
    ) -> Answer | NoAnswer:
        """POST ``body``; the status decides as soon as it is here, whatever then becomes of the answer's body.

        The answer's ``head`` is at most ``head_bytes`` long, which may be ``ANSWER_READ_BYTES`` where all that is read counts.

        Raises ``RuntimeError`` where the client is not open, and passes ``asyncio.CancelledError`` through.
        """
        session = self._session if endpoint.proxy is None else self._proxied
        if session is None:
            raise RuntimeError("the HTTP client is not open: call open() first")
        if endpoint.refusal is not None:
            return endpoint.refusal
        try:
            response = await session.post(
                endpoint.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=endpoint.timeout,
                ssl=endpoint.tls,
                proxy=None if endpoint.proxy is None else endpoint.proxy.url,
                proxy_headers=None if endpoint.proxy is None else endpoint.proxy.headers(),
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return NoAnswer(describe_failure(error, endpoint.url, endpoint.timeout, endpoint.proxy))
        try:
            head, body_bytes, is_whole = await _read_answer(response, head_bytes)
        finally:
            # What was read to its end has given its connection back already; any other connection is of no more use.
            response.close()
        told = response.headers
        return Answer(
            response.status,
            told.get("Retry-After"),
            head,
            body_bytes,
            location=told.get("Location"),
            rate_limit_reset=told.get("X-RateLimit-Reset"),
            is_whole=is_whole,
            content_encoding=told.get("Content-Encoding"),
        )

    def _refusal_behind_proxy(self, url: URL) -> NoAnswer | None:
        host = (url.host or "").rstrip(".").lower()
        address = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else spelled_address(host)
        if address is None or self.guard.permits(address):
            return None
        return NoAnswer(refused_behind_proxy(url, address))

    def _tls_context(self, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
        files = (ca, cert, key)
        context = self._tls_contexts.get(files)
        if context is None:
            context = self._tls_contexts[files] = client_context(*files)
        return context


def _session(resolver: AbstractResolver, guard: AddressGuard | None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # the delivery core bounds what is in flight; a second bound here would let hung endpoints starve others
        keepalive_timeout=KEEP_ALIVE_S,
        resolver=resolver,
        ttl_dns_cache=_DNS_CACHE_S,
        socket_factory=None if guard is None else guard.make_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # it would also send what .netrc holds
        auto_decompress=False,
        max_line_size=_MAX_HEADER_LINE_BYTES,
        max_field_size=_MAX_HEADER_LINE_BYTES,
        max_headers=_MAX_HEADERS,
    )


async def _read_answer(response: aiohttp.ClientResponse, head_bytes: int) -> tuple[bytes, int, bool]:
    """Read an answer's body, up to the bounds. Returns its head, its size if known, and whether the head is all of it."""
    announced = response.content_length
    most = ANSWER_READ_BYTES if announced is None or announced <= ANSWER_READ_BYTES else head_bytes
    stream = response.content
    read = bytearray()
    if stream.is_eof():
        while not stream.at_eof():
            read += await stream.readany()
        return bytes(read[:head_bytes]), len(read), len(read) <= head_bytes
    is_whole = False
    deadline = time.monotonic() + _ANSWER_BODY_WAIT_S
    try:
        while len(read) <= most and not stream.at_eof():
            async with asyncio.timeout(deadline - time.monotonic()):
                read += await stream.readany()
        is_whole = stream.at_eof() and len(read) <= head_bytes
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass  # the status has been given; only the connection is lost
    return bytes(read[:head_bytes]), max(len(read), announced or 0), is_whole
