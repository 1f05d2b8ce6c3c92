"""Source ``lanes``: one row a lane, how it is and what waits in it."""

from agents.view.sources.state import LaneRows, WorkerState
from pipeline.view.columns import Column, Columns, Kind, Personal
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

OF_STATE = Column(
    "state",
    "State",
    Kind.STATE,
    "ok; retrying: a batch has failed and is tried again; failing: an integration's last try failed; breaker open: the endpoint "
    "is left alone for a while; gone: it said that it is gone; paused: the integration is disabled; removed: there is no such "
    "integration any more.",
)
FIGURES: Columns = (
    Column("matched", "Matched", Kind.INTEGER, "Events that the integration matched."),
    Column("open", "Open", Kind.INTEGER, "Events in the open window."),
    Column("waiting", "Waiting", Kind.INTEGER, "Events that are sealed and not done."),
    Column("delivered", "Delivered", Kind.INTEGER, "Events that the endpoint has taken."),
    Column("parked", "Parked", Kind.INTEGER, "Events that gave up; they can be replayed."),
    Column("discarded", "Discarded", Kind.INTEGER, "Events that gave up and are not kept."),
    Column("missing", "Missing", Kind.INTEGER, "Matched events that are nowhere: 0 wherever the ledger balances."),
)
MORE: Columns = (
    Column("opened_at", "Window opened", Kind.TIME, "When the open window took its first event."),
    Column("due_at", "Due", Kind.TIME, "When the open window is sealed at the latest."),
    Column("waiting_since", "Waiting since", Kind.TIME, "When the oldest batch that waits was sealed."),
    Column("waiting_batches", "Waiting batches", Kind.INTEGER, "Batches that are sealed and not done."),
    Column("in_flight", "In flight", Kind.INTEGER, "Batches that are being tried just now."),
    Column("retrying_batches", "Retrying", Kind.INTEGER, "Waiting batches that have failed at least once."),
    Column("parked_batches", "Parked batches", Kind.INTEGER, "Batches that gave up.", is_wide=True),
    Column("replayable_batches", "Replayable", Kind.INTEGER, "Parked batches that can be replayed.", is_wide=True),
    Column("oldest_parked_at", "Parked since", Kind.TIME, "When the oldest replayable batch was parked.", is_wide=True),
    Column(
        "delivered_batches", "Delivered batches", Kind.INTEGER, "Batches that the endpoint has taken.", is_wide=True
    ),
    Column(
        "discarded_batches", "Discarded batches", Kind.INTEGER, "Batches that gave up and are not kept.", is_wide=True
    ),
    Column("open_bytes", "Window size", Kind.BYTES, "Size of the open window's events.", is_wide=True),
    Column("resident_bytes", "In memory", Kind.BYTES, "Size of waiting batches that are in memory.", is_wide=True),
)


class LanesSource:
    """Every lane of every worker."""

    name = "lanes"
    columns: Columns = (
        Column("lane", "Lane", Kind.CODE, "An ordered sequence of events: an integration has one, or several."),
        Column("integration", "Integration", Kind.CODE, "Whose lane it is.", link="/integrations/{integration}"),
        Column("kind", "Kind", Kind.CODE, "What its endpoint speaks."),
        Column(
            "purpose",
            "Purpose",
            Kind.TEXT,
            "Why its events are sent, where it is not that they happened.",
            is_wide=True,
        ),
        OF_STATE,
        Column("partition", "Partition", Kind.INTEGER, "Where its state lives."),
        *FIGURES,
        *MORE,
        Column("max_events", "Window limit", Kind.INTEGER, "Events that seal its window.", is_wide=True),
    )
    key = "lane"
    sort = "lane"
    is_descending = False

    def __init__(self, state: WorkerState, lanes: LaneRows) -> None:
        self._state = state
        self._lanes = lanes

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find lanes."""
        by_partition = await self._lanes.read()
        return answer_of((row for rows in by_partition.values() for row in rows), query, self.columns, masks)
