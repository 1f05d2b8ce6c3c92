"""The index follows its topics: on real Kafka, through partitions that come and go, and through restarts."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from agents.kafka_topics import ensure_topic
from agents.topology import Names
from agents.view.index import IndexedSource, IndexService
from agents.view.sources.indexed import AttemptCounts
from pipeline.clock import SystemClock
from pipeline.model.attempt import encode_attempt
from pipeline.model.batch import encode_batch
from pipeline.sinks.registry import SINKS
from pipeline.view.index.settings import Keep
from pipeline.view.index.tables import ATTEMPTS, BATCHES
from pipeline.view.query import Query
from tests.support.index_records import attempt, batch

PARTITIONS = 2
WITHIN_S = 30.0


async def eventually(is_so: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        found = is_so()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline_s, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(0.05)


class Following:
    """Topics of an app of its own, and a worker's index that follows them."""

    def __init__(self, brokers: str, folder: Path) -> None:
        self.brokers = brokers
        self.folder = folder
        self.names = Names(f"index-{secrets.token_hex(4)}")
        self.owned = frozenset({0, 1})
        self.keep = Keep()
        self.now_s = SystemClock().wall_s()
        self.numbers = [0, 0]

    async def make_topics(self) -> None:
        names = [self.names.batches(spec.kind) for spec in SINKS]
        for topic in (*names, self.names.attempts, self.names.parked, self.names.dead_letters, self.names.notices):
            await ensure_topic(self.brokers, topic, PARTITIONS)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[IndexService]:
        service = IndexService(
            self.brokers,
            self.names,
            lambda: self.owned,
            lambda: self.folder,
            keep=self.keep,
            clock=SystemClock(),
            write_every_s=0.2,
        )
        await service.open()
        try:
            yield service
        finally:
            await service.close()

    async def deliver(self, partition: int, count: int) -> None:
        """Batches of one lane a partition, each with its one try."""
        producer = AIOKafkaProducer(bootstrap_servers=self.brokers)
        await producer.start()
        try:
            for _ in range(count):
                number = self.numbers[partition]
                self.numbers[partition] += 100
                lane = f"lane-{partition}"
                at = self.now_s + number / 100
                sealed = encode_batch(batch(lane, number, number + 100, at=at))
                tried = encode_attempt(attempt(f"{lane}:{number}-{number + 100}", 1, "delivered", at=at))
                await producer.send(self.names.batches("http"), sealed, partition=partition)
                await producer.send(self.names.attempts, tried, partition=partition)
            await producer.flush()
        finally:
            await producer.stop()


@pytest.fixture
async def following(kafka: str, tmp_path: Path) -> Following:
    following = Following(kafka, tmp_path / "view")
    await following.make_topics()
    return following


async def rows_of(service: IndexService, table: Any, limit: int | None = 1000) -> list[dict]:
    query = Query(sort=table.time, key="place", limit=limit)
    answer = await IndexedSource(service, table).answer(query, frozenset())
    return answer.rows if isinstance(answer.rows, list) else [row async for row in answer.rows]


async def has_rows(service: IndexService, count: int) -> bool:
    return service.index.is_open and len(await rows_of(service, ATTEMPTS)) == count


async def test_tries_are_found_soon_after_they_are_recorded(following: Following) -> None:
    async with following.service() as service:
        await eventually(lambda: service.partitions() == {0, 1}, "the partitions are taken over")
        await following.deliver(0, 5)
        await following.deliver(1, 3)
        await eventually(lambda: has_rows(service, 8), "8 tries")
        batches = await rows_of(service, BATCHES)
        assert [row["outcome"] for row in batches] == ["delivered"] * 8
        assert {row["partition"] for row in batches} == {0, 1}


async def test_a_partition_that_comes_is_caught_up_and_one_that_leaves_is_removed(following: Following) -> None:
    following.owned = frozenset({0})
    await following.deliver(0, 4)
    await following.deliver(1, 6)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 4), "the tries of partition 0")
        following.owned = frozenset({1})
        assert 0 not in service.partitions()
        await eventually(lambda: has_rows(service, 6), "the tries of partition 1 alone")
        await eventually(lambda: not service.is_catching_up, "it has caught up")
        assert service.partitions() == {1}


async def test_a_restart_goes_on_where_it_stopped(following: Following) -> None:
    await following.deliver(0, 4)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 4), "4 tries")
    await following.deliver(0, 3)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 7), "7 tries, each once")
        assert len({row["place"] for row in await rows_of(service, ATTEMPTS)}) == 7


async def test_no_more_is_read_than_is_kept(following: Following) -> None:
    following.keep = Keep(max_attempts=1000)
    following.owned = frozenset({0})
    await following.deliver(0, 1200)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 1000), "the newest 1000")


async def test_what_catches_up_says_that_there_is_more(following: Following) -> None:
    await following.deliver(0, 50)
    async with following.service() as service:
        source = IndexedSource(service, ATTEMPTS)
        query = Query(sort="at", key="place")
        await eventually(lambda: service.partitions() == {0, 1}, "the partitions are taken over")
        service._ends = {tp: end + 1 for tp, end in service._ends.items()}
        assert (await source.answer(query, frozenset())).is_truncated
        await following.deliver(0, 1)
        service._ends = {tp: end - 1 for tp, end in service._ends.items()}
        await eventually(lambda: not service.is_catching_up, "it has caught up")
        assert not (await source.answer(query, frozenset())).is_truncated
        assert service.standing().records_behind == 0


async def test_an_export_gives_every_row_in_order(following: Following) -> None:
    await following.deliver(0, 30)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 30), "30 tries")
        exported = await rows_of(service, ATTEMPTS, limit=None)
        assert exported == await rows_of(service, ATTEMPTS)


async def test_an_export_that_nobody_reads_on_lets_go(following: Following) -> None:
    await following.deliver(0, 30)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 30), "30 tries")
        rows = service.rows(ATTEMPTS, Query(sort="at", key="place", limit=None), frozenset())
        await anext(rows)
        await rows.aclose()
        await following.deliver(0, 1)
        await eventually(lambda: has_rows(service, 31), "the index goes on")


async def test_tries_are_counted_over_time(following: Following) -> None:
    await following.deliver(0, 20)
    async with following.service() as service:
        await eventually(lambda: has_rows(service, 20), "20 tries")
        query = Query(sort="slot", key="part", limit=None).where("width_s", 5.0).where("verdict", "delivered")
        answer = await AttemptCounts(service).answer(query, frozenset())
        assert isinstance(answer.rows, list)
        assert sum(row["rows"] for row in answer.rows) == 20
        assert len(answer.rows) in {4, 5}
