"""Sends a worker's notices: to their topic, acknowledged, and to the operations webhook where there is one."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from agents.engine import ChunkApp
from agents.topology import Names
from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.delivery.views import LaneView
from pipeline.metrics import Metrics
from pipeline.model.integration import Integration
from pipeline.model.placement import partition_of
from pipeline.net.client import HttpClient
from pipeline.notices.delivery import DeliveryNotices, WaitWatch, look_every_s
from pipeline.notices.notice import Notice, encode_notice
from pipeline.notices.notices import Notices
from pipeline.notices.webhook import NoticeWebhook
from pipeline.sinks.base import USER_AGENT

log = structlog.get_logger(__name__)

SEND_EVERY_S = 0.5
STOP_S = 2.0
"""How long a worker that stops gives what it has still to tell; a stop must not depend on an endpoint."""


class NoticeSender:
    """Takes notices and sends them, one lot after the other. Nothing here is waited for by deliveries.

    ``notices`` is what the parts of the worker tell; ``deliveries`` is the observer to give to its delivery cores.
    """

    def __init__(
        self, app: ChunkApp, settings: Settings, *, client: HttpClient, clock: Clock, metrics: Metrics
    ) -> None:
        self._app = app
        self.client = client
        self._topic = Names(settings.app).notices
        self._partitions = settings.partitions
        self.notices = Notices(clock, on_told=metrics.noticed, on_lost=metrics.notices_lost)
        self.deliveries = DeliveryNotices(self.notices)
        self._max_wait_s: dict[str, float] = {}
        self._watch = WaitWatch(self.notices, clock, self._max_wait_s)
        self._webhook: NoticeWebhook | None = None
        if settings.notices.webhook is not None:
            self._webhook = NoticeWebhook(
                settings.notices, client, clock, app=settings.app, user_agent=USER_AGENT, on_lost=metrics.notices_lost
            )
        self._read_lanes: Callable[[], Iterable[LaneView]] = tuple
        self._tasks: list[asyncio.Task[None]] = []
        self._sending: asyncio.Future[Any] | None = None

    def watch(self, read_lanes: Callable[[], Iterable[LaneView]]) -> None:
        """Look at these lanes once a minute, and more often where an integration's ``max_wait`` is short."""
        self._read_lanes = read_lanes

    def integrations_changed(self, changes: Mapping[str, Integration | None]) -> None:
        """Go by what is in force now of these integrations."""
        for name, integration in changes.items():
            if integration is None:
                self._max_wait_s.pop(name, None)
            else:
                self._max_wait_s[name] = integration.max_wait_s

    async def open(self) -> None:
        """Begin; the client is open and the topic exists."""
        if self._webhook is not None:
            self._webhook.open()
        for running in (self._send_regularly(), self._look_regularly()):
            task = asyncio.get_running_loop().create_task(running)
            task.add_done_callback(_tell_failure)
            self._tasks.append(task)

    async def close(self) -> None:
        """Send what is left, within two seconds; before the client is closed and the outbox stops."""
        await cancelled(self._tasks)
        self._tasks.clear()
        sending = [self._send_now()]
        if self._sending is not None:
            sending.append(self._sending)
        closing = asyncio.ensure_future(self._close_webhook())
        _, late = await asyncio.wait([*sending, closing], timeout=STOP_S + 0.5)
        if late:
            log.warning("notices were not acknowledged before the stop", topic=self._topic)

    async def _close_webhook(self) -> None:
        if self._webhook is not None:
            await self._webhook.close(STOP_S)

    async def _send_regularly(self) -> None:
        while True:
            await asyncio.sleep(SEND_EVERY_S)
            # While the broker is away one lot waits for it, and what comes meanwhile waits where it is bounded.
            self._sending = self._send_now()
            await asyncio.shield(self._sending)
            self._sending = None

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(look_every_s(self._max_wait_s.values()))
            self._watch.check(self._read_lanes())

    def _send_now(self) -> "asyncio.Future[Any]":
        sent = [self._send(notice) for notice in self.notices.take()]
        return asyncio.gather(*sent)

    def _send(self, notice: Notice) -> "asyncio.Future[None]":
        if self._webhook is not None:
            self._webhook.offer(notice)
        key = notice.integration or notice.webhook or ""
        record = (key.encode(), encode_notice(notice))
        return self._app.outbox.send(self._topic, partition_of(key, self._partitions), [[record]])


def _tell_failure(task: "asyncio.Task[None]") -> None:
    # Deliveries go on without notices; but somebody has to know.
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("notices are not sent any more, restart the worker", error=repr(error), exc_info=error)
