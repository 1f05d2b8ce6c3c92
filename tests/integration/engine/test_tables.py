"""Row groups reach the changelog whole and in order, and what a start finds is what was acknowledged."""

import asyncio

import pytest

from agents.engine import CLAIM_KEY, ChunkApp
from tests.support.chunk_worker import crash_reason, fresh_name, make_app, running, until

STORES = ["memory://", "rocksdb://"]


def with_table(app: ChunkApp, topic: str, partitions: int = 1):
    """A table beside an agent, since a worker owns tables' partitions with those of a topic."""
    table = app.chunk_table("rows", partitions=partitions)

    @app.agent(app.chunk_topic(topic, tick_s=0.05))
    async def read(stream):
        async for _ in stream:
            pass

    return table


async def test_groups_share_a_record_batch_and_writes_keep_their_order_whatever_they_wait_for(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    app = make_app(fresh_name(), broker.address, tmp_path)
    table = with_table(app, topic)
    async with running(app):
        gate = asyncio.get_running_loop().create_future()
        first = table.write(0, [[(b"a", b"1"), (b"b", b"1")]], after=[gate])
        second = table.write(0, [[(b"a", b"2"), (b"c", None)], [(b"d", b"2")]])
        await asyncio.sleep(0.3)
        assert not first.done()
        assert not second.done()
        assert await broker.read_rows(table.changelog_topic_name) == []
        assert table.get(0, b"a") is None, "nothing is stored before it is acknowledged"
        gate.set_result(None)
        await asyncio.gather(first, second)
        assert dict(table.rows(0)) == {b"a": b"2", b"b": b"1", b"d": b"2"}
        records = await broker.read_rows(table.changelog_topic_name)
        [claim], *batches = await broker.record_batches(table.changelog_topic_name)
    assert claim == CLAIM_KEY
    assert records == [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", None), (b"d", b"2")]
    starts = [sum(map(len, batches[:number])) for number in range(len(batches))]
    assert not {1, 3} & set(starts), "no group is cut by the end of a record batch"


async def test_many_groups_are_cut_into_batches_only_between_groups(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    app = make_app(fresh_name(), broker.address, tmp_path)
    table = with_table(app, topic)
    async with running(app):
        groups = [[(b"%d/%d" % (number, part), b"x" * 30_000) for part in range(3)] for number in range(20)]
        await table.write(0, groups)
        assert len(list(table.rows(0))) == 60
        keys = [key for key, _ in await broker.read_rows(table.changelog_topic_name)]
        [_], *batches = await broker.record_batches(table.changelog_topic_name)
    assert keys == [key for group in groups for key, _ in group]
    assert len(batches) > 1, "two megabytes do not go in one batch"
    assert all(len(batch) % 3 == 0 for batch in batches)


async def test_groups_without_rows_are_left_out(broker, tmp_path):
    app = make_app(fresh_name(), broker.address, tmp_path)
    table = with_table(app, await broker.create(fresh_name("events")))
    async with running(app):
        await table.write(0, [[]])
        await table.write(0, [[], [(b"a", b"1")], [], [(b"b", b"2")]])
        assert dict(table.rows(0)) == {b"a": b"1", b"b": b"2"}


async def test_a_write_after_something_that_failed_is_never_sent(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    narrow = await broker.create(fresh_name("narrow"), max_message_bytes="2000")
    app = make_app(fresh_name(), broker.address, tmp_path)
    table = with_table(app, topic)
    async with running(app):
        refused = app.outbox.send(narrow, 0, [[(None, b"x" * 10_000)]])
        stored = table.write(0, [[(b"row", b"follows")]], after=[refused])
        later = table.write(0, [[(b"row", b"later")]])
        await crash_reason(app)
        assert not stored.done()
        assert not later.done()
    assert await broker.read_rows(table.changelog_topic_name) == []


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("loses_disk", [False, True], ids=["same-disk", "empty-disk"])
async def test_a_restart_finds_the_rows_of_every_partition(broker, tmp_path, store, loses_disk):
    name, topic = fresh_name(), await broker.create(fresh_name("events"), 2)
    app = make_app(name, broker.address, tmp_path / "disk", store=store, topic_partitions=2)
    table = with_table(app, topic, partitions=2)
    async with running(app):
        for round_ in range(3):
            groups = [
                [(b"%d" % number, b"%d" % round_), (b"%d+" % number, None if round_ else b"x")] for number in range(50)
            ]
            await asyncio.gather(table.write(0, groups), table.write(1, [[(b"only", b"%d" % round_)]]))
    expected = {b"%d" % number: b"2" for number in range(50)}

    again = make_app(
        name, broker.address, tmp_path / ("other" if loses_disk else "disk"), store=store, topic_partitions=2
    )
    table = with_table(again, topic, partitions=2)
    async with running(again):
        assert dict(table.rows(0)) == expected
        assert dict(table.rows(1)) == {b"only": b"2"}
        assert table.get(0, b"7") == b"2"
        assert table.get(1, b"7") is None
        await table.write(0, [[(b"7", None)]])
        assert table.get(0, b"7") is None


async def test_a_restart_reads_only_the_end_of_the_changelog_that_its_disk_lacks(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    app = make_app(name, broker.address, tmp_path, store="rocksdb://")
    table = with_table(app, topic)
    async with running(app):
        await table.write(0, [[(b"%d" % number, b"x")] for number in range(500)])
        assert table.data.persisted_offset(next(iter(table.changelog_partitions()))) == 500
    await broker.put(table.changelog_topic_name, [b"late"] * 3, keys=[b"500", b"501", b"502"])

    again = make_app(name, broker.address, tmp_path, store="rocksdb://")
    table = with_table(again, topic)
    applied = []
    apply = type(table.data).apply_changelog_batch

    def counting(batch, to_key, to_value):
        applied.extend(len(event.message.records) for event in batch)
        apply(table.data, batch, to_key, to_value)

    table.data.apply_changelog_batch = counting
    async with running(again):
        await until(lambda: table.get(0, b"502") == b"late")
        assert len(list(table.rows(0))) == 503
    assert sum(applied) <= 4, "the three new rows, and at most the last one again"


async def test_a_large_changelog_is_recovered_in_chunks(broker, tmp_path):
    name, topic = fresh_name(), await broker.create(fresh_name("events"))
    app = make_app(name, broker.address, tmp_path)
    table = with_table(app, topic)
    await broker.create(table.changelog_topic_name)
    for start in range(0, 20_000, 5000):
        keys = [b"%d" % number for number in range(start, start + 5000)]
        await broker.put(table.changelog_topic_name, [b"x" * 100] * 5000, keys=keys)
    async with running(app):
        assert len(list(table.rows(0))) == 20_000
