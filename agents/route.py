"""Source topic to routed topic: decode, match, one frame a target partition; poison to the dead letters.

Where events come in from outside their topic is a second source.
"""

from collections import Counter, defaultdict
from typing import Any, Final

from agents.engine import Chunk, ChunkApp
from agents.engine.packing import Record
from agents.topology import Names, Topology
from agents.users.attach import Learning
from pipeline.ingest.route import Router
from pipeline.metrics import Metrics

INBOUND_EPOCH: Final = 1
"""``source_epoch`` counts the lives of the source topic; the topic of inbound events has its own life."""


class Routing:
    """What the router makes of a chunk, sent on."""

    def __init__(self, app: ChunkApp, names: Names, router: Router, metrics: Metrics, partitions: int) -> None:
        self._app = app
        self._names = names
        self._router = router
        self._metrics = metrics
        self._partitions = partitions

    def handle(self, chunk: Chunk, source_epoch: int | None = None) -> None:
        """Route a chunk; ``source_epoch`` is that of its topic where it is another than the source topic."""
        routed = self._router.route(chunk.records, chunk.topic, chunk.partition, source_epoch)
        groups: defaultdict[int, list[list[Record]]] = defaultdict(list)
        for partition, frame in routed.frames:
            groups[partition].append([(None, frame)])
        for partition, frames in groups.items():
            chunk.follow(self._app.outbox.send(self._names.routed, partition, frames))
        if routed.dead:
            dead = [[(letter.key, letter.value, letter.headers())] for letter in routed.dead]
            chunk.follow(self._app.outbox.send(self._names.dead_letters, chunk.partition % self._partitions, dead))
            self._metrics.dead_letters(Counter(letter.reason for letter in routed.dead))
        self._metrics.routed(
            events=routed.events, matched=routed.matched, unmatched=routed.unmatched, frames=len(routed.frames)
        )


def attach(
    app: ChunkApp,
    topology: Topology,
    router: Router,
    metrics: Metrics,
    partitions: int,
    *,
    routes_inbound: bool = False,
    learning: Learning | None = None,
) -> None:
    """Declare the agent of the source topic, and that of the topic of inbound events where there is one.

    Inbound events are read in any case: those from before ``routes_inbound`` was set are not routed when it is.
    ``learning`` is told of each chunk of the source topic that was routed.
    """
    routing = Routing(app, topology.names, router, metrics, partitions)

    @app.agent(topology.source, name="route")
    async def route(chunks: Any) -> None:
        """Hand events on to the lanes of the integrations that want them."""
        async for chunk in chunks:
            routing.handle(chunk)
            if learning is not None:
                learning.finish(chunk)

    if topology.inbound is None:
        return

    @app.agent(topology.inbound.events, name="route-inbound")
    async def route_inbound(chunks: Any) -> None:
        """Hand inbound events on likewise."""
        async for chunk in chunks:
            if routes_inbound:
                routing.handle(chunk, INBOUND_EPOCH)
