"""The examination's own connections: look a name up, connect to each address, shake hands. Nothing is sent."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pipeline.doctor.target import Target
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard, spelled_address

_OBJECTION_WAIT_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a name stands for: ``addresses`` that may be connected to, ``refused`` ones, or the ``error`` of the lookup."""

    addresses: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    error: OSError | TimeoutError | None = None
    is_literal: bool = False
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Connection:
    """How it went with one address; ``error`` is ``None`` where it answered."""

    address: str
    error: OSError | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class Handshake:
    """How TLS went: ``version``, ``protocol`` (what was agreed to be spoken inside, if anything) and the ``error``, if any.

    ``certificate`` (DER) is there also where it was not trusted, if the endpoint showed it a second time.
    """

    version: str | None = None
    protocol: str | None = None
    certificate: bytes | None = None
    error: OSError | None = None
    duration_s: float = 0.0


async def look_up(host: str, port: int, client: HttpClient, guard: AddressGuard, *, timeout_s: float) -> Lookup:
    """Find the addresses of ``host`` as deliveries do, and which of them endpoints may have."""
    started_s = time.monotonic()
    spelled = spelled_address(host)
    try:
        async with asyncio.timeout(timeout_s):
            found = [spelled] if spelled else await client.addresses(host, port)
    except OSError as error:  # TimeoutError is one
        return Lookup(error=error, duration_s=time.monotonic() - started_s)
    return Lookup(
        addresses=tuple(address for address in found if guard.permits(address)),
        refused=tuple(address for address in found if not guard.permits(address)),
        is_literal=spelled is not None,
        duration_s=time.monotonic() - started_s,
    )


async def connect_to_each(
    addresses: Sequence[str], port: int, guard: AddressGuard, *, timeout_s: float
) -> list[Connection]:
    """Connect to every address, all at once, and hang up again."""

    async def one(address: str) -> Connection:
        started_s = time.monotonic()
        try:
            (await _connected(address, port, guard, timeout_s)).close()
        except OSError as error:
            return Connection(address, error, time.monotonic() - started_s)
        return Connection(address, None, time.monotonic() - started_s)

    return await asyncio.gather(*(one(address) for address in addresses))


async def shake_hands(target: Target, address: str, guard: AddressGuard, *, timeout_s: float) -> Handshake:
    """Agree on TLS as a delivery would; where the certificate is not trusted, fetch it all the same.

    Raises ``OSError`` where a PEM file of the integration cannot be used.
    """
    context = target.context()
    started_s = time.monotonic()
    try:
        return await _shaken(target, address, guard, context, timeout_s)
    except ssl.SSLCertVerificationError as error:
        duration_s = time.monotonic() - started_s
        certificate = None
        with suppress(OSError):
            certificate = (await _shaken(target, address, guard, target.context(verifies=False), timeout_s)).certificate
        return Handshake(certificate=certificate, error=error, duration_s=duration_s)
    except OSError as error:
        return Handshake(error=error, duration_s=time.monotonic() - started_s)


async def _shaken(
    target: Target, address: str, guard: AddressGuard, context: ssl.SSLContext, timeout_s: float
) -> Handshake:
    started_s = time.monotonic()
    async with asyncio.timeout(timeout_s):
        made = await _connected(address, target.port, guard, timeout_s)
        try:
            reader, writer = await asyncio.open_connection(sock=made, ssl=context, server_hostname=target.server_name)
        except BaseException:
            made.close()
            raise
    duration_s = time.monotonic() - started_s
    try:
        inside = writer.get_extra_info("ssl_object")
        certificate = inside.getpeercert(binary_form=True)
        objection = None if target.cert is not None else await _objection(reader)
        return Handshake(inside.version(), inside.selected_alpn_protocol(), certificate, objection, duration_s)
    finally:
        writer.transport.abort()


async def _objection(reader: asyncio.StreamReader) -> OSError | None:
    """What the endpoint has against us that show no certificate: in TLS 1.3 it says so after the handshake."""
    try:
        async with asyncio.timeout(_OBJECTION_WAIT_S):
            said = await reader.read(1)
    except TimeoutError:
        return None  # it waits for a request, as it should
    except OSError as error:
        return error
    return None if said else ConnectionResetError("hung up after the handshake")


async def _connected(address: str, port: int, guard: AddressGuard, timeout_s: float) -> socket.socket:
    """A connected socket, made by the guard."""
    info = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    made = guard.make_socket(info)
    try:
        made.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(made, info[4])
    except BaseException:
        made.close()
        raise
    return made
