"""What the sources read of the worker that they run in, and its lanes as rows."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.engine import ChunkApp
from agents.topology import Topology
from agents.view.peers import Peers
from agents.window import Windows
from pipeline.clock import Clock
from pipeline.delivery.core import DeliveryCore
from pipeline.integrations.snapshot import Snapshot
from pipeline.model.batch import integration_of
from pipeline.model.integration import Integration
from pipeline.model.placement import partition_of
from pipeline.view.columns import Row
from pipeline.view.formats.pace import Turns
from pipeline.view.lane_rows import empty_row, figures_of, lane_row

SNAPSHOT_S: Final = 0.5
"""How long what was read of the lanes serves: the tables of one page, and of pages at once, share it."""
COST_SHARE: Final = 20
"""It serves this many times as long as it took to read: however many look, and however many lanes there are, that is cheap."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The parts of a worker that know something. ``snapshot`` gives the integrations in force, ``brokers`` are Kafka's."""

    app: ChunkApp
    topology: Topology
    windows: Windows
    cores: Sequence[DeliveryCore]
    snapshot: Callable[[], Snapshot]
    peers: Peers
    clock: Clock
    brokers: str

    def integration(self, name: str) -> Integration | None:
        """An integration in force."""
        entry = self.snapshot().get(name)
        return None if entry is None else entry.integration

    def restored(self) -> frozenset[int]:
        """The owned partitions whose state all stages have taken up: the others come with their first tick."""
        here = self.peers.owned() & self.windows.stages.keys()
        for core in self.cores:
            here &= core.partitions()
        return here


class LaneRows:
    """The rows of all lanes of this worker, read at most twice a second; with ten thousand lanes, every few seconds.

    A partition is read in one go, so that what one stage sealed and the other has not seen is known; between partitions
    others have their turn.
    """

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._rows: dict[int, list[Row]] = {}
        self._until_s = -math.inf
        self._reading = asyncio.Lock()

    async def read(self) -> Mapping[int, Sequence[Row]]:
        """The rows by partition; not to be changed."""
        clock = self._state.clock
        async with self._reading:
            began_s = clock.monotonic_s()
            if began_s > self._until_s or self._rows.keys() != self._state.restored():
                self._rows = await self._read()
                now_s = clock.monotonic_s()
                self._until_s = now_s + max(SNAPSHOT_S, COST_SHARE * (now_s - began_s))
            return self._rows

    async def _read(self) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        turns = Turns()
        for partition in sorted(self._state.restored()):
            stage = self._state.windows.stages.get(partition)
            if stage is None:
                continue  # it left meanwhile
            figures = figures_of(
                partition, stage.lanes(), [(core.kind, core.lanes(partition)) for core in self._state.cores]
            )
            rows = found[partition] = []
            for each in figures:
                rows.append(lane_row(each, self._state.integration(integration_of(each.lane))))
                await turns.pause()
        return found


class IntegrationPlaces:
    """Which integrations in force are at home in which partition, by their main lane."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._of: Snapshot | None = None
        self._by_partition: dict[int, list[Integration]] = {}

    def rows_of(self, partitions: Iterable[int]) -> Iterable[Row]:
        """A row without events for each integration at home there, so that those that nothing has matched are listed too."""
        snapshot = self._state.snapshot()
        if snapshot is not self._of:
            self._of, self._by_partition = snapshot, {}
            count = len(self._state.peers.partitions)
            for integration in snapshot.integrations:
                self._by_partition.setdefault(partition_of(integration.id, count), []).append(integration)
        for partition in partitions:
            for integration in self._by_partition.get(partition, ()):
                yield empty_row(integration, partition)
