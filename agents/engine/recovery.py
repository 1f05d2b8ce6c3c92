"""Brings the stores of owned partitions up to their changelogs, through rebalances that follow each other closely.

Faust's recovery forgets nothing between two rebalances and looks up late whether another one has begun: what was fetched for an
assignment that is over could be applied to a store that had not seen what came before, even to that of another table, and a
partition that had just come could be taken for recovered. Here only chunks of the running assignment count, reading begins
at what the store holds, and nothing is called recovered whose store lacks a record.
"""

import asyncio
from typing import Any, Final

import structlog
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery
from faust.types.tuples import TP
from mode import Service

from agents.engine.table import ChunkTable

LOOK_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


class ChunkRecovery(Recovery):
    """Faust's recovery with the rules above."""

    is_superseded = False
    """Whether the next rebalance has begun: what is left of a recovery then may not end that one, nor let anything flow."""

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Note that what this recovery was for is over."""
        self.is_superseded = True
        super().on_partitions_revoked(revoked)

    def is_recovered(self, tp: TP) -> bool:
        """Whether the store holds all that the changelog held when recovery began."""
        highwater = self.active_highwaters.get(tp)
        table = self.tp_to_table.get(tp)
        if highwater is None or table is None:
            return False
        held = table.persisted_offset(tp) if isinstance(table, ChunkTable) else self.active_offsets.get(tp)
        return highwater <= (-1 if held is None else held)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Begin anew, at what the stores hold, unless another assignment has come meanwhile: that one begins anew."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        if generation_id != self.app.consumer_generation_id:
            return
        self.is_superseded = False
        self.active_highwaters.clear()
        for offsets, tps in ((self.active_offsets, self.active_tps), (self.standby_offsets, self.standby_tps)):
            for tp in tps:
                if isinstance(self.tp_to_table[tp], ChunkTable):
                    offsets[tp] = self.tp_to_table[tp].persisted_offset(tp)

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        self.signal_recovery_end.clear()

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        # Without the time limit: Faust takes it for the end of the worker, and recovers nothing ever after.
        await super()._wait(coro)
        # Faust notices another rebalance only when its assignment has come.
        if self.is_superseded or self.signal_recovery_start.is_set():
            raise RebalanceAgain

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let the stages go on, unless something is missing after all."""
        if self.is_superseded:
            return
        behind = sorted(tp for tp in self.active_tps if not self.is_recovered(tp))
        if not behind:
            await super().on_recovery_completed(generation_id)
        elif generation_id == self.app.consumer_generation_id:
            log.warning(
                "recovery begins again: an assignment came in between", partitions=len(behind), first=str(behind[0])
            )
            self._generation_id = generation_id
            self.signal_recovery_start.set()

    @Service.task
    async def _slurp_changelogs(self) -> None:
        queue = self.tables.changelog_queue
        while not self.should_stop:
            try:
                event = await asyncio.wait_for(queue.get(), timeout=LOOK_EVERY_S)
            except TimeoutError:
                event = None
            if event is not None:
                await self._apply(event)
            if self.in_recovery and not self.need_recovery():
                self._set_recovery_ended()
                self.signal_recovery_end.set()
            if not self.tables.standbys_ready and not self.standby_remaining_total():
                self.tables.on_standbys_ready()

    async def _apply(self, event: Any) -> None:
        message = event.message
        tp, offset = message.tp, message.offset
        if message.generation_id != self.app.consumer_generation_id:
            return
        for offsets, tps in ((self.active_offsets, self.active_tps), (self.standby_offsets, self.standby_tps)):
            seen = offsets.get(tp)
            if tp in tps and (seen is None or offset > seen):
                table = self.tp_to_table[tp]
                await table.on_changelog_event(event)
                table.apply_changelog_batch([event])
                offsets[tp] = offset
                return


class ChunkTableManager(TableManager):
    """Faust's table manager with that recovery."""

    def on_actives_ready(self) -> None:
        """Note that all tables are recovered, unless the next rebalance has begun meanwhile."""
        if not self.recovery.is_superseded:
            super().on_actives_ready()

    @property
    def recovery(self) -> ChunkRecovery:
        """The recovery of all tables."""
        if self._recovery is None:
            self._recovery = ChunkRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
