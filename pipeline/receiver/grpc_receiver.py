"""A sample endpoint for the gRPC sink: takes streams, answers each event, counts, and misbehaves when told to."""

import asyncio
import errno
import hmac
import random
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from pipeline.clock import Clock, SystemClock
from pipeline.net.grpc_wakeups import drained_wakeups
from pipeline.receiver.grpc_intake import Intake, place_of
from pipeline.receiver.http_server import Connection, Request
from pipeline.receiver.manners import GOOD, Manners
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.record import Record
from pipeline.receiver.stats_page import bracketed, json_response, look
from pipeline.receiver.tally import Tally
from pipeline.receiver.throttle import Throttle
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverResponse, Event, EventResult

SERVICE: Final = "distributary.eventstream.v1.EventStreamService"
METHOD: Final = "Deliver"
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
_ANSWER_PAUSE_S: Final = 0.005
_DRIP_PAUSE_S: Final = 1.0
_STOP_GRACE_S: Final = 0.0
_SHORTEST_PING_MS: Final = 1000
_GARBAGE: Final = b"\xff\xff this is no message"
_ENDINGS: Final = frozenset({"answer", "never", "reset", "garbage", "drip"})
_CODES: Final = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

Context = grpc.aio.ServicerContext[bytes, bytes]


def code_of(http_status: int) -> grpc.StatusCode:
    """The gRPC status that stands for an HTTP status, so that the same word makes any receiver fail."""
    if http_status in _CODES:
        return _CODES[http_status]
    is_callers_fault = http_status < HTTPStatus.INTERNAL_SERVER_ERROR
    return grpc.StatusCode.INVALID_ARGUMENT if is_callers_fault else grpc.StatusCode.UNKNOWN


