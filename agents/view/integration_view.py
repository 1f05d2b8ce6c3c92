"""The part of a worker's view that tells of integrations and of the whole: its sources and its pages."""

from agents.integrations import Integrations
from agents.view.gather import Gather
from agents.view.index import IndexService
from agents.view.integration_acts import IntegrationActs
from agents.view.pages.audit import AuditPages
from agents.view.pages.integration import IntegrationPages
from agents.view.pages.integrations import IntegrationList
from agents.view.pages.overview import OverviewPage
from agents.view.server import View
from agents.view.sources.audit import AuditSource
from agents.view.sources.gates import GatesSource
from agents.view.sources.integrations import IntegrationsSource
from agents.view.sources.open_windows import OpenEventsSource
from agents.view.sources.rates import FlowRates, RatesSource
from agents.view.sources.recent import Recent
from agents.view.sources.state import WorkerState
from agents.view.worker_view import WorkerView


class IntegrationView:
    """Opened and closed with the worker; ``register`` adds its pages, after those of fixed names below ``/integrations``."""

    def __init__(
        self,
        state: WorkerState,
        gather: Gather,
        worker: WorkerView,
        index: IndexService,
        *,
        acts: IntegrationActs,
        integrations: Integrations,
    ) -> None:
        self._rates = FlowRates(state)
        for source in (
            IntegrationsSource(state, worker.lanes, Recent(state, index), acts),
            GatesSource(state),
            OpenEventsSource(state),
            RatesSource(state, worker.watch, self._rates),
            AuditSource(integrations, state),
        ):
            gather.offer(source)
        self._first = (
            OverviewPage(state, gather),
            IntegrationList(gather),
            IntegrationPages(state, gather, acts, integrations.record),
        )
        self._last = AuditPages(gather)

    def register_first(self, view: View) -> None:
        """The pages that the navigation begins with."""
        for pages in self._first:
            pages.register(view)

    def register_last(self, view: View) -> None:
        """The one that stands behind those of the flow."""
        self._last.register(view)

    async def open(self) -> None:
        """Begin to count."""
        await self._rates.open()

    async def close(self) -> None:
        """Count no more."""
        await self._rates.close()
