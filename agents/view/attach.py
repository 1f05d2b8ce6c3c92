"""Puts the view together on one worker: what it asks the others with, and every page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.engine import ChunkApp
from agents.inbound.stage import Inbound
from agents.integrations import Integrations
from agents.topology import Topology
from agents.view.flow_view import FlowView
from agents.view.gather import Gather
from agents.view.inbound_view import InboundView
from agents.view.integration_acts import IntegrationActs
from agents.view.integration_view import IntegrationView
from agents.view.pages.about import AboutPage
from agents.view.pages.integration_edit import IntegrationForms
from agents.view.pages.integrations_api import IntegrationsApi
from agents.view.pages.openapi import OpenApi
from agents.view.pages.preview import PreviewPage
from agents.view.pages.sign_in import SignInPages
from agents.view.pages.sql import SqlPage
from agents.view.pages.users import Directory
from agents.view.pages.webhooks_api import WebhooksApi
from agents.view.past_events import PastEvents
from agents.view.peers import Peers
from agents.view.server import View
from agents.view.sources.sql_tables import SqlTables
from agents.view.sources.state import WorkerState
from agents.view.webhook_acts import WebhookActs
from agents.view.worker_view import WorkerView, offer_state
from agents.window import Windows
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.delivery.core import DeliveryCore
from pipeline.view.peer_signature import derive_key
from pipeline.view.sql.run import SqlRunner


@dataclass(slots=True)
class Viewing:
    """The parts of a worker's view."""

    view: View
    peers: Peers
    gather: Gather
    sql: SqlTables
    flow: FlowView
    worker: WorkerView
    integrations: IntegrationView
    inbound: InboundView

    async def open(self) -> None:
        """Begin what goes on beside the pages; the topics exist."""
        await self.sql.open()
        await self.flow.open()
        await self.worker.open()
        await self.integrations.open()

    async def close(self) -> None:
        """Let go of connections to other workers."""
        await self.integrations.close()
        await self.worker.close()
        await self.sql.close()
        await self.flow.close()
        await self.peers.close()


def attach(
    app: ChunkApp,
    topology: Topology,
    settings: Settings,
    clock: Clock,
    *,
    integrations: Integrations,
    windows: Windows,
    cores: Sequence[DeliveryCore],
    brokers: str,
    inbound: Inbound | None = None,
    directory: Directory | None = None,
) -> Viewing:
    """Build the view and put it on the worker's web server, which has not started yet.

    ``inbound`` and ``directory`` are there where something can come in.
    """
    peers = Peers(app, topology, clock, derive_key(settings.app, settings.view.shared_secrets()))
    gather = Gather(peers, clock)
    view = View(settings.view, settings.app, clock, bind=lambda: app.conf.web_bind)
    runner = SqlRunner(lambda: Path(app.conf.appdir) / "sql", settings.view.sql.limits())
    state = WorkerState(app, topology, windows, cores, lambda: integrations.snapshot, peers, clock, brokers)
    flow = FlowView(app, gather, settings, integrations, brokers=brokers, clock=clock)
    past = PastEvents(brokers, settings.topic, settings.source_epoch)
    acts = IntegrationActs(integrations, settings.outbound, past, clock)
    worker = offer_state(state, gather)
    of_integrations = IntegrationView(state, gather, worker, flow.index, acts=acts, integrations=integrations)
    webhooks = WebhookActs(integrations, settings.inbound)
    of_inbound = InboundView(app, gather, state, settings, webhooks, inbound=inbound, directory=directory)
    sql = SqlTables(gather, runner, clock)
    viewing = Viewing(view, peers, gather, sql, flow, worker, of_integrations, of_inbound)
    _add_pages(viewing, settings, clock, acts, webhooks)
    peers.mount(app.web.web_app)
    view.mount(app.web.web_app)
    app.web.use(settings.view)
    return viewing


def _add_pages(
    viewing: Viewing, settings: Settings, clock: Clock, acts: IntegrationActs, webhooks: WebhookActs
) -> None:
    """Each family of pages registers itself here, in the order of the navigation."""
    view = viewing.view
    SignInPages(view).register()
    IntegrationForms(acts).register(view)
    PreviewPage(acts).register(view)
    IntegrationsApi(acts).register(view)
    WebhooksApi(webhooks).register(view)
    OpenApi(view).register()
    viewing.integrations.register_first(view)
    viewing.flow.register(view)
    viewing.inbound.register(view)
    viewing.integrations.register_last(view)
    for pages in viewing.worker.pages:
        pages.register(view)
    if settings.view.sql.is_enabled:
        SqlPage(view, viewing.sql).register()
    view.page("/about", AboutPage(settings, lambda: view.routes, clock.wall_s()), nav="About")
