"""Topics that are not as a worker needs them are told before it consumes anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agents.own_topics import ensure_own_topics, wanted_topics
from agents.topology import MAX_RECORD_BYTES, Topology
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError
from tests.support.chunk_worker import Broker, fresh_name, make_app
from tests.support.worker_process import PARTITIONS, WorkerProcess

CHANGED = 2


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


class Start:
    """What a worker does with its topics as it starts."""

    def __init__(self, name: str, broker: Broker, folder: Path, **settings: Any) -> None:
        self._broker = broker
        told = Settings(app=name, topic=f"{name}-events", partitions=settings.pop("partitions", 4), **settings)
        self._app = make_app(name, broker.address, folder)
        self.topology = Topology.declare(self._app, told)
        self.wanted = wanted_topics(self._app, self.topology)

    async def ensure(self) -> None:
        try:
            await ensure_own_topics(self._app, self.topology, self._broker.address)
        finally:
            await self._app.producer.stop()

    async def problems(self) -> list[str]:
        with pytest.raises(ConfigError) as refused:
            await self.ensure()
        return refused.value.problems


async def test_what_a_worker_makes_takes_the_largest_batch_whatever_the_broker_takes_otherwise(broker, tmp_path):
    start = Start(fresh_name("shop"), broker, tmp_path)
    declared = [*start.topology.outputs, *(table.changelog_topic for table in start.topology.pending.values())]
    assert {topic.config["max.message.bytes"] for topic in declared} == {str(MAX_RECORD_BYTES)}


async def existing(broker: Broker, name: str) -> set[str]:
    return {topic for topic in await broker.admin.list_topics() if topic.startswith(name)}


async def test_what_a_worker_makes_it_takes_at_the_next_start(broker, tmp_path):
    name = fresh_name("shop")
    await Start(name, broker, tmp_path).ensure()
    await Start(name, broker, tmp_path).ensure()


async def test_workers_that_start_at_once_do_not_refuse_what_the_others_make(broker, tmp_path):
    name = fresh_name("shop")
    await asyncio.gather(*(Start(name, broker, tmp_path).ensure() for _ in range(3)))


async def test_of_workers_that_start_at_once_with_different_counts_one_is_refused(broker, tmp_path):
    name = fresh_name("shop")
    starts = [Start(name, broker, tmp_path, partitions=partitions) for partitions in (4, 2)]
    ends = await asyncio.gather(*(start.ensure() for start in starts), return_exceptions=True)
    assert any(isinstance(end, ConfigError) for end in ends)


async def test_another_partition_count_is_refused_for_all_topics_at_once_and_nothing_is_made(broker, tmp_path):
    name = fresh_name("shop")
    await Start(name, broker, tmp_path).ensure()
    before = await existing(broker, name)
    start = Start(name, broker, tmp_path, partitions=CHANGED, inbound={})
    problems = await start.problems()
    own = sorted(topic.name for topic in start.wanted if topic.name in before)
    assert [problem.partition(":")[0] for problem in problems] == own
    assert all("write `partitions: 4` again" in problem for problem in problems)
    assert await existing(broker, name) == before


@pytest.mark.parametrize(
    ("topic", "made", "found"),
    [
        ("routed", {"partitions": 2}, "has 2 partitions, and 4 are wanted"),
        ("batches-http", {"cleanup_policy": "compact"}, "has cleanup.policy=compact, and delete is wanted"),
        ("pending-http-changelog", {"cleanup_policy": "delete"}, "has cleanup.policy=delete, and compact is wanted"),
        ("windows-changelog", {"cleanup_policy": "compact,delete"}, "and compact is wanted"),
        ("pending-grpc-changelog", {"max_message_bytes": "1048588"}, f"and {MAX_RECORD_BYTES} is wanted"),
        ("parked", {"max_message_bytes": "10000"}, f"has max.message.bytes=10000, and {MAX_RECORD_BYTES} is wanted"),
    ],
)
async def test_a_topic_that_was_made_beforehand_and_cannot_serve_is_refused(broker, tmp_path, topic, made, found):
    name = fresh_name("shop")
    policy = "compact" if topic.endswith("changelog") else "delete"
    good = {"partitions": 4, "cleanup_policy": policy, "max_message_bytes": str(MAX_RECORD_BYTES)}
    await broker.create(f"{name}-{topic}", **{**good, **made})
    [problem] = await Start(name, broker, tmp_path).problems()
    assert problem.startswith(f"{name}-{topic}: ")
    assert found in problem


async def test_how_long_topics_keep_their_records_and_what_the_source_topic_is_like_do_not_matter(broker, tmp_path):
    name = fresh_name("shop")
    await broker.create(f"{name}-events", 3, cleanup_policy="compact", max_message_bytes="10000")
    await broker.create(f"{name}-routed", 4, retention_ms="60000", max_message_bytes=str(MAX_RECORD_BYTES))
    await broker.create(f"{name}-pending-http-changelog", 4, cleanup_policy="compact", retention_ms="60000")
    await Start(name, broker, tmp_path).ensure()


async def test_what_it_says_to_do_mends_a_setting(broker, tmp_path):
    name = fresh_name("shop")
    await broker.create(f"{name}-routed", 4, cleanup_policy="compact", max_message_bytes="10000")
    [problem] = await Start(name, broker, tmp_path).problems()
    settings = dict(part.split(" ")[-1].split("=") for part in problem.split("; "))
    assert settings.keys() == {"cleanup.policy", "max.message.bytes"}
    await broker.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{name}-routed", configs=settings)])
    await Start(name, broker, tmp_path).ensure()


def test_a_worker_whose_partitions_were_changed_ends_with_the_reason(kafka, tmp_path):
    class Changing(WorkerProcess):
        partitions = PARTITIONS

        def settings(self) -> dict[str, Any]:
            return {**super().settings(), "partitions": self.partitions}

    worker = Changing("shop", kafka, tmp_path)
    worker.start()
    worker.stop()
    worker.partitions = CHANGED
    started_at = len(worker.log())
    worker.begin()
    assert worker.worker is not None
    assert worker.worker.wait(30) == 1
    said = worker.log()[started_at:]
    assert "worker ready" not in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    problems = [line["problem"] for line in lines if line["event"] == "the worker cannot start"]
    assert len(problems) == len(set(problems)) > 10
    assert "Traceback" not in said
    assert all(problem.endswith("write `partitions: 4` again, or choose a new `app`") for problem in problems)
