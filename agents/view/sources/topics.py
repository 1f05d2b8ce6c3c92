"""Sources ``topics`` and ``topic-partitions``: what Kafka itself says of the topics of this app, the same on every worker."""

import asyncio
import contextlib
import math
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.kafka_clients import start_whole, stop_whole
from agents.kafka_topics import settings_of
from agents.view.sources.state import WorkerState
from pipeline.cancelling import cancelled
from pipeline.errors import UnavailableError
from pipeline.sinks.registry import SINKS
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

SERVES_S: Final = 2.0
SETTINGS_SERVE_S: Final = 60.0
WITHIN_S: Final = 5.0


class _Spans(NamedTuple):
    firsts: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]
    committed: dict[TopicPartition, int]


class TopicFigures:
    """Asks Kafka, at most every two seconds, whoever looks. To be closed."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._spans = _Spans({}, {}, {})
        self._spans_at_s = -math.inf
        self._settings: dict[str, dict[str, str]] = {}
        self._settings_at_s = -math.inf
        self._asking = asyncio.Lock()
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Ask once ahead: until a client knows all topics, that takes seconds. Nobody waits for it."""
        self._opening = asyncio.get_running_loop().create_task(self._ask_ahead())

    async def _ask_ahead(self) -> None:
        with contextlib.suppress(UnavailableError):  # whoever looks will ask again, and be told
            await self.spans()
            await self.settings()

    def kinds(self) -> dict[str, str]:
        """Each topic of the app with a word for what it holds, as ``decode_record`` takes it."""
        topology, names = self._state.topology, self._state.topology.names
        tables = {table.changelog_topic_name: f"table {table.name}" for table in self._tables()}
        return {
            topology.source.get_topic_name(): "source",
            names.routed: "routed",
            **{names.batches(spec.kind): "batches" for spec in SINKS},
            names.attempts: "attempts",
            names.parked: "parked",
            names.dead_letters: "dead-letters",
            names.notices: "notices",
            **self._inbound(),
            **tables,
        }

    def _inbound(self) -> dict[str, str]:
        """Those that are there only where something can come in."""
        names = self._state.topology.names
        if self._state.topology.inbound is None:
            return {}
        return {
            names.inbound_requests: "inbound-requests",
            names.inbound: "inbound",
            names.user_updates: "user-updates",
        }

    def _tables(self) -> list[Any]:
        return [table for _, table in sorted(self._state.app.tables.items())]

    async def spans(self) -> _Spans:
        """What each partition holds, and how far the app's group is; raises ``UnavailableError`` where Kafka is silent."""
        async with self._asking:
            if self._state.clock.monotonic_s() - self._spans_at_s > SERVES_S:
                self._spans = await self._ask(self._read_spans)
                self._spans_at_s = self._state.clock.monotonic_s()
            return self._spans

    async def settings(self) -> dict[str, dict[str, str]]:
        """The broker's settings of each topic; raises ``UnavailableError`` where Kafka is silent."""
        async with self._asking:
            if self._state.clock.monotonic_s() - self._settings_at_s > SETTINGS_SERVE_S:
                self._settings = await self._ask(self._read_settings)
                self._settings_at_s = self._state.clock.monotonic_s()
            return self._settings

    async def close(self) -> None:
        """Let go of Kafka."""
        opening, self._opening = self._opening, None
        if opening is not None and opening is not asyncio.current_task():
            await cancelled([opening])
        await self._drop()

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await stop_whole(consumer)
        if admin is not None:
            await admin.close()

    async def _ask(self, read: Any) -> Any:
        try:
            async with asyncio.timeout(WITHIN_S):
                return await read()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            raise UnavailableError(f"Kafka does not say how its topics are: {error or type(error).__name__}") from error

    async def _read_spans(self) -> _Spans:
        consumer = await self._opened_consumer()
        admin = await self._opened_admin()
        described = await admin.describe_topics(list(self.kinds()))
        tps = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic.get("partitions", ())
        ]
        firsts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        group = await admin.list_consumer_group_offsets(self._state.app.conf.id)
        committed = {tp: found.offset for tp, found in group.items() if found.offset >= 0}
        return _Spans(firsts, ends, committed)

    async def _read_settings(self) -> dict[str, dict[str, str]]:
        return await settings_of(await self._opened_admin(), self.kinds())

    async def _opened_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._state.brokers, enable_auto_commit=False)
            await start_whole(consumer)
            self._consumer = consumer
        return self._consumer

    async def _opened_admin(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._state.brokers)
            try:
                await admin.start()
            except BaseException:  # cancelled or refused, it must not stay half open
                await admin.close()
                raise
            self._admin = admin
        return self._admin


