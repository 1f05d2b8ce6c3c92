"""Two workers share partitions, and one goes on where the other stopped."""

import asyncio
import contextlib

import pytest

from agents.engine import ChunkApp
from agents.engine.consumer import ChunkConsumer
from tests.support.chunk_worker import Broker, fresh_name, make_app, running, until

PARTITIONS = 4
LAST_OFFSET = b"last offset"


class Counting:
    """A worker that counts records in its table, each once: a row keeps the last offset, since chunks may come again."""

    def __init__(self, name: str, broker: Broker, datadir, topic: str, **options) -> None:
        self.app: ChunkApp = make_app(name, broker.address, datadir, topic_partitions=PARTITIONS, **options)
        self.table = self.app.chunk_table("counts", partitions=PARTITIONS)
        self.topic = topic
        self.events = self.app.chunk_topic(topic, tick_s=0.05)
        self.counts: dict[int, dict[bytes, int]] = {}
        self.app.on_partitions_revoked.connect(self._forget)

        @self.app.agent(self.events)
        async def count(stream):
            async for chunk in stream:
                counts = self.counts.get(chunk.partition)
                if counts is None:
                    rows = self.table.rows(chunk.partition)
                    counts = self.counts[chunk.partition] = {key: int(value) for key, value in rows}
                if chunk.is_tick:
                    continue
                new = [record for record in chunk.records if record.offset > counts.get(LAST_OFFSET, -1)]
                for record in new:
                    counts[record.value] = counts.get(record.value, 0) + 1
                    counts[LAST_OFFSET] = record.offset
                group = [(key, b"%d" % counts[key]) for key in {LAST_OFFSET, *(record.value for record in new)} if new]
                chunk.follow(self.table.write(chunk.partition, [group]))

    async def _forget(self, *_: object, **__: object) -> None:
        self.counts.clear()

    def rows(self, partition: int) -> dict[bytes, bytes]:
        return {key: value for key, value in self.table.rows(partition) if key != LAST_OFFSET}

    def owned(self) -> set[int]:
        return {tp.partition for tp in self.app.assignment() if tp.topic == self.topic}


async def all_committed(broker: Broker, name: str, topic: str, offset: int) -> None:
    for partition in range(PARTITIONS):
        await broker.until_committed(name, topic, offset, partition, within_s=15)


@pytest.mark.parametrize("standbys", [0, 1])
async def test_a_second_worker_takes_half_and_the_first_takes_it_back(broker, tmp_path, standbys):
    name, topic = fresh_name(), await broker.create(fresh_name("events"), PARTITIONS)
    options = {"store": "rocksdb://", "table_standby_replicas": standbys}

    async def put() -> None:
        for partition in range(PARTITIONS):
            await broker.put(topic, [b"a"] * 10 + [b"b"] * 5, partition)

    first, second = (Counting(name, broker, tmp_path / who, topic, **options) for who in ("first", "second"))
    async with running(first.app):
        await put()
        await all_committed(broker, name, topic, 15)
        async with contextlib.AsyncExitStack() as of_second:
            await of_second.enter_async_context(running(second.app))
            await until(lambda: len(first.owned()) == len(second.owned()) == PARTITIONS / 2)
            await put()
            await all_committed(broker, name, topic, 30)
            for worker in (first, second):
                for partition in worker.owned():
                    assert worker.rows(partition) == {b"a": b"20", b"b": b"10"}
            lost = second.owned()
            if standbys:  # what the second one writes is at hand at once, chunk for chunk
                await until(lambda: all(first.table.get(partition, b"a") == b"20" for partition in lost))
                for partition in range(PARTITIONS):
                    await broker.put(topic, [b"c"], partition)
                await until(lambda: all(first.table.get(partition, b"c") == b"1" for partition in lost))
        await until(lambda: len(first.owned()) == PARTITIONS)
        await put()
        await all_committed(broker, name, topic, 45 + standbys)
        await asyncio.sleep(0.2)  # a tick or two
        for partition in range(PARTITIONS):
            last = {b"c": b"1"} if standbys else {}
            assert first.rows(partition) == {b"a": b"30", b"b": b"15", **last}


async def test_nothing_is_handed_out_between_the_recovery_of_tables_and_the_end_of_the_rebalance(
    broker, tmp_path, monkeypatch
):
    """What is handed out there, Faust throws away when it lets the flow go on, and nobody fetches it again."""
    name, topic = fresh_name(), await broker.create(fresh_name("events"), PARTITIONS)
    before, after = (Counting(name, broker, tmp_path / who, topic) for who in ("before", "after"))
    for partition in range(PARTITIONS):
        await broker.put(topic, [b"a"], partition)
    async with running(before.app):
        await all_committed(broker, name, topic, 1)
    for partition in range(PARTITIONS):
        await broker.put(topic, [b"a"], partition)
    rounds, early = [], []
    fetch, seek = ChunkConsumer._wait_next_records, ChunkConsumer.perform_seek

    async def fetch_and_count(consumer, timeout_s):
        try:
            return await fetch(consumer, timeout_s)
        finally:
            rounds.append(consumer)

    async def seek_slowly(consumer):
        await seek(consumer)
        enough = len(rounds) + 3
        await until(lambda: len(rounds) >= enough)

    monkeypatch.setattr(ChunkConsumer, "_wait_next_records", fetch_and_count)
    monkeypatch.setattr(ChunkConsumer, "perform_seek", seek_slowly)
    after.app.on_chunk = lambda chunk, _: early.append(chunk) if after.app.rebalancing else None
    async with running(after.app):
        await all_committed(broker, name, topic, 2)
        assert early == []
