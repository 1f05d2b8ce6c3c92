"""Source ``rates``: how many events a second come in, match, are delivered and give up."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from agents.view.sources.offsets import OffsetWatch
from agents.view.sources.state import WorkerState
from pipeline.cancelling import cancelled
from pipeline.delivery.rows import Fate
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

LOOK_EVERY_S: Final = 5.0
OVER_S: Final = 30.0


class _Look(NamedTuple):
    """Events since the beginning, of the partitions that were here then."""

    at_s: float
    partitions: frozenset[int]
    matched: int
    delivered: int
    failed: int


class FlowRates:
    """Looks at the counters of all lanes every five seconds."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._looks: deque[_Look] = deque(maxlen=int(OVER_S / LOOK_EVERY_S) + 1)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look; on the worker's event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            await cancelled([task])

    def figures(self) -> tuple[float | None, float | None, float | None]:
        """Events a second that match, are delivered and give up; ``None`` where partitions have just moved."""
        if not self._looks:
            return None, None, None
        last = self._looks[-1]
        first = next(look for look in self._looks if look.partitions == last.partitions)
        took_s = last.at_s - first.at_s
        if took_s <= 0:
            return None, None, None
        pairs = zip(first[2:], last[2:], strict=True)
        # A replay takes events back out of "parked", so that a figure may fall.
        matched, delivered, failed = (round(max(0.0, (after - before) / took_s), 2) for before, after in pairs)
        return matched, delivered, failed

    async def _run(self) -> None:
        while True:
            look = await self._look()
            if self._looks and self._looks[-1].partitions != look.partitions:
                self._looks.clear()
            self._looks.append(look)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> _Look:
        state, turns = self._state, Turns()
        here = state.restored()
        matched = delivered = failed = 0
        for partition in sorted(here):
            stage = state.windows.stages.get(partition)
            if stage is not None:
                matched += stage.appended
            for core in state.cores:
                for lane in list(core.pending_lanes(partition)):
                    events = lane.counts.events
                    delivered += events[Fate.DELIVERED]
                    failed += events[Fate.PARKED] + events[Fate.DISCARDED]
                    await turns.pause()
        return _Look(state.clock.monotonic_s(), here, matched, delivered, failed)


class RatesSource:
    """One row a worker."""

    name = "rates"
    columns: Columns = (
        Column("worker", "Worker", Kind.CODE, "Whose rates these are.", link="/workers/{worker}"),
        Column("arriving_s", "Arriving, events/s", Kind.NUMBER, "Source records that come in, over ten seconds."),
        Column("taken_s", "Taken, events/s", Kind.NUMBER, "Source records that were worked off, over ten seconds."),
        Column("matched_s", "Matched, events/s", Kind.NUMBER, "Events that matched an integration, over thirty seconds."),
        Column("delivered_s", "Delivered, events/s", Kind.NUMBER, "Events that endpoints took, over thirty seconds."),
        Column("failed_s", "Gave up, events/s", Kind.NUMBER, "Events that were parked or discarded, over thirty seconds."),
    )  # fmt: skip
    key = "worker"
    sort = "worker"
    is_descending = False

    def __init__(self, state: WorkerState, watch: OffsetWatch, rates: FlowRates) -> None:
        self._state = state
        self._watch = watch
        self._rates = rates

    def partitions(self) -> frozenset[int]:
        """Those that it owns."""
        return self._state.peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Tell of this worker."""
        source = self._state.topology.source.get_topic_name()
        standings = [each for tp, each in self._watch.standings().items() if tp.topic == source]
        arriving = [each.arriving_s for each in standings if each.arriving_s is not None]
        taken = [each.committed_s for each in standings if each.committed_s is not None]
        matched, delivered, failed = self._rates.figures()
        row: Row = {
            "worker": self._state.peers.own_url,
            "arriving_s": round(sum(arriving), 2) if arriving else None,
            "taken_s": round(sum(taken), 2) if taken else None,
            "matched_s": matched,
            "delivered_s": delivered,
            "failed_s": failed,
        }
        return answer_of([row], query, self.columns, masks)
