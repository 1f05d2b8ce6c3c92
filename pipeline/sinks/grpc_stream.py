"""Streams to the endpoint of one integration, one for each try."""

import asyncio
import socket
import ssl
import time
from typing import Final, NamedTuple

import grpc
import grpc.aio

from pipeline.errors import ConfigError
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch
from pipeline.net.guard import AddressRefusedError
from pipeline.net.mask import Mask
from pipeline.net.tls import client_context
from pipeline.sinks.base import Leaving, SinkContext
from pipeline.sinks.grpc import GrpcIntegration
from pipeline.sinks.grpc_ending import UNFINISHED, Ending, ending_of, one_line
from pipeline.sinks.grpc_events import Framing
from pipeline.sinks.grpc_exchange import Call, Exchange
from pipeline.sinks.grpc_line import Line, Lines, Ping, credentials_of
from pipeline.sinks.posting import Events, TlsFiles, spellings_of

METHOD: Final = "/distributary.eventstream.v1.EventStreamService/Deliver"
_LIMIT_KEPT_S: Final = 600.0


class _LearnedLimit(NamedTuple):
    """The largest message that the endpoint said it takes, and until when (monotonic seconds) it is taken at its word."""

    max_bytes: int
    ends_at_s: float


class Streams:
    """Delivers batches, each on a stream of its own, over one connection."""

    def __init__(self, settings: GrpcIntegration, lines: Lines, leaving: Leaving) -> None:
        self._settings = settings
        self._leaving = leaving
        self._lines = lines
        self._authorization = None if settings.authorization is None else settings.authorization.get_secret_value()
        self._mask = Mask(() if self._authorization is None else spellings_of(self._authorization))
        self._learned: _LearnedLimit | None = None

    @classmethod
    def prepared(cls, settings: GrpcIntegration, context: SinkContext) -> "Streams":
        """Read the certificate files; raises ``ConfigError`` where one cannot be used. Connects to nobody."""
        ping = settings.keep_alive
        lines = Lines(
            settings.url,
            context.client,
            credentials=_credentials(settings) if settings.is_encrypted else None,
            user_agent=context.user_agent,
            ping=None if ping is None else Ping(ping.time_s, ping.timeout_s, ping.permit_without_stream),
        )
        return cls(settings, lines, context.leaving)

    async def close(self) -> None:
        """Close the connection."""
        await self._lines.close()

    async def deliver(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``, ``now_s`` being UNIX seconds of this try."""
        framing = Framing(self._settings.max_events_per_message, self._max_message_bytes())
        exchange = Exchange(batch, framing, self._mask.hide, self._leaving)
        if not exchange.has_events:
            return exchange.outcome(UNFINISHED)
        line = await self._line()
        if not isinstance(line, Line):
            return Outcome(Verdict.RETRY, line, duration_s=exchange.passed_s(), is_unanswered=True)
        with self._lines.using(line) as channel:
            call: Call = channel.stream_stream(METHOD)(
                timeout=max(0.0, self._settings.timeout_s - exchange.passed_s()),
                metadata=self._metadata(batch, now_s),
                wait_for_ready=False,
            )
            try:
                ending = await exchange.run(call) or await self._ending(call, exchange, now_s)
            finally:
                call.cancel()
            if ending.is_line_suspect:
                self._lines.give_up(line)
        if ending.message_limit_bytes is not None:
            limit_bytes = min(framing.max_bytes, ending.message_limit_bytes)
            self._learned = _LearnedLimit(limit_bytes, time.monotonic() + _LIMIT_KEPT_S)
            exchange.shrink(limit_bytes)
        return exchange.outcome(ending)

    def _max_message_bytes(self) -> int:
        if self._learned is None or time.monotonic() >= self._learned.ends_at_s:
            return self._settings.max_message_bytes
        return self._learned.max_bytes

    async def _line(self) -> Line | str:
        """A connection, or why there is none."""
        place = self._lines.place
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._lines.get()
        except TimeoutError:
            return f"no connection to {place} within {self._settings.timeout_s:g} s"
        except AddressRefusedError as error:
            return f"not connected to {place}: {error.strerror}"
        except socket.gaierror as error:
            return f"the name {self._lines.host} has no address: {one_line(error.strerror or 'the look-up failed')}"
        except OSError as error:
            return f"no connection to {place}: {one_line(error.strerror or str(error))}"

    async def _ending(self, call: Call, exchange: Exchange, now_s: float) -> Ending:
        code = await call.code()
        trailing = await call.trailing_metadata()
        ending = ending_of(
            code,
            self._mask.hide(await call.details() or ""),
            dict(trailing or ()),
            place=self._lines.place,
            now_s=now_s,
        )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and exchange.passed_s() >= self._settings.timeout_s:
            return ending._replace(detail=exchange.lateness(self._settings.timeout_s), words="", is_silence=True)
        return ending

    def _metadata(self, batch: Batch, now_s: float) -> tuple[tuple[str, str], ...]:
        metadata = Events.of(batch).headers(now_s=now_s)
        if self._authorization is not None:
            metadata["authorization"] = self._authorization
        return tuple(metadata.items())


def _credentials(settings: GrpcIntegration) -> grpc.ChannelCredentials:
    files = settings.tls or TlsFiles()
    try:
        client_context(files.ca, files.cert, files.key)  # says what is wrong with a file, which gRPC does not
        return credentials_of(files.ca, files.cert, files.key)
    except (OSError, ValueError) as error:
        named = ", ".join(f"{name} {path}" for name, path in files if path is not None)
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        problem = f"integration {settings.id}: cannot use its tls files ({named or 'none given'}): {reason}"
        raise ConfigError([problem]) from error
