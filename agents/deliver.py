"""Batches to endpoints: one agent a kind of sink, all on the same delivery core."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from agents.engine import Chunk, ChunkApp, Hold
from agents.integrations import Integrations
from agents.topology import DELIVERY_TICK_S, Topology
from pipeline.delivery.core import DeliveryCore
from pipeline.model.batch import decode_batch
from pipeline.sinks.base import Leaving

SETTLE_S = 1.0
"""How long a partition that leaves waits for requests on the way, so that they are not sent again by its next owner."""
LAST_SETTLE_S = 3.0
"""The same where the worker itself stops: nobody but its own partitions waits for that."""


class Delivery:
    """One kind's delivery core, fed with batch records. At each tick what happened is recorded, when its turn to be sent comes.

    A chunk of batches is held until that is stored: by then most are delivered and need no row of their own.
    """

    def __init__(
        self,
        app: ChunkApp,
        topology: Topology,
        core: DeliveryCore,
        integrations: Integrations,
        leaving: Leaving,
    ) -> None:
        self._app = app
        self._topology = topology
        self._integrations = integrations
        self._leaving = leaving
        self.kind = core.kind
        self._table = topology.pending[core.kind]
        self.core = core
        self._restored: set[int] = set()
        self._holds: dict[int, list[Hold]] = {}
        self._due: set[int] = set()
        """Partitions that are recorded when it is their turn."""
        self._storing: set[asyncio.Future[Any]] = set()
        self._admitting = asyncio.Lock()
        self._is_informed = False
        """Whether all is known of integrations that was when the partitions came."""
        app.before_release(self._settle)
        app.on_partitions_revoked.connect(self._forget)

    def restore(self, partition: int) -> None:
        """Load the partition's rows the first time that it is seen."""
        if partition not in self._restored:
            self._restored.add(partition)
            self.core.restore(partition, self._table.rows(partition))

    async def take(self, chunk: Chunk) -> None:
        """Hand a chunk's batches to the core; at a tick, ask for a turn to record.

        The partition is restored first where it was not. All of it is one step for ``_settle``: what was begun before the
        partitions leave is recorded, and nothing begins after that.
        """
        async with self._admitting:
            if not self._is_informed:
                # What waits in the partitions that came may belong to integrations that this worker has not heard of.
                await self.meanwhile_recording(self._integrations.caught_up())
                self._is_informed = True
            self.restore(chunk.partition)
            if chunk.is_tick:
                self._record_in_turn(chunk.partition)
                return
            batches = [decode_batch(record.value) for record in chunk.records]
            if not all(batch.integration_id in self._integrations.snapshot for batch in batches):
                await self.meanwhile_recording(self._integrations.caught_up())
            for record, batch in zip(chunk.records, batches, strict=True):
                self.core.admit(chunk.partition, record.offset, batch)
            self._holds.setdefault(chunk.partition, []).append(chunk.hold())

    def record(self, partition: int) -> None:
        """Write what happened since the last call, if anything did."""
        holds = self._holds.pop(partition, [])
        if not holds and not self.core.has_writes(partition):
            return
        writes = self.core.take(partition)
        names, outbox = self._topology.names, self._app.outbox
        attempts = outbox.send(names.attempts, partition, [[record] for record in writes.attempts])
        # What is parked has left its lane's rows, so it must be there before them; of an attempt the rows know all that matters.
        parked = outbox.send(names.parked, partition, [[record] for record in writes.parked])
        rows = self._table.write(partition, writes.groups, beside=[attempts])
        rows_of_parked = self._table.write(partition, writes.groups_after_parked, after=[parked], beside=[attempts])
        stored = asyncio.gather(attempts, rows, rows_of_parked)

        def on_stored(done: "asyncio.Future[Any]") -> None:
            self._storing.discard(stored)
            for hold in holds:
                hold.release()
            if not done.cancelled():
                self.core.recorded(writes)

        self._storing.add(stored)
        stored.add_done_callback(on_stored)

    def _record_in_turn(self, partition: int) -> None:
        """Record as soon as it can be sent, and then all that is done by then."""
        if partition not in self._due and (partition in self._holds or self.core.has_writes(partition)):
            self._due.add(partition)
            # The rows are what keeps a batch from being sent again; attempts without them are not waited for.
            self._app.outbox.call_in_turn(
                self._table.changelog_topic_name, partition, partial(self._on_turn, partition)
            )

    def _on_turn(self, partition: int) -> None:
        if partition in self._due:
            self._due.remove(partition)
            self.record(partition)

    async def room(self) -> None:
        """Wait while the core has its hands full."""
        await self.meanwhile_recording(self.core.room())

    async def meanwhile_recording(self, awaited: Coroutine[Any, Any, None]) -> None:
        """Wait, and record what happens in the meantime: the ticks that do it otherwise stand behind this chunk."""
        waiting = asyncio.ensure_future(awaited)
        try:
            while not (await asyncio.wait([waiting], timeout=DELIVERY_TICK_S))[0]:
                for partition in self._restored:
                    self._record_in_turn(partition)
        finally:
            waiting.cancel()
        await waiting

    async def _settle(self) -> None:
        async with self._admitting:  # what is half taken in would wait for a tick that does not come any more
            self._leaving.is_on = True
        # No tick comes any more, and a worker may be killed now as at any other time.
        await self.meanwhile_recording(self.core.settle(LAST_SETTLE_S if self._app.should_stop else SETTLE_S))
        self._due.clear()
        for partition in self._restored:
            self.record(partition)
        if self._storing:
            await asyncio.wait(self._storing)

    async def _forget(self, *_args: Any, **_options: Any) -> None:
        for partition in self._restored:
            self.core.revoke(partition)
        self._leaving.is_on = False
        self._restored.clear()
        self._is_informed = False
        self._holds.clear()
        self._due.clear()


def attach(
    app: ChunkApp, topology: Topology, core: DeliveryCore, *, integrations: Integrations, leaving: Leaving
) -> Delivery:
    """Declare the agent of one kind's batches topic."""
    delivery = Delivery(app, topology, core, integrations, leaving)

    @app.agent(topology.batches[core.kind], name=core.kind)
    async def deliver(chunks: Any) -> None:
        """Deliver batches to integrations of this kind."""
        async for chunk in chunks:
            await delivery.take(chunk)
            if not chunk.is_tick:
                await delivery.room()

    return delivery
