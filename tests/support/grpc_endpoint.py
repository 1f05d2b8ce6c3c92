"""A customer's gRPC server, as well or badly behaved as a test wants, on a loopback port.

``GrpcEndpoint(answer)`` calls ``answer(stream)`` for each stream that is opened; the makers below (``answering``, ``ending``,
...) give such functions, and ``in_turn`` puts them one after the other. What came is in ``endpoint.streams``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import (
    DeliverRequest,
    DeliverResponse,
    Event,
    EventResult,
)

SERVICE = "distributary.eventstream.v1.EventStreamService"
Status = EventResult.Status
Answering = Callable[["Stream"], Awaitable[None]]


class Stream:
    """One stream as it came: its metadata, the bytes of its messages, and the events inside."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.metadata = dict(context.invocation_metadata())
        self.peer = context.peer()
        self.caller = context.auth_context()
        self.messages: list[bytes] = []
        self.events: list[Event] = []
        self.is_cancelled = asyncio.Event()

    @property
    def uuids(self) -> list[str]:
        return [event.uuid for event in self.events]

    async def read(self) -> list[Event]:
        """The events of the next message; empty at the end."""
        content = await self.context.read()
        if not isinstance(content, bytes):
            return []
        self.messages.append(content)
        events = [*DeliverRequest.FromString(content).events]
        self.events += events
        return events

    async def read_all(self) -> list[Event]:
        while await self.read():
            pass
        return self.events

    async def answer(self, uuids: Iterable[str], status: int = Status.Success, message: str = "") -> None:
        results = [EventResult(uuid=uuid, status=status, message=message) for uuid in uuids]
        await self.context.write(DeliverResponse(results=results).SerializeToString())


def answering(**statuses: int) -> Answering:
    """Answer each event as it comes, with Success unless ``statuses`` says otherwise; ``u_1`` stands for uuid ``u-1``."""
    by_uuid = {name.replace("_", "-"): status for name, status in statuses.items()}

    async def answer(stream: Stream) -> None:
        while events := await stream.read():
            for event in events:
                await stream.answer([event.uuid], by_uuid.get(event.uuid, Status.Success))

    return answer


def ending(code: grpc.StatusCode, words: str = "", *, after: int = 0, **trailing: str) -> Answering:
    """End with a status once ``after`` events were taken; trailing metadata are written with ``_`` for ``-``."""

    async def answer(stream: Stream) -> None:
        for _ in range(after):
            await stream.answer(event.uuid for event in await stream.read())
        metadata = tuple((name.replace("_", "-"), value) for name, value in trailing.items())
        await stream.context.abort(code, words, metadata)

    return answer


def silence(*, after: int = 0) -> Answering:
    """Read everything, answer the first ``after`` events and nothing more, and leave the stream open."""

    async def answer(stream: Stream) -> None:
        for _ in range(after):
            await stream.answer(event.uuid for event in await stream.read())
        await stream.read_all()
        await asyncio.Event().wait()

    return answer


def in_turn(*answers: Answering) -> Answering:
    """One answer after the other; the last one stays."""
    waiting = list(answers)

    async def answer(stream: Stream) -> None:
        await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(stream)

    return answer


class GrpcEndpoint:
    """The server."""

    def __init__(
        self, answer: Answering, *, credentials: grpc.ServerCredentials | None = None, max_message_bytes: int = 4 << 20
    ) -> None:
        self.streams: list[Stream] = []
        self.port = 0
        self._answer = answer
        self._credentials = credentials
        self._max_message_bytes = max_message_bytes
        self._opened = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    def url(self, host: str = "127.0.0.1") -> str:
        return f"{'grpcs' if self._credentials else 'grpc'}://{host}:{self.port}"

    async def opened(self, count: int) -> None:
        """Wait, for at most five seconds, until ``count`` streams were opened."""
        async with asyncio.timeout(5), self._opened:
            await self._opened.wait_for(lambda: len(self.streams) >= count)

    async def start(self, address: str = "127.0.0.1") -> None:
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", self._max_message_bytes)]
        self._server = grpc.aio.server(options=options)
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Deliver": handler}),))
        place = f"{address}:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(place)
        else:
            self.port = self._server.add_secure_port(place, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Break everything off."""
        assert self._server is not None
        await self._server.stop(0)

    async def _serve(self, _requests: object, context: Any) -> None:
        stream = Stream(context)
        self.streams.append(stream)
        async with self._opened:
            self._opened.notify_all()
        try:
            await self._answer(stream)
        except asyncio.CancelledError:
            stream.is_cancelled.set()
            raise


@contextlib.asynccontextmanager
async def serving_grpc(answer: Answering, **options: Any) -> AsyncIterator[GrpcEndpoint]:
    """Run an endpoint for as long as the block lasts."""
    endpoint = GrpcEndpoint(answer, **options)
    await endpoint.start()
    try:
        yield endpoint
    finally:
        await endpoint.stop()
