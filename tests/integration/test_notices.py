"""A worker's notices on real Kafka, and at a webhook."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents import notices as sender_module
from agents.engine import ChunkApp
from agents.notices import NoticeSender
from agents.topology import Names
from pipeline.clock import SystemClock
from pipeline.config.schema import Settings
from pipeline.metrics import Metrics
from pipeline.notices.notice import Cause, Notice, decode_notice
from tests.support.chunk_worker import Broker, fresh_name, make_app, running, until
from tests.support.endpoint import reply, serving, silence

PARTITIONS = 3


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


@pytest.fixture
def name() -> str:
    return fresh_name("noticed")


async def app_with_topics(broker: Broker, name: str, folder: Path) -> ChunkApp:
    await broker.create(Names(name).notices, PARTITIONS)
    app = make_app(name, broker.address, folder)
    topic = await broker.create(fresh_name("events"))

    @app.agent(app.chunk_topic(topic))
    async def read(chunks):
        async for _ in chunks:
            pass

    return app


def sender_for(app: ChunkApp, name: str, **notices: str) -> NoticeSender:
    settings = Settings.model_validate(
        {
            "app": name,
            "partitions": PARTITIONS,
            "notices": notices,
            "outbound": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        }
    )
    return NoticeSender(app, settings, client=settings.outbound.client(), clock=SystemClock(), metrics=Metrics("test"))


async def read_notices(broker: Broker, name: str) -> list[Notice]:
    records = [
        record for partition in range(PARTITIONS) for record in await broker.read(Names(name).notices, partition)
    ]
    assert all((record.key or b"").decode() == (decode_notice(record.value).integration or "") for record in records)
    return [decode_notice(record.value) for record in records]


async def test_what_is_told_stands_in_the_topic_within_a_second_or_so(broker, name, tmp_path):
    app = await app_with_topics(broker, name, tmp_path)
    async with running(app):
        sender = sender_for(app, name)
        await sender.open()
        sender.notices.tell(Cause.BATCHES_PARKED, "crm", "parked")
        sender.notices.tell(Cause.BATCHES_PARKED, "shop", "parked")
        sender.notices.tell(Cause.BATCHES_PARKED, "crm", "held back")
        await until(lambda: app.outbox.sent_records[Names(name).notices] == 2, 5)
        await sender.close()

    found = await read_notices(broker, name)
    assert sorted(notice.integration for notice in found) == ["crm", "shop"]
    assert len({notice.id for notice in found}) == 2


async def test_what_is_told_just_before_a_stop_is_sent_before_it(broker, name, tmp_path):
    app = await app_with_topics(broker, name, tmp_path)
    async with running(app):
        sender = sender_for(app, name)
        await sender.open()
        sender.notices.tell(Cause.SOURCE_RECREATED, None, "offsets start again")
        await sender.close()
        assert app.outbox.sent_records[Names(name).notices] == 1

    (notice,) = await read_notices(broker, name)
    assert notice.cause is Cause.SOURCE_RECREATED
    assert notice.integration is None


async def test_a_webhook_is_told_the_same(broker, name, tmp_path):
    app = await app_with_topics(broker, name, tmp_path)
    async with running(app), serving(reply(200)) as endpoint:
        sender = sender_for(app, name, webhook=endpoint.url("/ops"))
        await sender.client.open()
        await sender.open()
        sender.notices.tell(Cause.ENDPOINT_GONE, "crm", "410 Gone")
        await endpoint.received(1)
        await sender.close()
        await sender.client.close()

    (notice,) = await read_notices(broker, name)
    posted = json.loads(endpoint.seen[0].body)
    assert posted["id"] == notice.id
    assert posted["app"] == name


async def test_a_webhook_that_hangs_holds_up_neither_the_topic_nor_the_stop(broker, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sender_module, "STOP_S", 0.2)
    app = await app_with_topics(broker, name, tmp_path)
    async with running(app), serving(silence()) as endpoint:
        sender = sender_for(app, name, webhook=endpoint.url("/ops"))
        await sender.client.open()
        await sender.open()
        for number in range(20):
            sender.notices.tell(Cause.BATCHES_PARKED, f"i{number}", "parked")
        await until(lambda: app.outbox.sent_records[Names(name).notices] == 20, 5)
        async with asyncio.timeout(2):
            await sender.close()
        await sender.client.close()


async def test_a_worker_that_cannot_look_at_its_lanes_says_so_and_goes_on_sending(broker, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sender_module, "look_every_s", lambda _max_wait_s: 0.01)
    app = await app_with_topics(broker, name, tmp_path)

    def broken() -> list:
        raise RuntimeError("no lanes")

    async with running(app):
        sender = sender_for(app, name)
        sender.watch(broken)
        await sender.open()
        await until(lambda: any(task.done() for task in sender._tasks))
        sender.notices.tell(Cause.BATCHES_PARKED, "crm", "parked")
        await until(lambda: app.outbox.sent_records[Names(name).notices] == 1, 5)
        await sender.close()
        assert not app.crashed
