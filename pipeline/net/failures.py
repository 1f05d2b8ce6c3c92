"""Words for the many ways in which no answer comes back."""

import errno
import os
import socket
import ssl

import aiohttp
from yarl import URL

from pipeline.net.guard import AddressRefusedError
from pipeline.net.proxy import Proxy

_QUOTED_CHARS = 120


def describe_failure(  # noqa: C901, PLR0911, PLR0912  one line a kind
    error: BaseException, url: URL, timeout: aiohttp.ClientTimeout, proxy: Proxy | None = None
) -> str:
    """One line on why a request to ``url``, by way of ``proxy`` where there is one, got no answer.

    Names host and port, but neither path nor query (which may hold a customer's secret), and no header.
    """
    place = _place(url)
    if proxy is not None and isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientConnectorDNSError):
        return f"no connection to the proxy {proxy.place}: {_reason(error.os_error)}"
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection to {place} within {_seconds(timeout.connect)} s"
        case TimeoutError() if not isinstance(error, aiohttp.ClientOSError):
            return f"no answer within {_seconds(timeout.total)} s"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {url.host} has no address: {_reason(error.os_error)}"
        case aiohttp.ClientConnectorCertificateError():
            return f"its TLS certificate is not valid for {url.host}: {_certificate_reason(error.certificate_error)}"
        case aiohttp.ClientConnectorError():
            return _describe_connect_failure(error.os_error, place)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy does not connect to {place}: it answered {error.status} {_one_line(error.message)}"
        case aiohttp.ServerDisconnectedError():
            return f"{place} closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return f"answered garbage: {_one_line(error.message)}"
        case aiohttp.ClientPayloadError():
            return f"answered garbage: {_one_line(str(error))}"
        case aiohttp.InvalidURL():
            return f"the URL's host {url.host} cannot be used: {_one_line(error.description or 'not an address')}"
        case ssl.SSLError():
            return f"TLS with {place} failed: {_reason(error)}"
        case ConnectionError() | aiohttp.ClientOSError():
            return f"{place} broke the connection before it answered: {_reason(error)}"
        case _:
            return f"no answer from {place}: {type(error).__name__}"


def refused_behind_proxy(url: URL, address: str) -> str:
    """One line on why nothing for ``url``, which names ``address``, is handed to a proxy."""
    return f"not sent by way of the proxy to {_place(url)}: {AddressRefusedError(address).strerror}"


def _place(url: URL) -> str:
    return f"[{url.host}]:{url.port}" if ":" in (url.host or "") else f"{url.host}:{url.port}"


def _describe_connect_failure(cause: OSError, place: str) -> str:
    match cause:
        case AddressRefusedError():
            return f"not connected to {place}: {cause.strerror}"
        case ssl.SSLError():
            return f"TLS with {place} failed: {_reason(cause)}"
        case ConnectionRefusedError():
            return f"connection refused by {place}"
        case ConnectionError():
            return f"{place} broke the connection before it answered: {_reason(cause)}"
        case _:
            return f"no connection to {place}: {_reason(cause)}"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return _one_line((error.reason or error.strerror or "no reason given").replace("_", " ").lower())
    if isinstance(error, socket.gaierror):
        return _one_line(error.strerror or "the lookup failed")
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return _one_line(str(error)) or type(error).__name__


def _certificate_reason(error: Exception) -> str:
    return _one_line(getattr(error, "verify_message", "") or str(error))


def _seconds(value: float | None) -> str:
    return f"{value:g}" if value is not None else "?"


def _one_line(text: str) -> str:
    # Errors of the HTTP parser quote what came over several lines, with a caret below the place.
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 1] + "…"
