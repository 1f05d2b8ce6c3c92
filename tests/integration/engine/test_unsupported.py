"""What of Faust does not work on chunks says so, and what to do instead."""

from datetime import timedelta

import pytest

from pipeline.errors import UnsupportedFeatureError
from tests.support.chunk_worker import crash_reason, fresh_name, make_app, running


@pytest.fixture
def app(tmp_path):
    return make_app(fresh_name(), "127.0.0.1:1", tmp_path)


def test_exactly_once_is_refused_when_the_app_is_made(tmp_path):
    with pytest.raises(UnsupportedFeatureError, match=r"exactly_once.*remove the setting"):
        make_app("app", "127.0.0.1:1", tmp_path, processing_guarantee="exactly_once")


@pytest.mark.parametrize("scheme", ["confluent", "memory"])
async def test_other_drivers_are_refused_by_their_url(tmp_path, scheme):
    app = make_app("app", "127.0.0.1:1", tmp_path, broker=f"{scheme}://127.0.0.1:1")
    for transport in ("transport", "producer_transport"):
        with pytest.raises(UnsupportedFeatureError, match=r"write kafka://host:port"):
            getattr(app, transport)


async def test_windowed_and_global_tables_are_refused(app):
    with pytest.raises(
        UnsupportedFeatureError, match=r"table counts: windowed and global tables are Faust's own: use app.Table"
    ):
        app.chunk_table("counts", partitions=1, is_global=True)
    table = app.chunk_table("rows", partitions=1)
    for windowed in (
        lambda: table.tumbling(timedelta(1)),
        lambda: table.hopping(2, 1),
        lambda: table.using_window(None),
    ):
        with pytest.raises(UnsupportedFeatureError, match="row groups"):
            windowed()


async def test_dictionary_style_writes_to_a_table_are_refused(app):
    table = app.chunk_table("rows", partitions=1)

    def assign():
        table[b"key"] = b"value"

    def delete():
        del table[b"key"]

    for write in (assign, delete, lambda: table.update({b"key": b"value"}), table.clear):
        with pytest.raises(UnsupportedFeatureError, match=r"use table.write\(partition, groups\)"):
            write()


@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
@pytest.mark.parametrize(
    "read",
    [
        lambda table: table[b"key"],
        lambda table: b"key" in table,
        len,
        list,
        lambda table: table.keys(),
        lambda table: table.values(),
        lambda table: table.items(),
        lambda table: table.copy(),
        lambda table: table & table,
        lambda table: table.join(),
    ],
    ids=["[]", "in", "len", "list", "keys", "values", "items", "copy", "&", "join"],
)
async def test_reading_a_table_as_a_whole_is_refused(tmp_path, store, read):
    table = make_app("app", "127.0.0.1:1", tmp_path, store=store).chunk_table("rows", partitions=1)
    with pytest.raises(UnsupportedFeatureError, match=r"table rows .* use table.get\(partition, key\) or table.rows"):
        read(table)


@pytest.mark.parametrize(
    "operate",
    [
        lambda stream: stream.take(10, within=1),
        lambda stream: stream.noack_take(10, within=1),
        lambda stream: stream.group_by(str),
        lambda stream: stream.through("other"),
        lambda stream: stream.echo("other"),
        lambda stream: stream.enumerate(),
        lambda stream: stream.items(),
        lambda stream: stream.events(),
        lambda stream: stream.filter(bool),
        lambda stream: stream.take_events(10, within=1),
        lambda stream: stream.take_with_timestamp(10, within=1, timestamp_field_name="at"),
        lambda stream: stream.add_processor(bool),
        lambda stream: stream & stream,
        lambda stream: stream.combine(stream),
        lambda stream: stream.join(),
        lambda stream: stream.left_join(),
        lambda stream: stream.inner_join(),
        lambda stream: stream.outer_join(),
    ],
    ids=[
        "take",
        "noack_take",
        "group_by",
        "through",
        "echo",
        "enumerate",
        "items",
        "events",
        "filter",
        "take_events",
        "take_with_timestamp",
        "add_processor",
        "&",
        "combine",
        "join",
        "left_join",
        "inner_join",
        "outer_join",
    ],
)
async def test_operators_on_single_events_are_refused(app, operate):
    stream = app.stream(app.chunk_topic("events"))
    with pytest.raises(UnsupportedFeatureError, match=r"loop over chunk.records instead"):
        operate(stream)


