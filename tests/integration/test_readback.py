"""Single batches read back from a real topic, whatever happened to the read before."""

import asyncio
import contextlib
import uuid

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from agents.kafka_topics import ensure_topic
from agents.readback import BatchReader
from pipeline.errors import BatchGoneError
from pipeline.model.batch import Batch, SealReason, encode_batch
from pipeline.model.events import EventRun

BATCHES = 300


def batch(partition: int, number: int) -> Batch:
    run = EventRun.of([b"{}"])
    return Batch(f"lane-{partition}", number, number + 1, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block)


@pytest.fixture
async def reader(kafka: str):
    topic = f"batches-{uuid.uuid4().hex[:8]}"
    await ensure_topic(kafka, topic, 2)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for partition in (0, 1):
            for number in range(BATCHES):
                await producer.send(topic, encode_batch(batch(partition, number)), partition=partition)
        await producer.flush()
    reader = BatchReader(kafka, topic)
    yield reader
    await reader.close()


@pytest.mark.parametrize(("cancelled", "then"), [((1, 20), (0, 20)), ((0, 250), (0, 12))])
async def test_a_cancelled_read_leaves_no_trace(
    reader: BatchReader, cancelled: tuple[int, int], then: tuple[int, int]
) -> None:
    assert await reader.read(0, 10) == batch(0, 10)
    task = asyncio.create_task(reader.read(*cancelled))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await reader.read(*then) == batch(*then)


async def test_batches_are_read_in_any_order(reader: BatchReader) -> None:
    for partition, number in ((0, 5), (0, 6), (1, 299), (0, 200), (0, 0), (1, 0)):
        assert await reader.read(partition, number) == batch(partition, number)


@pytest.mark.parametrize("kept", [0, 100])
async def test_a_batch_that_retention_removed_is_gone_also_where_it_left_nothing(
    reader: BatchReader, kafka: str, kept: int
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    removed = RecordsToDelete(before_offset=BATCHES - kept)
    await admin.delete_records({TopicPartition(reader.topic, 0): removed})
    await admin.close()

    with pytest.raises(BatchGoneError, match=f"offset 20 is gone .the next one is at {BATCHES - kept}"):
        await reader.read(0, 20)
    assert await reader.read(1, 5) == batch(1, 5)


@pytest.mark.parametrize("offset", [3, 20, 5_000])
@pytest.mark.parametrize("anew", [0, 3])
async def test_a_batch_beyond_the_end_of_a_topic_that_was_made_again_is_gone(
    kafka: str, anew: int, offset: int
) -> None:
    topic = f"batches-{uuid.uuid4().hex[:8]}"
    await ensure_topic(kafka, topic, 1)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(anew):
            await producer.send_and_wait(topic, encode_batch(batch(0, number)), partition=0)
    reader = BatchReader(kafka, topic)
    try:
        with pytest.raises(BatchGoneError, match=f"offset {offset} is gone .the topic ends at {anew}.*made again"):
            await reader.read(0, offset)
        for number in range(anew):
            assert await reader.read(0, number) == batch(0, number)
    finally:
        await reader.close()


async def test_of_a_long_topic_that_was_made_again_nothing_needs_to_be_read_to_know(reader: BatchReader) -> None:
    with pytest.raises(BatchGoneError, match=f"offset {100 * BATCHES} is gone .the topic ends at {BATCHES}"):
        await reader.read(0, 100 * BATCHES)
    assert await reader.read(0, 0) == batch(0, 0)
    assert await reader.read(0, BATCHES - 1) == batch(0, BATCHES - 1)
