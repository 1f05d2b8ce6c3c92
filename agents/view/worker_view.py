"""What a worker tells of itself in the view: the sources of its state, and the pages that show them."""

from dataclasses import dataclass

from agents.view.gather import Gather
from agents.view.pages.tables import TablePages
from agents.view.pages.topics import TopicPages
from agents.view.pages.workers import WorkerPages
from agents.view.sources.lanes import LanesSource
from agents.view.sources.ledger import HoursSource, HourTotalsSource, LedgerSource, LedgerTotalsSource
from agents.view.sources.offsets import OffsetWatch
from agents.view.sources.partitions import PartitionsSource
from agents.view.sources.state import LaneRows, WorkerState
from agents.view.sources.tables import TableSource, TablesSource, chunk_tables
from agents.view.sources.topics import TopicFigures, TopicPartitionsSource, TopicsSource
from agents.view.sources.workers import WorkersSource


@dataclass(slots=True)
class WorkerView:
    """The parts that live as long as the worker; ``open`` when its topics exist, ``close`` before its loop ends.

    ``pages`` are in the order of the navigation, each with ``register(view)``. ``lanes`` are for sources of others.
    """

    lanes: LaneRows
    watch: OffsetWatch
    figures: TopicFigures
    pages: tuple[TablePages, TopicPages, WorkerPages]

    async def open(self) -> None:
        """Begin to watch offsets."""
        await self.watch.open()
        await self.figures.open()

    async def close(self) -> None:
        """Let go of Kafka."""
        await self.watch.close()
        await self.figures.close()


def offer_state(state: WorkerState, gather: Gather) -> WorkerView:
    """Offer every source of the worker's own state; when all tables are declared."""
    watch = OffsetWatch(state.app, state.brokers, state.clock)
    figures = TopicFigures(state)
    lanes = LaneRows(state)
    gather.offer(LanesSource(state, lanes))
    gather.offer(LedgerSource(state, lanes))
    gather.offer(LedgerTotalsSource(state, lanes))
    gather.offer(HoursSource(state))
    gather.offer(HourTotalsSource(state))
    gather.offer(WorkersSource(state, watch))
    gather.offer(PartitionsSource(state, watch))
    gather.offer(TopicsSource(figures, state))
    gather.offer(TopicPartitionsSource(figures, state))
    gather.offer(TablesSource(state))
    for table in chunk_tables(state):
        gather.offer(TableSource(state, table))
    pages = (TablePages(state, gather), TopicPages(state, gather, figures), WorkerPages(state, gather))
    return WorkerView(lanes, watch, figures, pages)