class TopicsSource:
    """One row a topic."""

    name = "topics"
    is_shared = True
    columns: Columns = (
        Column("topic", "Topic", Kind.CODE, "A topic of this app, or the one that it reads.", link="/topics/{topic}"),
        Column("holds", "Holds", Kind.TEXT, "What its records are."),
        Column("partitions", "Partitions", Kind.INTEGER, "How many it has."),
        Column(
            "records",
            "Offsets kept",
            Kind.INTEGER,
            "From the first to the end of all partitions; a compacted topic has fewer records.",
        ),
        Column("end", "Written", Kind.INTEGER, "Records that were ever written."),
        Column("lag", "Lag", Kind.INTEGER, "Records that this app has not worked off; only of topics that it reads."),
        Column("retention_s", "Kept for", Kind.SECONDS, "How long the broker keeps records; nothing: for good."),
        Column("cleanup", "Clean-up", Kind.CODE, "delete: old records go; compact: the newest of each key stays."),
        Column("max_record_bytes", "Largest record", Kind.BYTES, "What the broker takes at most.", is_wide=True),
    )
    key = "topic"
    sort = "topic"
    is_descending = False

    def __init__(self, figures: TopicFigures, state: WorkerState) -> None:
        self._figures = figures
        self._state = state

    def partitions(self) -> frozenset[int]:
        """All: Kafka knows the same of all."""
        return frozenset(self._state.peers.partitions)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Ask Kafka."""
        spans, settings = await self._figures.spans(), await self._figures.settings()
        rows = [self._row(topic, kind, spans, settings.get(topic, {})) for topic, kind in self._figures.kinds().items()]
        return answer_of(rows, query, self.columns, masks)

    @staticmethod
    def _row(topic: str, kind: str, spans: _Spans, settings: dict[str, str]) -> Row:
        tps = [tp for tp in spans.ends if tp.topic == topic]
        read = [tp for tp in tps if tp in spans.committed]
        retention_ms = int(settings.get("retention.ms", "-1"))
        return {
            "topic": topic,
            "holds": kind,
            "partitions": len(tps),
            "records": sum(spans.ends[tp] - spans.firsts[tp] for tp in tps),
            "end": sum(spans.ends[tp] for tp in tps),
            "lag": sum(max(0, spans.ends[tp] - spans.committed[tp]) for tp in read) if read else None,
            "retention_s": None if retention_ms < 0 else retention_ms / 1000,
            "cleanup": settings.get("cleanup.policy"),
            "max_record_bytes": int(settings["max.message.bytes"]) if "max.message.bytes" in settings else None,
        }


class TopicPartitionsSource:
    """One row a partition of a topic."""

    name = "topic-partitions"
    is_shared = True
    columns: Columns = (
        Column("id", "Topic and partition", Kind.CODE, "Which partition.", is_wide=True),
        Column("topic", "Topic", Kind.CODE, "The topic.", is_wide=True, link="/topics/{topic}"),
        Column("partition", "Partition", Kind.INTEGER, "Its number."),
        Column("first", "First", Kind.INTEGER, "The offset of the first record that is kept."),
        Column("end", "End", Kind.INTEGER, "The offset that the next record gets."),
        Column("records", "Offsets kept", Kind.INTEGER, "In between."),
        Column("committed", "Committed", Kind.INTEGER, "The offset up to which this app has worked it off."),
        Column("lag", "Lag", Kind.INTEGER, "Records that it has not."),
        Column(
            "worker", "Worker", Kind.CODE, "Who owns the tables' partition of this number.", link="/workers/{worker}"
        ),
    )
    key = "id"
    sort = "id"
    is_descending = False

    def __init__(self, figures: TopicFigures, state: WorkerState) -> None:
        self._figures = figures
        self._state = state

    def partitions(self) -> frozenset[int]:
        """All: Kafka knows the same of all."""
        return frozenset(self._state.peers.partitions)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Ask Kafka."""
        spans, kinds = await self._figures.spans(), self._figures.kinds()
        source = self._state.topology.source.get_topic_name()
        rows: list[Row] = []
        for tp in sorted(spans.ends):
            committed = spans.committed.get(tp)
            rows.append(
                {
                    "id": f"{tp.topic}/{tp.partition:05d}",
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "first": spans.firsts[tp],
                    "end": spans.ends[tp],
                    "records": spans.ends[tp] - spans.firsts[tp],
                    "committed": committed,
                    "lag": None if committed is None else max(0, spans.ends[tp] - committed),
                    "worker": None if tp.topic == source else self._state.peers.owner_of(tp.partition),
                }
            )
        return answer_of((row for row in rows if row["topic"] in kinds), query, self.columns, masks)
