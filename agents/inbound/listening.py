"""Puts the listener together on one worker."""

from collections.abc import Callable

from agents.engine import ChunkApp
from agents.inbound.accept import Acceptor
from agents.inbound.limits import WebhookRates
from agents.inbound.segment import BASE_PATH, SegmentCalls
from agents.inbound.server import Handler, InboundServer
from agents.inbound.webhooks import Webhooks
from agents.integrations import Integrations
from agents.topology import Topology
from agents.users.lookup import Users
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.inbound.segment.set_tags import PATH as SET_TAGS_PATH
from pipeline.inbound.settings import WEBHOOK_PATH, InboundSettings
from pipeline.metrics import Metrics


class Listening:
    """The listener of one worker and what it stands on, as ``settings.inbound`` has it."""

    def __init__(
        self,
        app: ChunkApp,
        topology: Topology,
        settings: Settings,
        *,
        inbound: InboundSettings,
        clock: Clock,
        metrics: Metrics,
        integrations: Integrations,
        users: Users,
        redis_url: str,
        share: Callable[[], float],
    ) -> None:
        self.acceptor = acceptor = Acceptor(app, topology.names.inbound_requests, settings.partitions, users.owed)
        self._rates = WebhookRates(settings.app, redis_url, clock, share, inbound.rate)
        webhooks = Webhooks(
            inbound, integrations=integrations, users=users, acceptor=acceptor, rates=self._rates, clock=clock
        )
        handlers: dict[str, tuple[str, Handler]] = {WEBHOOK_PATH: ("webhook", webhooks.answer)}
        if settings.segment_destination is not None:
            calls = SegmentCalls(
                inbound,
                settings.segment_destination,
                users=users,
                acceptor=acceptor,
                clock=clock,
                partitions=settings.partitions,
            )
            handlers[BASE_PATH] = ("segment", calls.answer)
            handlers[SET_TAGS_PATH] = ("segment", calls.answer_set_tags)
        self.server = InboundServer(inbound, handlers, metrics)

    async def open(self) -> None:
        """Listen; the topics exist, and the webhooks in force are known. Raises ``ConfigError`` where that cannot be."""
        await self._rates.open()
        await self.server.open()

    async def drain(self) -> None:
        """Take nothing new and answer what is under way, while the worker can still write."""
        await self.server.drain()

    async def close(self) -> None:
        """Let go of what is left."""
        await self.server.close()
        await self._rates.close()
