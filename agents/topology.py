"""The topics and tables of the flow, and their names."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agents.engine import ChunkApp, ChunkTable, ChunkTopic
from pipeline.config.schema import Settings
from pipeline.sinks.registry import SINKS

RETENTION_S = 7 * 86400.0
"""How long the project's own topics are kept: well over the 3 days that a batch may wait, and over any stop of the workers."""
DELIVERY_TICK_S = 0.05
"""How long finished deliveries may be unrecorded: what a killed worker delivers again, beside what was in flight."""
INBOUND_TICK_S = 1.0
"""How often the inbound stage looks for rows that are no longer needed."""
MAX_RECORD_BYTES = 16 << 20
"""The largest record batch that is built, so what each topic must take: small records too are packed to more than 1 MiB."""
KEYS_ROCKSDB_OPTIONS = {"bloom_filter_size": 10, "block_cache_size": 16 << 20, "write_buffer_size": 16 << 20}
"""For a table of many small rows that are nearly always looked for in vain, as new keys are: the filter answers most."""


class Names(NamedTuple):
    """Topic names of one app."""

    app: str

    @property
    def routed(self) -> str:
        """Frames: what one chunk holds for one partition."""
        return f"{self.app}-routed"

    @property
    def attempts(self) -> str:
        """Every attempt, as JSON."""
        return f"{self.app}-attempts"

    @property
    def parked(self) -> str:
        """Batches that gave up, replayable."""
        return f"{self.app}-parked"

    @property
    def notices(self) -> str:
        """What people were told, as JSON."""
        return f"{self.app}-notices"

    @property
    def dead_letters(self) -> str:
        """Source records that cannot be used."""
        return f"{self.app}-dead-letters"

    @property
    def inbound_requests(self) -> str:
        """What came in by webhooks and Segment's calls, and what became of it, as JSON; accepted events wait in it for the stage."""
        return f"{self.app}-inbound-requests"

    @property
    def inbound(self) -> str:
        """Accepted inbound events, each once."""
        return f"{self.app}-inbound"

    @property
    def user_updates(self) -> str:
        """What was learned of users, as JSON."""
        return f"{self.app}-user-updates"

    @property
    def windows_changelog(self) -> str:
        """The changelog of table ``windows``."""
        return f"{self.app}-windows-changelog"

    @property
    def integrations_changelog(self) -> str:
        """The changelog of table ``integrations``."""
        return f"{self.app}-integrations-changelog"

    def batches(self, kind: str) -> str:
        """Sealed batches for one kind of sink."""
        return f"{self.app}-batches-{kind}"

    def pending(self, kind: str) -> str:
        """The table of batches that are not done yet."""
        return f"pending-{kind}"

    def pending_changelog(self, kind: str) -> str:
        """The changelog of :meth:`pending`."""
        return f"{self.app}-{self.pending(kind)}-changelog"


class InboundTopology(NamedTuple):
    """What there is only where something can come in: the topic of requests, the one of events, and the table of the stage."""

    requests: ChunkTopic
    events: ChunkTopic
    table: ChunkTable

    @classmethod
    def declare(
        cls, app: ChunkApp, names: Names, *, yields_to: Sequence[ChunkTopic], own: Mapping[str, Any]
    ) -> "InboundTopology":
        """Declare them; ``own`` are the options of the project's own topics, ``yields_to`` what routed events pass next."""
        return cls(
            requests=app.chunk_topic(names.inbound_requests, tick_s=INBOUND_TICK_S, **own),
            events=app.chunk_topic(names.inbound, yields_to=yields_to, **own),
            table=app.chunk_table(
                "inbound",
                help="Keys of inbound requests of the last day, and counts of what came in.",
                partitions=own["partitions"],
                extra_topic_configs=own["config"],
                options=KEYS_ROCKSDB_OPTIONS,
            ),
        )


class Topology(NamedTuple):
    """Topics and tables, declared on an app."""

    names: Names
    source: ChunkTopic
    routed: ChunkTopic
    windows: ChunkTable
    batches: dict[str, ChunkTopic]
    pending: dict[str, ChunkTable]
    integrations: ChunkTable
    inbound: InboundTopology | None
    """``None`` where neither webhooks nor Segment's calls are taken."""
    outputs: tuple[Any, ...]

    @classmethod
    def declare(cls, app: ChunkApp, settings: Settings) -> "Topology":
        """Declare all of them; the source topic keeps the partitions that it has, all others have ``settings.partitions``."""
        names, partitions = Names(settings.app), settings.partitions
        wide = {"max.message.bytes": str(MAX_RECORD_BYTES)}

        chunk = {"max_chunk_bytes": settings.worker.max_chunk_bytes, "partitions": partitions, "config": wide}
        own = {**chunk, "retention": RETENTION_S}
        kinds = [sink.kind for sink in SINKS]
        batches = {kind: app.chunk_topic(names.batches(kind), tick_s=DELIVERY_TICK_S, **own) for kind in kinds}
        routed = app.chunk_topic(names.routed, tick_s=settings.worker.tick_s, yields_to=[*batches.values()], **own)
        # What was delivered and is not recorded is what a crash delivers again.
        app.hasten(names.attempts, names.parked, *(names.pending_changelog(kind) for kind in kinds))
        next_stages = [routed, *batches.values()]
        source = app.chunk_topic(settings.topic, yields_to=next_stages, **chunk)
        return cls(
            names=names,
            source=source,
            routed=routed,
            windows=app.chunk_table(
                "windows",
                help="Open windows, and how far each lane is.",
                partitions=partitions,
                extra_topic_configs=wide,
            ),
            batches=batches,
            pending={
                kind: app.chunk_table(
                    names.pending(kind),
                    help=f"Batches of kind {kind} that are not done.",
                    partitions=partitions,
                    extra_topic_configs=wide,
                )
                for kind in kinds
            },
            # As wide as the others, so that one worker owns the partition of all: only the first partition is used.
            integrations=app.chunk_table(
                "integrations",
                help="Integrations and webhooks beside those of faust.yml, and who changed them.",
                partitions=partitions,
                extra_topic_configs=wide,
            ),
            inbound=(
                InboundTopology.declare(app, names, yields_to=next_stages, own=own) if takes_inbound(settings) else None
            ),
            outputs=tuple(
                app.topic(name, partitions=partitions, retention=RETENTION_S, config=wide)
                for name in (names.attempts, names.parked, names.dead_letters, names.notices)
            ),
        )

    async def create_topics(self) -> list[str]:
        """Create what does not exist yet of what is read or sent before Faust itself would create it; gives the names."""
        changelog = self.integrations.changelog_topic
        inbound = (self.inbound.requests, self.inbound.events) if self.inbound is not None else ()
        topics = (self.source, self.routed, *self.batches.values(), *inbound, *self.outputs, changelog)
        for topic in topics:
            await topic.maybe_declare()
        return [topic.get_topic_name() for topic in topics]


def takes_inbound(settings: Settings) -> bool:
    """Whether webhooks or Segment's calls are taken, so that there are topics for them."""
    return settings.inbound is not None
