"""A sample endpoint for the sinks that speak HTTP: takes deliveries, checks and counts them, and misbehaves when told to."""

import asyncio
import random
import signal
import ssl
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from pipeline.clock import Clock, SystemClock
from pipeline.receiver.http_server import Connection, Request, head_of, response
from pipeline.receiver.kinds import reading_of, refusal_status
from pipeline.receiver.manners import GOOD, PATHS, Manners, manners_of
from pipeline.receiver.partial import split
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.record import Record
from pipeline.receiver.stats_page import bracketed, json_response, look
from pipeline.receiver.tally import Delivery, Tally
from pipeline.receiver.throttle import Throttle

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_BACKLOG: Final = 1024
_DRIP_BYTES: Final = 1_000_000
_DRIP_PAUSE_S: Final = 1.0
_FILLING: Final = b"x" * 65_536
_GARBAGE: Final = b"\x15\x03\x01 this is not HTTP \xff\xfe\r\n\r\n"


class Receiver:
    """The endpoint. ``port`` 0 takes a free one; ``url`` is known after ``start``.

    ``kind`` is that of the sink which sends. With ``verify`` every body is read and checked, with ``check_fields`` each
    event's fields too; without it bodies are thrown away and events counted by the ``distributary-sequence`` header, which
    costs a fraction. ``secrets``, ``write_key`` and ``authorization`` are what requests must prove to know (see
    ``reading_of``; a ``ValueError`` where one cannot be used). ``record`` is a file that gets a line for each delivery
    before it is answered (see ``Record``). ``manners`` is how requests are treated whose path asks for nothing else
    (see ``manners.PATHS``). ``seed`` makes failures by share repeatable.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        kind: str = "http",
        verify: bool = True,
        check_fields: bool = False,
        secrets: Sequence[str] = (),
        write_key: str | None = None,
        authorization: str | None = None,
        record: Path | None = None,
        manners: Manners = GOOD,
        tls: ssl.SSLContext | None = None,
        seed: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._reading = reading_of(
            kind,
            verify=verify,
            check_fields=check_fields,
            secrets=secrets,
            write_key=write_key,
            authorization=authorization,
        )
        self._record_path = record
        self._manners = manners
        self._tls = tls
        self._chance = random.Random(seed)  # noqa: S311  decides which requests fail, keeps no secret
        self._clock = clock or SystemClock()
        self._throttle = Throttle()
        self._tally = Tally()
        self._record: Record | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"{'https' if self._tls else 'http'}://{bracketed(self._host)}:{self._port}/"

    @property
    def stats_url(self) -> str:
        """Where the counts are."""
        return f"{self.url}stats"

    async def start(self) -> None:
        """Begin to listen; raises ``OSError`` where the port is taken or the record file cannot be written."""
        if self._record_path is not None:
            self._record = Record(self._record_path)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(
                self._handle, self._connections, keep_body=self._reading.needs_body, max_body_bytes=_MAX_BODY_BYTES
            ),
            self._host,
            self._port,
            backlog=_BACKLOG,
            ssl=self._tls,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything at once."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.close()
        if self._record is not None:
            self._record.close()
            self._record = None

    def stats(self) -> dict[str, Any]:
        """What ``GET /stats`` answers: see ``Tally.stats``."""
        return self._tally.stats()

    def _handle(self, request: Request, connection: Connection) -> None:
        if request.method != "POST":
            connection.finish(self._look(request))
            return
        self._tally.requests += 1
        try:
            manners = manners_of(request.path, self._manners)
        except ValueError as error:
            self._refuse(connection, 404, "path", str(error))
            return
        if manners.are_good:
            delivery = self._read(request, connection)
            if delivery is not None:
                self._accept(delivery)
                connection.finish(self._reading.thanks)
        else:
            self._start(self._misbehave(request, connection, manners))

    def _look(self, request: Request) -> bytes:
        answer = look(request, self._tally)
        if answer is not None:
            return answer
        known = {
            "GET /stats": "what has come",
            "DELETE /stats": "count from 0",
            "GET /health": "whether it runs",
        }
        posts = {"POST /": "deliver"} | {f"POST {path}": what for path, what in PATHS.items()}
        return json_response(200 if request.path == "/" else 404, known | posts)

    def _read(self, request: Request, connection: Connection) -> Delivery | None:
        """Check the delivery; where it is not acceptable it is answered here, and is ``None``."""
        try:
            return self._reading.read(request, self._clock.wall_s())
        except UnacceptableError as error:
            self._refuse(connection, refusal_status(error.reason), error.reason, str(error))
            return None

    def _accept(self, delivery: Delivery | None) -> None:
        """Record and count what is taken; the caller answers with 200."""
        if delivery is not None:
            if self._record is not None:
                self._record.write(delivery)
            self._tally.accept(delivery, now_s=self._clock.wall_s())
        self._tally.statuses[200] += 1

    def _refuse(self, connection: Connection, status: int, reason: str, detail: str) -> None:
        self._tally.problems[reason] += 1
        self._answer(connection, status, detail.encode())

    def _answer(self, connection: Connection, status: int, body: bytes, headers: str = "") -> None:
        self._tally.statuses[status] += 1
        connection.finish(response(status, body, headers=headers))

    async def _misbehave(self, request: Request, connection: Connection, manners: Manners) -> None:
        if manners.throttle_per_s:
            pause_s = self._throttle.pause_s(manners.throttle_per_s, self._clock.monotonic_s())
            if pause_s > 0:
                self._answer(connection, 429, b"slow down", f"Retry-After: {max(1, round(pause_s))}\r\n")
                return
        if manners.stall_s:
            await asyncio.sleep(manners.stall_s)
        if connection.is_lost:
            return  # nobody would hear the answer, so nothing was taken
        if manners.fail_share and self._chance.random() < manners.fail_share:
            self._answer(connection, manners.fail_status, b"told to fail")
            return
        await self._end(request, connection, manners)

    async def _end(self, request: Request, connection: Connection, manners: Manners) -> None:
        match manners.ending:
            case "reset":
                connection.reset()
            case "garbage":
                connection.close(_GARBAGE)
            case "redirect":
                self._answer(connection, 302, b"", f"Location: {request.path}\r\n")
            case "never":
                pass  # the connection stays as it is until the caller gives up
            case "drip":
                delivery = self._read(request, connection)
                if delivery is not None:
                    self._accept(delivery)
                    await _drip(connection)
            case "answer":
                delivery = self._read(request, connection)
                if delivery is not None and manners.partial_share:
                    self._take_part(delivery, connection, manners.partial_share)
                elif delivery is not None:
                    self._accept(delivery)
                    connection.write(head_of(200, manners.answer_bytes))
                    await _fill(connection, manners.answer_bytes)
                    connection.finish()

    def _take_part(self, delivery: Delivery, connection: Connection, share: float) -> None:
        taken, failed = split(delivery, lambda: self._chance.random() < share)
        self._tally.failed_events += len(failed)
        self._accept(taken)
        connection.finish(json_response(200, {"failed": failed}))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Runnable(Protocol):
    """What can be run until it is told to stop."""

    async def start(self) -> None:
        """Begin to listen; raises ``OSError`` where it cannot."""
        ...

    async def stop(self) -> None:
        """Close everything."""
        ...


AnyReceiver = TypeVar("AnyReceiver", bound=Runnable)


def run_receiver(receiver: AnyReceiver, *, on_ready: Callable[[AnyReceiver], None]) -> None:
    """Run ``receiver`` until SIGINT or SIGTERM; ``on_ready`` is called once it listens. Raises what ``start`` raises."""
    asyncio.run(_run(receiver, on_ready))


async def _run(receiver: AnyReceiver, on_ready: Callable[[AnyReceiver], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await receiver.start()
    try:
        on_ready(receiver)
        await stop.wait()
    finally:
        await receiver.stop()


async def _drip(connection: Connection) -> None:
    connection.write(head_of(200, _DRIP_BYTES))
    while not connection.is_lost:
        connection.write(b"x")
        await asyncio.sleep(_DRIP_PAUSE_S)


async def _fill(connection: Connection, body_bytes: int) -> None:
    while body_bytes > 0 and not connection.is_lost:
        connection.write(_FILLING[:body_bytes])
        body_bytes -= len(_FILLING)
        await connection.drained()
