"""Notices to the operations webhook: with retries of their own, and never in the way of deliveries."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from multidict import CIMultiDict

from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.net.client import Endpoint, HttpClient, NoAnswer
from pipeline.net.retry_after import retry_after_s
from pipeline.notices.notice import Notice, webhook_body
from pipeline.notices.settings import NoticeSettings

log = structlog.get_logger(__name__)

DELAYS_S: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
_LONGEST_PAUSE_S: Final = 600.0
_MOST_WAITING: Final = 100
_TIMEOUT_S: Final = 10.0
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_FIRST_OF_5XX: Final = 500
_TAKEN: Final = range(200, 300)


class NoticeWebhook:
    """POSTs notices one after the other, in order. Made where ``settings`` name a webhook.

    A notice that is not taken is tried again after 1 s, 5 s, 30 s, 2 min and 10 min, longer where ``Retry-After`` asks for
    it, and then given up. At most 100 wait meanwhile; beyond that the oldest is given up. ``on_lost`` is called with how
    many were.
    """

    def __init__(
        self,
        settings: NoticeSettings,
        client: HttpClient,
        clock: Clock,
        *,
        app: str,
        user_agent: str,
        on_lost: Callable[[int], None] = lambda _count: None,
        delays_s: tuple[float, ...] = DELAYS_S,
    ) -> None:
        assert settings.webhook is not None, "made only where there is one"
        self._url = settings.webhook
        self._client = client
        self._clock = clock
        self._app = app
        self._headers = {"Content-Type": "application/json", "User-Agent": user_agent}
        if settings.authorization is not None:
            self._headers["Authorization"] = settings.authorization.get_secret_value()
        self._on_lost = on_lost
        self._delays_s = delays_s
        self._waiting: deque[Notice] = deque()
        self._has_work = asyncio.Event()
        self._is_closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to send; on the event loop of the client, which is open."""
        endpoint = self._client.endpoint(self._url, timeout_s=_TIMEOUT_S)
        self._task = asyncio.get_running_loop().create_task(self._send_all(endpoint))

    def offer(self, notice: Notice) -> None:
        """Send it as soon as those before it are done with."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._lose(1, "too many wait")
        self._waiting.append(notice)
        self._has_work.set()

    async def close(self, deadline_s: float) -> None:
        """Give what waits ``deadline_s`` seconds, with no more pauses, then stop."""
        if self._task is None:
            return
        self._is_closing.set()
        self._has_work.set()
        await asyncio.wait([self._task], timeout=deadline_s)
        await cancelled([self._task])
        if self._waiting:
            self._lose(len(self._waiting), "the worker stops")

    async def _send_all(self, endpoint: Endpoint) -> None:
        while self._waiting or not self._is_closing.is_set():
            if not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
                continue
            notice = self._waiting[0]
            refusal = await self._send(endpoint, notice)
            if self._waiting and self._waiting[0] is notice:  # else it was given up for newer ones meanwhile
                self._waiting.popleft()
                if refusal:
                    self._lose(1, refusal)

    async def _send(self, endpoint: Endpoint, notice: Notice) -> str:
        """Try until it is taken; gives why it was not, in the end."""
        body = webhook_body(notice, self._app)
        for delay_s in (*self._delays_s, None):
            is_last = delay_s is None or self._is_closing.is_set()
            answer = await self._client.post(endpoint, self._headers_of(notice), body)
            if isinstance(answer, NoAnswer):
                refusal, may_retry, asked_s = answer.detail, True, None
            elif answer.status in _TAKEN:
                return ""
            else:
                refusal = f"it answered {answer.status}"
                may_retry = answer.status in _TRY_AGAIN or answer.status >= _FIRST_OF_5XX
                asked_s = retry_after_s(answer.retry_after, now_s=self._clock.wall_s(), longest_s=_LONGEST_PAUSE_S)
            if is_last or not may_retry:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_closing.wait(), max(delay_s or 0.0, asked_s or 0.0))
        return refusal

    def _headers_of(self, notice: Notice) -> CIMultiDict[str]:
        headers = CIMultiDict(self._headers)
        headers["webhook-id"] = notice.id
        headers["webhook-timestamp"] = str(int(self._clock.wall_s()))
        return headers

    def _lose(self, count: int, why: str) -> None:
        log.warning("notices did not reach the operations webhook", notices=count, reason=why)
        self._on_lost(count)
