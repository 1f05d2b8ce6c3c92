"""The part of a worker's view that tells of what comes in: webhooks, Segment's calls, users."""

from typing import Final

from agents.engine import ChunkApp, ChunkTable
from agents.inbound.stage import Inbound
from agents.topology import Names
from agents.view.gather import Gather
from agents.view.inbound_parts import InboundParts
from agents.view.pages.inbound_request import InboundRequestPage
from agents.view.pages.segment import SegmentPage
from agents.view.pages.users import Directory, UserPages
from agents.view.pages.webhook import WebhookPages
from agents.view.pages.webhook_edit import WebhookForms
from agents.view.pages.webhooks import WebhookList
from agents.view.records import Records
from agents.view.server import View
from agents.view.sources.state import WorkerState
from agents.view.sources.users import UserLinksSource, UsersSource
from agents.view.sources.webhooks import InboundState, SegmentCallsSource, WebhooksSource
from agents.view.webhook_acts import WebhookActs
from pipeline.config.schema import Settings

USERS: Final = "users"
"""The table of the directory."""


class InboundView:
    """Its sources and its pages. Where nothing is taken in, pages say how that is switched on.

    ``inbound`` counts what came in, ``directory`` removes users; each is absent where nothing is taken in.
    """

    def __init__(
        self,
        app: ChunkApp,
        gather: Gather,
        state: WorkerState,
        settings: Settings,
        acts: WebhookActs,
        *,
        inbound: Inbound | None,
        directory: Directory | None,
    ) -> None:
        self._parts: InboundParts | None = None
        self._users: InboundParts | None = None
        self._directory = directory
        if inbound is None:
            return
        self._parts = parts = InboundParts(
            gather, Records(state.brokers), acts, Names(settings.app), settings, state.clock
        )
        segment = settings.segment_destination
        counted = InboundState(
            inbound,
            lambda: acts.snapshot,
            gather.peers.owned,
            lambda: settings.partitions,
            state.clock,
            [] if segment is None else [*segment.applications],
        )
        gather.offer(WebhooksSource(counted))
        if segment is not None:
            gather.offer(SegmentCallsSource(counted))
        table = app.tables.get(USERS)
        if isinstance(table, ChunkTable):
            self._users = parts
            gather.offer(UsersSource(state, table))
            gather.offer(UserLinksSource(table))

    def register(self, view: View) -> None:
        """Add the pages, in the order of the navigation; those of fixed names below ``/webhooks`` go first."""
        parts = self._parts
        WebhookList(parts).register(view)
        if parts is not None:
            pages = WebhookPages(parts)
            InboundRequestPage(parts).register(view)
            WebhookForms(parts, pages).register(view)
            pages.register(view)
        SegmentPage(parts).register(view)
        UserPages(self._users, self._directory).register(view)
