"""Source topic to routed topic: decode, match, one frame a target partition; poison to the dead letters."""

from collections import Counter, defaultdict
from typing import Any

from agents.engine import ChunkApp
from agents.engine.outbox import Record
from agents.topology import Topology
from pipeline.ingest.route import Router
from pipeline.metrics import Metrics


def attach(app: ChunkApp, topology: Topology, router: Router, metrics: Metrics, partitions: int) -> None:
    """Declare the agent of the source topic."""
    names = topology.names

    @app.agent(topology.source, name="route")
    async def route(chunks: Any) -> None:
        async for chunk in chunks:
            routed = router.route(chunk.records, chunk.topic, chunk.partition)
            groups: defaultdict[int, list[list[Record]]] = defaultdict(list)
            for partition, frame in routed.frames:
                groups[partition].append([(None, frame)])
            for partition, frames in groups.items():
                chunk.follow(app.outbox.send(names.routed, partition, frames))
            if routed.dead:
                dead = [[(letter.key, letter.value, letter.headers())] for letter in routed.dead]
                chunk.follow(app.outbox.send(names.dead_letters, chunk.partition % partitions, dead))
                metrics.dead_letters(Counter(letter.reason for letter in routed.dead))
            metrics.routed(
                events=routed.events, matched=routed.matched, unmatched=routed.unmatched, frames=len(routed.frames)
            )