async def test_a_stream_of_chunks_that_are_not_acknowledged_is_refused(app):
    with pytest.raises(UnsupportedFeatureError, match=r"noack .* chunk.hold\(\) instead"):
        app.stream(app.chunk_topic("events")).noack()


async def test_operators_stay_fausts_own_on_single_events(app):
    stream = app.stream(app.topic("events"))
    stream.add_processor(bool)
    assert stream.filter(bool) is stream


async def test_a_topic_derived_from_a_chunk_topic_is_refused(app):
    topic = app.chunk_topic("events")
    for derive in (topic.derive_topic, topic.derive, lambda **_: app.stream(topic).derive_topic("others")):
        with pytest.raises(
            UnsupportedFeatureError, match=r"topic events: .* declare it with app.chunk_topic or app.topic"
        ):
            derive(suffix="-others")


async def test_an_agent_of_isolated_partitions_is_refused_when_it_is_declared(app):
    async def read(stream):
        async for _ in stream:
            pass

    with pytest.raises(UnsupportedFeatureError, match=r"remove isolated_partitions"):
        app.agent(app.chunk_topic("events"), isolated_partitions=True)(read)
    app.agent(app.topic("plain"), isolated_partitions=True)(read)


async def test_an_agent_that_yields_is_refused_when_it_is_declared(app):
    async def read(stream):
        async for chunk in stream:
            yield chunk

    with pytest.raises(UnsupportedFeatureError, match=r"send it with app.outbox and chunk.follow instead"):
        app.agent(app.chunk_topic("events"))(read)
    app.agent(app.topic("plain"))(read)


async def test_a_second_agent_on_a_topic_stops_the_start(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    app = make_app(fresh_name(), broker.address, tmp_path)
    events = app.chunk_topic(topic)
    for name in ("first", "second"):

        async def read(stream):
            async for _ in stream:
                pass

        app.agent(events, name=name)(read)
    with pytest.raises(UnsupportedFeatureError, match=rf"topic {topic} already has an agent"):
        async with running(app):
            raise await crash_reason(app)


async def test_a_concurrent_agent_stops_the_start(broker, tmp_path):
    topic = await broker.create(fresh_name("events"))
    app = make_app(fresh_name(), broker.address, tmp_path)

    @app.agent(app.chunk_topic(topic), concurrency=2)
    async def read(stream):
        async for _ in stream:
            pass

    with pytest.raises(UnsupportedFeatureError, match=r"remove concurrency, add partitions and workers"):
        async with running(app):
            raise await crash_reason(app)


async def test_fausts_own_topics_work_beside_chunk_topics(broker, tmp_path):
    """Only what is declared as chunks is handed out as chunks."""
    plain, chunked = await broker.create(fresh_name("plain")), await broker.create(fresh_name("chunked"))
    app = make_app(fresh_name(), broker.address, tmp_path)
    singles, chunks = [], []

    @app.agent(app.topic(plain, value_type=bytes, value_serializer="raw"))
    async def one(stream):
        async for value in stream:
            singles.append(value)  # noqa: PERF401  it is read meanwhile

    @app.agent(app.chunk_topic(chunked))
    async def many(stream):
        async for chunk in stream:
            chunks.append([record.value for record in chunk.records])  # noqa: PERF401  it is read meanwhile

    async with running(app):
        await broker.put(plain, [b"1", b"2"])
        await broker.put(chunked, [b"1", b"2"])
        await broker.until_committed(app.conf.id, plain, 2)
        await broker.until_committed(app.conf.id, chunked, 2)
    assert singles == [b"1", b"2"]
    assert chunks == [[b"1", b"2"]]
