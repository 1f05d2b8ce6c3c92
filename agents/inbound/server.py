"""Listens for outside systems, on an address of its own, within limits; and ends in good order."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import structlog
from aiohttp import web

from agents.inbound import answers
from agents.inbound.certificate import LOOK_EVERY_S, Certificate
from agents.inbound.limits import Slots
from pipeline.cancelling import cancelled
from pipeline.errors import ConfigError
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.settings import InboundSettings
from pipeline.metrics import Metrics, catalogue

log = structlog.get_logger(__name__)

IDLE_S: Final = 30.0
"""How long a connection may be open without a whole request head."""
HANDSHAKE_S: Final = 10.0
MOST_LINE_BYTES: Final = 8190
BACKLOG: Final = 1024
CONNECTIONS_A_SLOT: Final = 8
"""Connections beyond this many times ``max_concurrent`` are closed at once."""
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 1 << 20
"""What is read of a body that nobody wants, so that its sender, which sends before it reads, sees the answer."""
DRAIN_S: Final = 6.0
"""How long a stop waits for requests under way: a little longer than Kafka is waited for."""
QUIET_S: Final = 0.2
"""How long callers with open connections may still come with a request when the worker stops."""
TELL_PAUSE_S: Final = 30.0

NOWHERE: Final = "unknown_path"
NO_HTTP: Final = "no_http"
GONE: Final = "gone"
FAILED: Final = "failed"


class Answered(NamedTuple):
    """What a handler made of a request: for whoever called, and for the metrics."""

    outcome: str
    response: web.Response


Handler = Callable[[web.BaseRequest, str, bool], Awaitable[Answered]]
"""Answers a request, given what follows its handler's prefix in the path, and whether the worker is too busy to take it."""


