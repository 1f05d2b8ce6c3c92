"""The part of a worker's view that tells of the flow: its index, its replays, their pages."""

from pathlib import Path

from agents.engine import ChunkApp
from agents.integrations import Integrations
from agents.topology import Names, takes_inbound
from agents.view.flow_parts import FlowParts
from agents.view.gather import Gather
from agents.view.index import IndexService
from agents.view.pages.attempts import AttemptPages, Requests
from agents.view.pages.batches import BatchPages
from agents.view.pages.dead_letters import DeadLetterPages
from agents.view.pages.event import EventPage
from agents.view.pages.events import EventPages
from agents.view.pages.notices import NoticePages
from agents.view.pages.parked import ParkedPages
from agents.view.pages.replays import ReplayPages
from agents.view.records import Records
from agents.view.replays import Replays, replay_sources
from agents.view.server import View
from agents.view.sources.indexed import indexed_sources
from pipeline.clock import Clock
from pipeline.config.schema import Settings


class FlowView:
    """Opened and closed with the worker; ``register`` adds its pages."""

    def __init__(
        self,
        app: ChunkApp,
        gather: Gather,
        settings: Settings,
        integrations: Integrations,
        *,
        brokers: str,
        clock: Clock,
    ) -> None:
        names, peers = Names(settings.app), gather.peers
        self.index = IndexService(
            brokers,
            names,
            peers.owned,
            lambda: Path(app.conf.datadir) / "view",
            keep=settings.view.keep,
            clock=clock,
            has_inbound=takes_inbound(settings),
        )
        self.replays = Replays(brokers, peers, clock)
        for source in (*indexed_sources(self.index), *replay_sources(self.replays, peers)):
            gather.offer(source)
        self._parts = FlowParts(gather, Records(brokers), self.replays, integrations, names, settings, clock)

    def register(self, view: View) -> None:
        """Add the pages, in the order of the navigation."""
        requests = Requests(self._parts)
        BatchPages(self._parts, requests).register(view)
        AttemptPages(self._parts, requests).register(view)
        ParkedPages(self._parts).register(view)
        DeadLetterPages(self._parts).register(view)
        ReplayPages(self._parts).register(view)
        EventPages(self._parts).register(view)
        EventPage(self._parts).register(view)
        NoticePages(self._parts).register(view)

    async def open(self) -> None:
        """Begin to fill the index; the topics exist."""
        await self.index.open()

    async def close(self) -> None:
        """Stop replays, and close the index."""
        await self.replays.close()
        await self.index.close()
