"""Calls of Segment's library, whose requests travel through the worker's own HTTP client.

``segment.analytics.request.post`` builds and sends one request and blocks while it does, so it runs on a thread. The library
sends through one ``requests`` session for the whole process, which follows redirects, heeds proxy variables, has no time-out
for a request as a whole and connects anywhere. In place of that session stands ``_Carrier`` here, which hands each request
to the event loop, where the worker's client sends it: with the address guard, verified TLS and all other bounds.
"""

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Final

import requests
from segment.analytics import request as library

from pipeline.model.attempt import Outcome, Verdict
from pipeline.net.client import Answer

Carried = tuple[Outcome, Answer | None]
Carry = Callable[[bytes, Mapping[str, str]], Coroutine[Any, Any, Carried]]
"""Sends a body with headers; what came of it."""

THREADS: Final = 256
"""How many calls may be under way at once in one process: as many as a worker delivers at once, unless told otherwise."""
_SPARE_S: Final = 30.0

# What it would say is in the record of the attempt; at level debug it writes the write key.
logging.getLogger("segment").addFilter(lambda _: False)


class SharedThreads:
    """Threads for all Segment sinks of a process: made when the first one opens, ended after the last one closed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._users = 0
        self._pool: ThreadPoolExecutor | None = None

    def join(self) -> ThreadPoolExecutor:
        """The threads, for one more user."""
        with self._lock:
            self._users += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="segment")
            return self._pool

    def leave(self) -> None:
        """One user less. A call that was given up meanwhile ends by itself and is not waited for."""
        with self._lock:
            self._users -= 1
            if not self._users and self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None


class _Exchange:
    """One call: begun on a thread, carried out by the event loop."""

    def __init__(self, carry: Carry, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._carry = carry
        self._loop = loop
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._on_its_way: Future[Carried] | None = None
        self._carried: Carried | None = None

    def run(self, write_key: str, base_url: str, content: Mapping[str, Any]) -> Carried:
        """Let the library make the call; on a thread."""
        _current.set(self)
        try:
            library.post(write_key, host=base_url, timeout=self._timeout_s, **content)
        except (library.APIError, requests.RequestException):
            if self._carried is None:
                raise
        if self._carried is None:
            raise RuntimeError("segment-analytics-python did not send through the session that stands in for its own")
        return self._carried

    def answer(self, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Send the library's request and wait; on a thread."""
        with self._lock:
            if self._is_abandoned:
                raise CancelledError
            self._on_its_way = asyncio.run_coroutine_threadsafe(self._carry(body, headers), self._loop)
        outcome, answer = self._carried = self._wait(self._on_its_way)
        if answer is None:
            raise requests.ConnectionError(outcome.detail)
        # The body stays here: the library would take its time over one that is not JSON, or that nests too deep.
        response = requests.Response()
        response.status_code = answer.status
        response.encoding = "utf-8"
        response.raw = io.BytesIO()
        return response

    def _wait(self, on_its_way: Future[Carried]) -> Carried:
        # The client bounds each request; this bound is for an event loop that has stopped, so that the thread ends.
        most_s = self._timeout_s + _SPARE_S
        try:
            return on_its_way.result(most_s)
        except TimeoutError:
            on_its_way.cancel()
            return Outcome(Verdict.RETRY, f"the request was not over within {most_s:g} s", is_unanswered=True), None

    def abandon(self) -> None:
        """Hang up; nobody waits for the answer any more. On the event loop."""
        with self._lock:
            self._is_abandoned = True
        if self._on_its_way is not None:
            self._on_its_way.cancel()


class _Carrier:
    """Stands where the library has its session."""

    def post(self, url: str, *, data: str | bytes, headers: Mapping[str, str], timeout: float) -> requests.Response:  # noqa: ARG002  the exchange knows both
        """What the library calls for each request."""
        return _current.get().answer(data.encode() if isinstance(data, str) else data, headers)


async def call_segment(
    carry: Carry,
    threads: ThreadPoolExecutor,
    *,
    write_key: str,
    base_url: str,
    timeout_s: float,
    content: Mapping[str, Any],
) -> Carried:
    """Have the library make one batch call with ``content`` and send it by ``carry``; what that returned.

    ``carry`` may take ``timeout_s``. Cancelling hangs up; the thread then ends by itself.
    """
    loop = asyncio.get_running_loop()
    exchange = _Exchange(carry, loop, timeout_s)
    try:
        return await loop.run_in_executor(threads, exchange.run, write_key, base_url, content)
    except asyncio.CancelledError:
        exchange.abandon()
        raise


if not isinstance(getattr(library, "_session", None), requests.Session):
    raise ImportError(
        "segment-analytics-python has no session any more at segment.analytics.request._session, and requests would pass "
        "by the address guard; install a version of it from 2.4 on that has one"
    )
_current: ContextVar[_Exchange] = ContextVar("_current")
library._session = _Carrier()  # noqa: SLF001  the one place where the library can be told how to send
