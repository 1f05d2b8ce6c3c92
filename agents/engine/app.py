"""The Faust app with chunk topics, chunk tables, an outbox and ticks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Any

import faust
import structlog
from faust.exceptions import ConsumerNotStarted
from faust.types.tuples import TP
from yarl import URL

from agents.engine.agent import ChunkAgent
from agents.engine.assignor import ChunkAssignor, torn_topics
from agents.engine.chunk import Chunk
from agents.engine.deadline import STOP_DEADLINE_S, ends_within
from agents.engine.flow_control import ChunkFlowControl
from agents.engine.outbox import Outbox
from agents.engine.recovery import ChunkTableManager
from agents.engine.stream import ChunkStream
from agents.engine.table import ChunkTable
from agents.engine.ticks import Ticks
from agents.engine.topic import ChunkTopic
from agents.engine.transport import ChunkProducer, ChunkTransport
from pipeline.errors import SendFailedError, UnsupportedFeatureError

RELEASE_DEADLINE_S = 20.0
"""How long partitions that leave may take to finish; well under the group's rebalance time-out."""

REJOIN_PAUSE_S = 0.25

log = structlog.get_logger(__name__)

ChunkObserver = Callable[[Chunk, int], None]
RemovalObserver = Callable[[TP, int], None]


class ChunkApp(faust.App):
    """A Faust app whose chunk topics hand whole chunks to agents.

    ``on_chunk`` is called with each chunk that is handed out and its number of records, ``on_removed`` with a partition and how
    many of its records were removed before they were read, for metrics.
    """

    def __init__(
        self,
        app_id: str,
        *,
        on_chunk: ChunkObserver | None = None,
        on_removed: RemovalObserver | None = None,
        **options: Any,
    ) -> None:
        if options.get("processing_guarantee", "at_least_once") not in (
            "at_least_once",
            faust.types.enums.ProcessingGuarantee.AT_LEAST_ONCE,
        ):
            raise UnsupportedFeatureError(
                "processing_guarantee exactly_once: the chunk engine makes stages idempotent by numbers instead; remove the setting"
            )
        self.chunk_topics: dict[str, ChunkTopic] = {}
        self.urgent_topics: set[str] = set()
        self.on_chunk: ChunkObserver = on_chunk or (lambda _chunk, _records: None)
        self.on_removed: RemovalObserver = on_removed or (lambda _tp, _records: None)
        self._before_release: list[Callable[[], Awaitable[None]]] = []
        self._outbox: Outbox | None = None
        self.is_broker_deaf = False
        self.is_assignment_partial = False
        self._rejoin_pause_s = REJOIN_PAUSE_S
        super().__init__(
            app_id,
            **{
                "Agent": ChunkAgent,
                "Stream": ChunkStream,
                "PartitionAssignor": ChunkAssignor,
                "TableManager": ChunkTableManager,
                "stream_wait_empty": True,
                **options,
            },
        )

    def chunk_topic(self, name: str, **options: Any) -> ChunkTopic:
        """Declare a topic that is read as chunks (see :class:`ChunkTopic` for the bounds)."""
        topic = ChunkTopic(self, topics=[name], **options)
        self.chunk_topics[name] = topic
        return topic

    def chunk_table(self, name: str, *, partitions: int, **options: Any) -> ChunkTable:
        """Declare a table that is written by row groups, with ``partitions`` as the topic that feeds it has."""
        table = ChunkTable(self, name=name, partitions=partitions, **options)
        self.tables.add(table)
        return table

    def hasten(self, *topics: str) -> None:
        """Have what is sent to these topics travel by requests of its own, which do not wait behind the bulk of others.

        See :mod:`agents.engine.rounds`. To be called before the app starts, so that all records of a topic take one way.
        """
        self.urgent_topics.update(topics)

    def new_producer(self) -> ChunkProducer:
        """Make a producer beside the app's own, with the same settings; it is not started."""
        producer: ChunkProducer = self._new_producer()
        return producer

    @property
    def outbox(self) -> Outbox:
        """Where records are sent from."""
        if self._outbox is None:
            # The group may give the partitions away a session time-out after the last heartbeat.
            lease_s = self.conf.broker_session_timeout - 1.25 * self.conf.broker_heartbeat_interval
            self._outbox = Outbox(self, lease_s=lease_s, loop=self.loop, beacon=self.beacon)
        return self._outbox

    @cached_property
    def flow_control(self) -> ChunkFlowControl:
        """Whether anything flows to streams and tables."""
        return ChunkFlowControl(loop=self.loop)

    def before_release(self, callback: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Register what must happen between the stop of the flow and the wait for running chunks.

        Called at each rebalance and at shutdown, when no chunk or tick reaches an agent any more: whoever holds chunks
        until a later flush flushes here. All callbacks run side by side.
        """
        self._before_release.append(callback)
        return callback

    def assignment(self) -> set[TP]:
        """The partitions that this worker owns now; none before it has joined its group."""
        try:
            return self.consumer.assignment()
        except ConsumerNotStarted:
            return set()

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        if self.crashed:
            return  # what is unfinished stays uncommitted and is done again after the next start
        deadline_s = STOP_DEADLINE_S if self.should_stop else RELEASE_DEADLINE_S
        if await ends_within(deadline_s, self._settle(consumer, logger)):
            return
        reason = (
            f"running chunks were not acknowledged within {deadline_s:.0f} s of giving partitions back: is the broker well? "
            "They stay uncommitted and are done again"
        )
        if not self.should_stop:
            raise SendFailedError(reason)
        self.is_broker_deaf = True
        log.warning("stopping without the broker", reason=reason)

    async def _settle(self, consumer: Any, logger: Any) -> None:
        await asyncio.gather(*(callback() for callback in self._before_release))
        await super()._consumer_wait_empty(consumer, logger)

    async def _producer_flush(self, logger: Any) -> None:
        if self.is_broker_deaf:
            return
        if not await ends_within(STOP_DEADLINE_S, self._flush_all(logger)):
            self.is_broker_deaf = self.should_stop

    async def _flush_all(self, logger: Any) -> None:
        await asyncio.gather(super()._producer_flush(logger), self.outbox.flush())

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        # The consumer's thread noted it before; a recovery that ended since has taken that for its own rebalance.
        self.rebalancing = True
        self.tables.on_rebalance_start()
        await super()._on_partitions_revoked(revoked)

    def on_rebalance_end(self) -> None:
        """Note that a rebalance has ended, unless the next one has begun meanwhile."""
        if not self.tables.recovery.is_superseded:
            super().on_rebalance_end()

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # The group's leader leaves out topics that its copy of the cluster's metadata lacks, as it does for a moment after a
        # topic was created or a broker came back; one of an older version may part topics that belong together. A stage
        # without its table's changelog would begin again at nothing.
        missing = self._left_out() if self.tables.changelog_topics else []
        self.is_assignment_partial = bool(missing)
        if not missing:
            self._rejoin_pause_s = REJOIN_PAUSE_S
        await super()._on_partitions_assigned(assigned, generation_id)
        if missing:
            log.warning("topics are missing from the assignment, asking for another one", topics=missing)
            self.add_future(self._rejoin_soon())

    def _left_out(self) -> Sequence[str]:
        read = {name for name, topic in self.chunk_topics.items() if topic.has_agent or topic.internal}
        missing = read - set(self.assignor._topic_groups)
        counts = {topic: self.consumer.partitions_of(topic) for topic in read}
        return sorted(missing) or torn_topics(self.assignor.assigned_actives(), counts)

    async def _rejoin_soon(self) -> None:
        self._rejoin_pause_s = min(30.0, 2 * self._rejoin_pause_s)
        await asyncio.sleep(self._rejoin_pause_s)
        await self.consumer.rejoin()

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        log.error("agent failed, stopping the worker", agent=agent.name, error=str(error), exc_info=error)
        await self.crash(error)

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(self._broker_urls(self.conf.broker_consumer), self)

    def _new_producer_transport(self) -> ChunkTransport:
        return ChunkTransport(self._broker_urls(self.conf.broker_producer), self)

    @staticmethod
    def _broker_urls(urls: list[URL]) -> list[URL]:
        for url in urls:
            if url.scheme not in ("kafka", "aiokafka"):
                raise UnsupportedFeatureError(
                    f"broker {url}: the chunk engine speaks through aiokafka; write kafka://host:port"
                )
        return urls

    async def on_started_init_extra_services(self) -> None:
        """Start the ticks with the user's services, once the tables are recovered."""
        await super().on_started_init_extra_services()
        await self.add_runtime_dependency(Ticks(self, loop=self.loop, beacon=self.beacon))

    async def on_start(self) -> None:
        """Start the outbox before anything can be sent."""
        await super().on_start()
        await self.add_runtime_dependency(self.outbox)