class InboundServer:
    """The listener. ``handlers`` has, by the prefix of their paths, the source that requests count for and what answers."""

    def __init__(
        self, settings: InboundSettings, handlers: Mapping[str, tuple[str, Handler]], metrics: Metrics
    ) -> None:
        self._settings = settings
        self._handlers = [(prefix, source, handler) for prefix, (source, handler) in handlers.items()]
        self._metrics = metrics
        self._slots = Slots(settings.max_concurrent)
        self._server: _Server | None = None
        self._listening: asyncio.Server | None = None
        self._certificate: Certificate | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_draining = False
        self._heard_at_s = 0.0
        self._untold: Counter[str] = Counter()
        self._told_at_s = -TELL_PAUSE_S
        metrics.watch(catalogue.INBOUND_UNDER_WAY, lambda: [((), float(self._slots.taken))])
        metrics.watch(catalogue.INBOUND_CONNECTIONS, lambda: [((), float(self.connections))])

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._server is None else len(self._server.connections)

    async def open(self) -> None:
        """Begin to listen; raises ``ConfigError`` where that cannot be."""
        settings = self._settings
        self._certificate = None if settings.tls is None else Certificate(settings.tls)
        loop = asyncio.get_running_loop()
        self._server = _Server(
            self._answer,
            on_no_http=lambda: self._metrics.inbound("", NO_HTTP, 0.0),
            most_connections=CONNECTIONS_A_SLOT * settings.max_concurrent,
            access_log=None,
            keepalive_timeout=IDLE_S,
            lingering_time=0.0,
            max_line_size=MOST_LINE_BYTES,
            max_field_size=MOST_LINE_BYTES,
            # Bodies are inflated as they are read, within the limit.
            auto_decompress=False,
        )
        try:
            self._listening = await loop.create_server(
                self._server,
                settings.host,
                settings.port,
                ssl=None if self._certificate is None else self._certificate.context,
                ssl_handshake_timeout=None if self._certificate is None else HANDSHAKE_S,
                backlog=BACKLOG,
                reuse_port=True,
            )
        except OSError as error:
            raise ConfigError(
                [
                    f"inbound: cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; choose another port"
                ]
            ) from None
        if self._certificate is not None:
            self._looking = asyncio.create_task(self._look_at(self._certificate))
        log.info("inbound requests are taken", url=settings.base_url, host=settings.host, port=settings.port)

    async def drain(self) -> None:
        """Take no new connections, answer what is under way, close the rest; while Kafka can still acknowledge."""
        if self._server is None or self._listening is None:
            return
        self._is_draining = True
        self._listening.close()
        began_s = self._heard_at_s = time.monotonic()
        # Whoever has a connection may be about to use it; with their next answer they learn that it ends.
        while self.connections and time.monotonic() - began_s < DRAIN_S:
            if not self._slots.taken and time.monotonic() - self._heard_at_s > QUIET_S:
                break
            await asyncio.sleep(0.01)
        if self._slots.taken:
            log.warning("inbound requests are left unanswered at the stop", requests=self._slots.taken)
        self._server.pre_shutdown()
        await self._server.shutdown(0.1)
        self._listening = None

    async def close(self) -> None:
        """Let go of everything."""
        await self.drain()
        if self._looking is not None:
            await cancelled([self._looking])
            self._looking = None

    async def _look_at(self, certificate: Certificate) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            certificate.look()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        began_s = self._heard_at_s = time.monotonic()
        source, outcome = "", FAILED
        is_busy = self._slots.is_full
        self._slots.taken += 1
        try:
            source, handler, rest = self._handler_of(request)
            if handler is None:
                outcome, response = NOWHERE, answers.refused(Outcome.UNKNOWN_WEBHOOK)
            else:
                outcome, response = await handler(request, rest, is_busy)
        except ConnectionError:
            outcome, response = GONE, web.Response()  # nobody reads it
        finally:
            self._slots.taken -= 1
            self._metrics.inbound(source, str(outcome), time.monotonic() - began_s)
        if outcome == Outcome.BUSY:
            self._tell_busy()
        if self._is_draining:
            response.force_close()
        if not request.content.is_eof():
            await _end_unread(request, response)
        return response

    def _handler_of(self, request: web.BaseRequest) -> tuple[str, Handler | None, str]:
        path = request.raw_path
        if not path.startswith("/"):
            path = request.rel_url.raw_path  # as a proxy is asked: with scheme and host
        path = path.partition("?")[0]
        for prefix, source, handler in self._handlers:
            if path.startswith(prefix):
                return source, handler, path[len(prefix) :]
        return "", None, path

    def _tell_busy(self) -> None:
        self._untold["busy"] += 1
        now_s = time.monotonic()
        if now_s - self._told_at_s >= TELL_PAUSE_S:
            self._told_at_s = now_s
            log.warning(
                "more inbound requests at once than inbound.max_concurrent, some are answered 503",
                times=self._untold.pop("busy"),
            )


async def _end_unread(request: web.BaseRequest, response: web.Response) -> None:
    """Answer before the body has come: read a little more of it, or the end of the connection could overtake the answer."""
    response.force_close()
    with contextlib.suppress(ConnectionError, TimeoutError, web.RequestPayloadError):
        await response.prepare(request)
        await response.write_eof()
        left = LINGER_BYTES
        async with asyncio.timeout(LINGER_S):
            while left > 0 and (part := await request.content.readany()):
                left -= len(part)


class _Server(web.Server):
    """Makes connections that bytes which are no HTTP do not make noise on."""

    def __init__(self, handler: Any, *, on_no_http: Callable[[], None], most_connections: int, **options: Any) -> None:
        super().__init__(handler, logger=_quiet_log(), **options)
        self.on_no_http = on_no_http
        self._most_connections = most_connections
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), logger=_quiet_log(), **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._most_connections:
            transport.abort()


class _Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_server",)

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What came was no HTTP (400); all else is our own mistake, and its trace is logged."""
        if status == web.HTTPBadRequest.status_code:
            self._server.on_no_http()
            response = answers.json_answer(status, b'{"outcome":"no_http","message":"The request is not valid HTTP."}')
            response.force_close()
            return response
        return super().handle_error(request, status, exc, message)


def _quiet_log() -> logging.Logger:
    return logging.getLogger("aiohttp.server")
