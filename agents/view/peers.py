"""Calls between the workers of one app: who owns which partitions, and how one asks another.

Owners are known from the group's assignment, which every worker has whole. It still names a worker that has died until the
group notices; whoever asks it gets ``UnavailableError`` at once or when the time is up.
"""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web

from agents.engine import ChunkApp
from agents.topology import Topology
from pipeline.clock import Clock
from pipeline.errors import (
    ConflictError,
    DistributaryError,
    ForbiddenError,
    InvalidChangeError,
    NotFoundError,
    SignInError,
    UnavailableError,
    ViewError,
    ViewQueryError,
)
from pipeline.view.peer_signature import (
    ANSWER_HEADER,
    NONCE_HEADER,
    RequestCheck,
    is_answer_of_a_peer,
    sign_answer,
    sign_request,
)

PREFIX: Final = "/-/"
MOST_REQUEST_BYTES: Final = 4 << 20
MOST_ANSWER_BYTES: Final = 64 << 20
STALL_S: Final = 30.0
"""How long a stream may bring nothing while somebody waits for it."""

_ERROR_MARK: Final = b"\0"  # no line of JSON begins with it
_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_ERRORS: Final = {
    each.__name__: each for each in (ViewQueryError, ForbiddenError, NotFoundError, UnavailableError, ViewError)
}

Handler = Callable[[bytes], Awaitable[bytes] | AsyncGenerator[bytes]]
"""Answers a body with a body, or with lines (without their ends). What it raises as ``ViewError`` reaches the caller."""

log = structlog.get_logger(__name__)


class SilentWorkerError(UnavailableError):
    """A worker gives no usable answer; ``why`` says so without its address."""

    def __init__(self, worker_url: str, why: str) -> None:
        super().__init__(f"{worker_url} does not answer: {why}")
        self.why = why