class GrpcReceiver:
    """The endpoint. ``port`` 0 takes a free one; ``url`` is known after ``start``.

    With ``verify`` every event is checked. ``authorization`` is the metadata value that streams must show. ``record`` is a
    file that gets a line for each message before its events are answered (see ``Record``); a line's id names its events,
    ``LANE:FIRST-END``. ``max_message_bytes`` is the largest message that is taken.

    ``manners`` are those of the HTTP receiver, for streams instead of requests: ``throttle_per_s`` ends those beyond with
    RESOURCE_EXHAUSTED, ``fail_share`` ends them with the code that stands for ``fail_status``, ``partial_share`` is the share
    of events that are answered with ``Failed``; ``silent_share`` is that of events that are not answered. Endings: ``never``
    reads but never answers, ``reset`` breaks off once some events are taken, ``garbage`` answers what is no message, ``drip``
    answers one event a second. ``seed`` makes shares repeatable.

    ``stats_port`` is where ``GET /stats`` is answered over HTTP (0: a free port); ``None`` means nowhere.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        verify: bool = True,
        authorization: str | None = None,
        record: Path | None = None,
        manners: Manners = GOOD,
        silent_share: float = 0.0,
        credentials: grpc.ServerCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        stats_port: int | None = None,
        seed: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if manners.ending not in _ENDINGS:
            raise ValueError(f"a gRPC stream cannot end in {manners.ending}; it can in {', '.join(sorted(_ENDINGS))}")
        self._host = host
        self._port = port
        self._verify = verify
        self._authorization = authorization
        self._record_path = record
        self._manners = manners
        self._silent_share = silent_share
        self._credentials = credentials
        self._max_message_bytes = max_message_bytes
        self._stats_port = stats_port
        self._chance = random.Random(seed)  # noqa: S311  decides which events fail, keeps no secret
        self._clock = clock or SystemClock()
        self._throttle = Throttle()
        self._tally = Tally()
        self._record: Record | None = None
        self._server: grpc.aio.Server | None = None
        self._page: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"{'grpcs' if self._credentials else 'grpc'}://{bracketed(self._host)}:{self._port}/"

    @property
    def stats_url(self) -> str | None:
        """Where the counts are, over HTTP."""
        return None if self._stats_port is None else f"http://{bracketed(self._host)}:{self._stats_port}/stats"

    async def start(self) -> None:
        """Begin to listen; raises ``OSError`` where a port is taken or the record file cannot be written."""
        if self._record_path is not None:
            self._record = Record(self._record_path)
        with drained_wakeups():
            server = grpc.aio.server(
                options=[
                    ("grpc.so_reuseport", 0),
                    ("grpc.max_receive_message_length", self._max_message_bytes),
                    ("grpc.http2.min_recv_ping_interval_without_data_ms", _SHORTEST_PING_MS),
                    ("grpc.keepalive_permit_without_calls", 1),
                ]
            )
        handler: Any = grpc.stream_stream_rpc_method_handler(self._deliver)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        address = f"{bracketed(self._host)}:{self._port}"
        try:
            if self._credentials is None:
                self._port = server.add_insecure_port(address)
            else:
                self._port = server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise _reason_not_to_listen(self._host, self._port) from error
        await server.start()
        self._server = server
        if self._stats_port is not None:
            self._page = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._look, self._connections, keep_body=False, max_body_bytes=0),
                self._host,
                self._stats_port,
            )
            self._stats_port = self._page.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything at once."""
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_S)
            self._server = None
        if self._page is not None:
            self._page.close()
            self._page = None
        for connection in list(self._connections):
            connection.close()
        if self._record is not None:
            self._record.close()
            self._record = None

    def stats(self) -> dict[str, Any]:
        """What ``GET /stats`` answers: see ``Tally.stats``. A stream counts when it ends; ``statuses`` are gRPC's numbers."""
        return self._tally.stats()

    def _look(self, request: Request, connection: Connection) -> None:
        answer = look(request, self._tally)
        connection.finish(json_response(404, {"GET /stats": "what has come"}) if answer is None else answer)

    # One stream

    async def _deliver(self, _requests: object, context: Context) -> None:
        self._tally.requests += 1
        metadata = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        expected = self._authorization
        if expected is not None and not hmac.compare_digest(
            metadata.get("authorization", "").encode(), expected.encode()
        ):
            await self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, "authorization", "authorization is not valid")
        try:
            intake = Intake(place_of(metadata, verify=self._verify), verify=self._verify)
        except UnacceptableError as error:
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error.reason, str(error))
        await self._misbehave(context)
        try:
            await self._serve(context, intake)
        except UnacceptableError as error:
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error.reason, str(error))
        finally:
            if not intake.is_empty:
                self._tally.accept(intake.delivery(), now_s=self._clock.wall_s())
                if self._record is not None:
                    self._record.end(intake.names())
        self._tally.statuses[0] += 1

    async def _misbehave(self, context: Context) -> None:
        manners = self._manners
        if manners.throttle_per_s:
            pause_s = self._throttle.pause_s(manners.throttle_per_s, self._clock.monotonic_s())
            if pause_s > 0:
                trailing = (("retry-after", str(max(1, round(pause_s)))),)
                await self._end(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", trailing)
        if manners.stall_s:
            await asyncio.sleep(manners.stall_s)
        if manners.fail_share and self._chance.random() < manners.fail_share:
            await self._end(context, code_of(manners.fail_status), "told to fail")

    async def _serve(self, context: Context, intake: Intake) -> None:
        answering = asyncio.get_running_loop().create_task(self._answer(context, intake))
        try:
            while isinstance(content := await context.read(), bytes):
                events = intake.read(content)
                if self._manners.ending != "never":
                    self._take(intake, events)
                if self._manners.ending == "reset" and not intake.is_empty:
                    await self._end(context, grpc.StatusCode.UNAVAILABLE, "told to break off")
            if self._manners.ending == "never":
                await asyncio.Event().wait()
            intake.end()
            await answering
        finally:
            answering.cancel()

    def _take(self, intake: Intake, events: Sequence[Event]) -> None:
        if self._manners.partial_share or self._silent_share:
            chances = [(event, self._chance.random()) for event in events]
            silent, failing = self._silent_share, self._silent_share + self._manners.partial_share
            failed = [event for event, chance in chances if silent <= chance < failing]
            events = [event for event, chance in chances if chance >= failing]
            self._tally.failed_events += len(failed)
            intake.answer(failed, EventResult.Failed, "told to fail")
        deliveries = intake.take(events)
        if self._record is not None:
            for delivery in deliveries:
                self._record.write(delivery)

    async def _answer(self, context: Context, intake: Intake) -> None:
        """Answer as much as has come, in few messages, since each costs the sender as much as it costs here."""
        while not intake.is_ended or intake.results:
            await intake.wake.wait()
            intake.wake.clear()
            if not intake.is_ended:
                await asyncio.sleep(_ANSWER_PAUSE_S)
            results, intake.results = intake.results, []
            match self._manners.ending:
                case "garbage":
                    await context.write(_GARBAGE)
                case "drip":
                    for result in results:
                        await context.write(DeliverResponse(results=[result]).SerializeToString())
                        await asyncio.sleep(_DRIP_PAUSE_S)
                case _ if results:
                    await context.write(DeliverResponse(results=results).SerializeToString())

    async def _refuse(self, context: Context, code: grpc.StatusCode, reason: str, detail: str) -> None:
        self._tally.problems[reason] += 1
        await self._end(context, code, detail)

    async def _end(
        self, context: Context, code: grpc.StatusCode, detail: str, trailing: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._tally.statuses[code.value[0]] += 1
        await context.abort(code, detail, trailing)


def _reason_not_to_listen(host: str, port: int) -> OSError:
    """Why gRPC could not listen, which it does not say itself."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return OSError(errno.EADDRNOTAVAIL, "gRPC cannot listen there")
    except OSError as error:
        return error
