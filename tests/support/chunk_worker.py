"""Workers of the chunk engine inside a test: apps on the real Kafka, and an administrator's eyes on the broker."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from agents.engine import CLAIM_KEY, ChunkApp

STARTS_IN_S = 15.0
_names = itertools.count(1)


def fresh_name(what: str = "app") -> str:
    """A name that no other test, nor another session on the same broker, uses."""
    return f"{what}-{os.getpid()}-{next(_names)}"


def make_app(name: str, address: str, datadir: Path, **options) -> ChunkApp:
    """Build an app with the short times of tests."""
    return ChunkApp(
        name,
        **{
            "broker": f"kafka://{address}",
            "datadir": datadir,
            "store": "memory://",
            "web_enabled": False,
            "topic_disable_leader": True,
            "topic_partitions": 1,
            "table_standby_replicas": 0,
            "broker_session_timeout": 3.0,
            "broker_heartbeat_interval": 0.5,
            "broker_commit_interval": 0.1,
            "consumer_auto_offset_reset": "earliest",
            "producer_max_batch_size": 4 << 20,
            "producer_max_request_size": 8 << 20,
            **options,
        },
    )


@contextlib.asynccontextmanager
async def running(app: ChunkApp, *, is_ready: bool = True) -> AsyncIterator[ChunkApp]:
    """Run the app for as long as the block lasts; with ``is_ready`` the block begins when partitions are assigned."""
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    app.on_startup_finished = on_ready
    # Where others have the cores for seconds a worker ends its process, which is that of the tests here.
    app.outbox._lease._end = lambda: None
    starting = asyncio.ensure_future(app.start())
    try:
        if is_ready:
            await until(lambda: ready.is_set() or app.crashed or starting.done(), STARTS_IN_S)
            if app.crash_reason is not None:
                raise app.crash_reason
            if not ready.is_set():
                await starting
        yield app
    finally:
        async with asyncio.timeout(STARTS_IN_S):
            await app.stop()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def crash_reason(app: ChunkApp, within_s: float = 10.0) -> BaseException:
    """Wait until the app has crashed, and give the reason."""
    async with asyncio.timeout(within_s):
        await app._crashed.wait()
    assert app.crash_reason is not None
    return app.crash_reason


async def until(is_so: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until ``is_so()``."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  whatever it is, it has no event
            await asyncio.sleep(0.01)


class Broker:
    """What an administrator and a stranger's producer and consumer see."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.admin = AIOKafkaAdminClient(bootstrap_servers=address)
        self.producer = AIOKafkaProducer(bootstrap_servers=address, max_request_size=16 << 20, linger_ms=0)

    async def __aenter__(self) -> Self:
        await self.admin.start()
        await self.producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.producer.stop()
        await self.admin.close()

    async def create(self, topic: str, partitions: int = 1, **configs: str) -> str:
        """Create a topic; names of configs are written with ``_`` for ``.``."""
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        await self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
        return topic

    async def put(
        self,
        topic: str,
        values: Sequence[bytes | None],
        partition: int = 0,
        *,
        keys: Sequence[bytes] | None = None,
    ) -> None:
        """Publish ``values`` in as few record batches as they fit."""
        key_of = keys or [None] * len(values)
        builder = self.producer.create_batch()
        for key, value in zip(key_of, values, strict=True):
            if builder.append(key=key, value=value, timestamp=None) is None:
                await (await self.producer.send_batch(builder, topic, partition=partition))
                builder = self.producer.create_batch()
                assert builder.append(key=key, value=value, timestamp=None) is not None, "larger than a batch"
        await (await self.producer.send_batch(builder, topic, partition=partition))

    async def put_group(
        self, topic: str, rows: Sequence[tuple[bytes, bytes | None]], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        """Publish rows as one record batch in partition 0, ``headers`` on the first, as an outbox does."""
        builder = self.producer.create_batch()
        for number, (key, value) in enumerate(rows):
            builder.append(key=key, value=value, timestamp=None, headers=[] if number else list(headers))
        await (await self.producer.send_batch(builder, topic, partition=0))

    async def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """The group's committed offset, -1 for none."""
        tp = TopicPartition(topic, partition)
        offsets = await self.admin.list_consumer_group_offsets(group, partitions=[tp])
        return offsets[tp].offset

    async def until_committed(
        self, group: str, topic: str, offset: int, partition: int = 0, within_s: float = 10.0
    ) -> None:
        """Wait until exactly ``offset`` is committed."""
        found = None
        try:
            async with asyncio.timeout(within_s):
                while (found := await self.committed(group, topic, partition)) != offset:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{topic}: committed is {found}, not {offset}") from None

    async def read(self, topic: str, partition: int = 0) -> list[ConsumerRecord]:
        """All records of a partition."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.address, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        await consumer.start()
        records: list[ConsumerRecord] = []
        try:
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            async with asyncio.timeout(10):
                while await consumer.position(tp) < end:
                    for batch in (await consumer.getmany(tp, timeout_ms=100)).values():
                        records += batch
        finally:
            await consumer.stop()
        return records

    async def read_rows(self, changelog: str, partition: int = 0) -> list[tuple[bytes, bytes | None]]:
        """The rows of a changelog's partition without the engine's own."""
        records = await self.read(changelog, partition)
        return [(record.key, record.value) for record in records if record.key != CLAIM_KEY]

    async def record_batches(self, topic: str, partition: int = 0) -> list[list[bytes | None]]:
        """The keys of a partition's records, as they lie together in record batches. For 8 MB at most."""
        client = self.admin._client
        await client.force_metadata_update()
        request = FetchRequest(100, 0, 8 << 20, 0, [(topic, [(partition, 0, 8 << 20)])])
        [node] = [broker.nodeId for broker in client.cluster.brokers()]
        response = await client.send(node, request)
        [(_, [(_, _, _, *_, data)])] = response.topics
        records = MemoryRecords(data)
        batches = []
        while records.has_next():
            batches.append([record.key for record in records.next_batch()])
        return batches
