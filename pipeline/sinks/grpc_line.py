"""Connections to one integration's gRPC server, to addresses that the guard has let through.

gRPC offers no hook between looking a name up and connecting. So names are looked up here, every address is put to the
guard, and gRPC is told to dial these addresses and nothing else; TLS is verified against the name all the same, since
that is what ``grpc.default_authority`` says.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio
from yarl import URL

from pipeline.cancelling import cancelled
from pipeline.net.client import CONNECT_TIMEOUT_S, HttpClient
from pipeline.net.grpc_wakeups import drained_wakeups
from pipeline.net.guard import AddressRefusedError

LOOK_UP_AGAIN_S: Final = 240.0
_IDLE_MS: Final = 300_000
_NEVER_MS: Final = 2**31 - 1
_MS_PER_S: Final = 1000
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_MOST_ADDRESSES: Final = 16
_DEFAULT_PORTS: Final = {"grpcs": 443, "grpc": 80}


class Ping(NamedTuple):
    """When to ask the other side for a sign of life (seconds)."""

    time_s: float
    timeout_s: float
    permit_without_stream: bool


class Line:
    """A channel, and how many streams use it. Made by ``Lines``."""

    def __init__(self, channel: grpc.aio.Channel, target: str, looked_up_at_s: float) -> None:
        self.channel = channel
        self.target = target
        self.looked_up_at_s = looked_up_at_s
        self.streams = 0
        self.is_retired = False


class Lines:
    """Keeps one connection to ``url`` and makes a new one where the name leads elsewhere or the old one fails.

    A line that is given up serves the streams that are on it to their end. ``credentials`` are those of a TLS connection.
    """

    def __init__(
        self,
        url: str,
        client: HttpClient,
        *,
        credentials: grpc.ChannelCredentials | None,
        user_agent: str,
        ping: Ping | None = None,
    ) -> None:
        parsed = URL(url)
        assert parsed.raw_host is not None, "settings have been checked"
        self.host: Final = parsed.raw_host
        self._port = parsed.explicit_port or _DEFAULT_PORTS[parsed.scheme]
        self._client = client
        self._credentials = credentials
        self._options = _options(self.place, user_agent, ping)
        self._line: Line | None = None
        self._dialling: asyncio.Task[Line] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> str:
        """``host:port`` of the endpoint, as configured."""
        return f"[{self.host}]:{self._port}" if ":" in self.host else f"{self.host}:{self._port}"

    async def get(self) -> Line:
        """The line to use now. Raises ``OSError``: the name has no address, or the guard refuses all that it has."""
        line = self._line
        if line is not None and time.monotonic() - line.looked_up_at_s < LOOK_UP_AGAIN_S:
            return line
        if self._dialling is None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
            self._dialling.add_done_callback(self._dialled)
        # Shared by all that wait for it, so none of them may cancel it.
        return await asyncio.shield(self._dialling)

    @contextmanager
    def using(self, line: Line) -> Iterator[grpc.aio.Channel]:
        """Hold on to ``line`` for a stream."""
        line.streams += 1
        try:
            yield line.channel
        finally:
            line.streams -= 1
            self._close_unused(line)

    def give_up(self, line: Line) -> None:
        """Whoever comes next gets another line: a channel that failed would refuse to try again for up to two minutes."""
        line.is_retired = True
        if self._line is line:
            self._line = None
        self._close_unused(line)

    async def close(self) -> None:
        """Close all."""
        if self._dialling is not None:
            await cancelled([self._dialling])
        if self._line is not None:
            self.give_up(self._line)
        if self._closing:
            await asyncio.wait(self._closing)

    def _dialled(self, task: "asyncio.Task[Line]") -> None:
        self._dialling = None
        if not task.cancelled():
            task.exception()  # those who waited have it; where none is left, it is nobody's

    async def _dial(self) -> Line:
        target = target_of(await self._permitted_addresses(), self._port)
        old = self._line
        if old is not None and old.target == target:
            old.looked_up_at_s = time.monotonic()
            return old
        if old is not None:
            self.give_up(old)
        with drained_wakeups():
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(target, options=self._options)
            else:
                channel = grpc.aio.secure_channel(target, self._credentials, options=self._options)
        self._line = Line(channel, target, time.monotonic())
        return self._line

    async def _permitted_addresses(self) -> list[str]:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                addresses = await self._client.addresses(self.host, self._port)
        except TimeoutError:
            raise OSError(f"the look-up of {self.host} took more than {CONNECT_TIMEOUT_S:g} s") from None
        permitted = [address for address in addresses if self._client.guard.permits(address)]
        if not permitted:
            raise AddressRefusedError(addresses[0])
        return permitted[:_MOST_ADDRESSES]

    def _close_unused(self, line: Line) -> None:
        if line.is_retired and not line.streams:
            task = asyncio.get_running_loop().create_task(line.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def target_of(addresses: Sequence[str], port: int) -> str:
    """The target that makes gRPC dial ``addresses`` (IP addresses as text, at least one) in this order.

    A target has one family. Where there are both, IPv4 addresses are written in IPv6's form for them.
    """
    parsed = [ip_address(address) for address in addresses]
    if all(isinstance(address, IPv4Address) for address in parsed):
        return "ipv4:" + ",".join(f"{address}:{port}" for address in parsed)
    return "ipv6:" + ",".join(f"[{_as_ipv6(address)}]:{port}" for address in parsed)


def _as_ipv6(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return f"::ffff:{address}"
    return str(address).replace("%", "%25")


def credentials_of(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Credentials from PEM files; ``ca`` replaces the machine's authorities. Raises ``OSError``."""
    chain = None if cert is None else cert.read_bytes()
    private_key = chain if key is None else key.read_bytes()
    return grpc.ssl_channel_credentials(_machine_authorities() if ca is None else ca.read_bytes(), private_key, chain)


def _machine_authorities() -> bytes | None:
    """The certificates that OpenSSL trusts on this machine; ``None`` where it has none, and gRPC takes its own."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is not None:
        return Path(paths.cafile).read_bytes()
    # A directory of single certificates, each under the hash of its name.
    files = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath is not None else []
    return b"\n".join(file.read_bytes() for file in files if file.is_file()) or None


def _options(authority: str, user_agent: str, ping: Ping | None) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.default_authority", authority),
        ("grpc.primary_user_agent", user_agent),
        ("grpc.enable_retries", 0),  # the delivery core retries
        ("grpc.enable_http_proxy", 0),  # a proxy would connect where the guard cannot look
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.use_local_subchannel_pool", 1),  # a new channel begins afresh, without another's pauses after failures
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT_S * _MS_PER_S)),
        ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    ]
    if ping is None:
        return [*options, ("grpc.client_idle_timeout_ms", _IDLE_MS)]
    return [
        *options,
        ("grpc.client_idle_timeout_ms", _NEVER_MS if ping.permit_without_stream else _IDLE_MS),
        ("grpc.keepalive_time_ms", int(ping.time_s * _MS_PER_S)),
        ("grpc.keepalive_timeout_ms", int(ping.timeout_s * _MS_PER_S)),
        ("grpc.keepalive_permit_without_calls", int(ping.permit_without_stream)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