class Peers:
    """This worker among the others.

    ``key`` is that of :func:`pipeline.view.peer_signature.derive_key`; calls to the worker's own address do not go over the
    network. Opened and closed with the worker, on its event loop.
    """

    def __init__(self, app: ChunkApp, topology: Topology, clock: Clock, key: bytes) -> None:
        self._app = app
        self._topology = topology
        self._clock = clock
        self._key = key
        self._handlers: dict[str, Handler] = {}
        self._check: RequestCheck | None = None
        self._session: ClientSession | None = None

    # who is there

    @property
    def own_url(self) -> str:
        """Where the others reach this worker: its advertised host and its web port, as the group's assignment names it."""
        return _plain(str(self._app.conf.canonical_url))

    @property
    def partitions(self) -> range:
        """All partitions of the routed topic, and so of the tables."""
        return range(self._app.conf.topic_partitions)

    def owners(self) -> dict[str, frozenset[int]]:
        """The workers of the newest assignment, with the routed partitions that each owns; standbys count for nothing."""
        changelog = self._topology.windows.changelog_topic_name
        found = self._app.assignor.table_metadata(changelog)
        return {_plain(url): frozenset(topics.get(changelog, ())) for url, topics in found.items()}

    def owner_of(self, partition: int) -> str | None:
        """Who owns a routed partition, as far as is known."""
        return next((url for url, owned in self.owners().items() if partition in owned), None)

    def owned(self) -> frozenset[int]:
        """The routed partitions that this worker owns."""
        changelog = self._topology.windows.changelog_topic_name
        return frozenset(tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == changelog)

    @property
    def generation(self) -> int:
        """Which assignment of the group this worker works under; it grows with each."""
        return int(self._app.consumer_generation_id)

    def why_not_ready(self) -> str | None:
        """Why this worker's state does not count just now, in words; ``None`` where it does."""
        app = self._app
        reasons = (
            (app.should_stop, "it is stopping"),
            (app.rebalancing or not self.owners(), "partitions are being assigned"),
            (app.is_assignment_partial, "topics are missing from its assignment"),
            (not app.tables.actives_ready, "its tables are being recovered"),
        )
        return next((reason for is_so, reason in reasons if is_so), None)

    # asking

    async def call(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> bytes:
        """Ask the worker at ``worker_url`` and return its whole answer.

        A ``ViewError`` of the other one is raised here again. Raises ``UnavailableError`` where it does not answer in
        ``timeout_s`` seconds, or with more than ``MOST_ANSWER_BYTES``.
        """
        lines = self.stream(worker_url, path, body, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                found, size_bytes = [], 0
                async for line in lines:
                    size_bytes += len(line) + 1
                    if size_bytes > MOST_ANSWER_BYTES:
                        raise UnavailableError(f"{worker_url} answers with more than {MOST_ANSWER_BYTES >> 20} MiB")
                    found.append(line)
                return b"\n".join(found)
        except TimeoutError:
            raise SilentWorkerError(worker_url, f"nothing came within {timeout_s:g} s") from None
        finally:
            await lines.aclose()

    async def stream(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[bytes]:
        """Ask as ``call`` does, and give the answer line by line as it comes, without line ends.

        ``timeout_s`` is for the first line; afterwards the other one may be silent for ``STALL_S`` while somebody waits.
        Nothing is read ahead beyond the connection's buffer, so a slow reader slows the sender.
        """
        if _plain(worker_url) == self.own_url:
            lines = _own_lines(self._handler(path)(body))
        else:
            lines = self._remote_lines(_plain(worker_url), path, body)
        left_s = timeout_s
        try:
            while True:
                try:
                    async with asyncio.timeout(left_s):
                        line = await anext(lines, None)
                except TimeoutError:
                    raise SilentWorkerError(worker_url, f"nothing came within {left_s:g} s") from None
                if line is None:
                    return
                left_s = STALL_S
                yield line
        finally:
            await lines.aclose()

    async def _remote_lines(self, worker_url: str, path: str, body: bytes) -> AsyncGenerator[bytes]:
        target = PREFIX + path
        headers = sign_request(self._key, worker_url, target, body, self._clock.wall_s())
        try:
            async with self._client().post(
                worker_url + target, data=body, headers=headers, allow_redirects=False
            ) as answer:
                shown = answer.headers.get(ANSWER_HEADER, "")
                if answer.status != web.HTTPOk.status_code:
                    raise await _error_of(answer, worker_url)
                if not is_answer_of_a_peer(self._key, headers[NONCE_HEADER], shown):
                    raise SilentWorkerError(worker_url, "something else answers there")
                async for line in _split(answer, worker_url):
                    if line.startswith(_ERROR_MARK):
                        raise _decode_error(line.removeprefix(_ERROR_MARK), worker_url)
                    yield line
        except (ClientError, OSError) as error:
            raise SilentWorkerError(worker_url, _words(error)) from error

    def _client(self) -> ClientSession:
        if self._session is None:
            # Time-outs are the caller's: a stream may take as long as its reader.
            self._session = ClientSession(
                connector=TCPConnector(limit=0, keepalive_timeout=15.0),
                timeout=ClientTimeout(total=None, sock_connect=STALL_S),
                auto_decompress=False,
                trust_env=False,
                raise_for_status=False,
            )
        return self._session

    async def close(self) -> None:
        """Let go of all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # answering

    def serve(self, path: str, handler: Handler) -> None:
        """Have ``handler`` answer calls to ``path`` (without the prefix), from others and from here."""
        self._handlers[path] = handler

    def mount(self, web_app: web.Application) -> None:
        """Take calls on the worker's web server; before it starts."""
        web_app.router.add_post(PREFIX + "{path:.+}", self._answer)

    def _handler(self, path: str) -> Handler:
        handler = self._handlers.get(path)
        if handler is None:
            raise NotFoundError(f"workers answer no {PREFIX}{path[:80]}; do all of them run the same version?")
        return handler

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        nonce = ""
        try:
            body = await _read(request)
            if self._check is None:
                self._check = RequestCheck(self._key, self.own_url)
            nonce = self._check.admit(request.headers, request.path, body, self._clock.wall_s())
            lines = _own_lines(self._handler(request.match_info["path"])(body))
        except ViewError as error:
            return _refusal(error)
        headers = {ANSWER_HEADER: sign_answer(self._key, nonce), "Content-Type": _LINES}
        try:
            first = await anext(lines, None)
        except DistributaryError as error:
            return _refusal(_as_view_error(error))
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
            if first is not None:
                await response.write(first + b"\n")
                await self._write_rest(response, lines)
            await response.write_eof()
        finally:
            await lines.aclose()
        return response

    @staticmethod
    async def _write_rest(response: web.StreamResponse, lines: AsyncGenerator[bytes]) -> None:
        try:
            async for line in lines:
                await response.write(line + b"\n")
        except DistributaryError as error:
            await response.write(_ERROR_MARK + _encode_error(_as_view_error(error)) + b"\n")


async def _own_lines(answering: Awaitable[bytes] | AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    if inspect.isawaitable(answering):
        yield await answering
        return
    try:
        async for line in answering:
            yield line
    finally:
        await answering.aclose()


async def _split(answer: ClientResponse, worker_url: str) -> AsyncGenerator[bytes]:
    parts: list[bytes] = []
    size_bytes = 0
    async for chunk in answer.content.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*parts, line])
            parts, size_bytes = [], 0
        parts.append(rest)
        size_bytes += len(rest)
        if size_bytes > MOST_ANSWER_BYTES:
            raise UnavailableError(f"{worker_url} answers with a line of more than {MOST_ANSWER_BYTES >> 20} MiB")
    if size_bytes:
        yield b"".join(parts)


async def _read(request: web.Request) -> bytes:
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > MOST_REQUEST_BYTES:
            raise ViewQueryError(f"the request is larger than {MOST_REQUEST_BYTES >> 20} MiB")
    return bytes(found)


def _refusal(error: ViewError) -> web.Response:
    return web.Response(status=error.status, body=_encode_error(error), content_type=_JSON)


def _as_view_error(error: DistributaryError) -> ViewError:
    if isinstance(error, ViewError):
        return error
    log.error("a request of another worker cannot be answered", error=str(error))
    return ViewError(str(error))


def _encode_error(error: ViewError) -> bytes:
    problems = error.problems if isinstance(error, InvalidChangeError) else []
    told = {"error": type(error).__name__, "message": str(error), "status": error.status, "problems": problems}
    return json.dumps(told).encode()


async def _error_of(answer: ClientResponse, worker_url: str) -> ViewError:
    body = b"\n".join([line async for line in _split(answer, worker_url)])
    try:
        return _decode_error(body, worker_url)
    except (ValueError, TypeError, KeyError, AttributeError):
        return SilentWorkerError(worker_url, f"something else answers there, with {answer.status}")


def _decode_error(body: bytes, worker_url: str) -> ViewError:
    told: dict[str, Any] = json.loads(body)
    name, message = told["error"], str(told["message"])
    if name == SignInError.__name__:  # it is this worker that is refused, not whoever asked it
        return SilentWorkerError(worker_url, f"it refuses to: {message}")
    if name == ConflictError.__name__:
        return ConflictError(message, status=int(told["status"]))
    if name == InvalidChangeError.__name__:
        return InvalidChangeError([(str(key), str(problem)) for key, problem in told["problems"]])
    return _ERRORS.get(name, ViewError)(message)


def _words(error: Exception) -> str:
    reason = error.__cause__ or error
    return str(getattr(reason, "strerror", None) or error or type(error).__name__)


def _plain(url: str) -> str:
    return url.rstrip("/")
