"""Source records that were removed while the worker was down are told by the worker."""

import asyncio
import json

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics import catalogue
from pipeline.traffic import events
from tests.support.worker_process import WorkerProcess, eventually

ROUTED, LATER, KEPT = 6, 94, 40


async def publish(worker: WorkerProcess, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=worker.brokers) as producer:
        for event in events(count, count):
            await producer.send(worker.topic, event, partition=0)


async def remove_before(worker: WorkerProcess, offset: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=worker.brokers)
    await admin.start()
    await admin.delete_records({TopicPartition(worker.topic, 0): RecordsToDelete(before_offset=offset)})
    await admin.close()


def count_of(worker: WorkerProcess, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(worker.get("/metrics")[1])
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def test_source_events_that_were_removed_before_they_were_read_are_logged_and_counted(kafka, tmp_path):
    worker = WorkerProcess("removed", kafka, tmp_path)
    read = catalogue.SOURCE_EVENTS.full_name
    try:
        worker.start()
        asyncio.run(publish(worker, ROUTED))
        eventually(lambda: count_of(worker, read) == ROUTED, "the first events are read")
        worker.stop()

        asyncio.run(publish(worker, LATER))
        asyncio.run(remove_before(worker, ROUTED + LATER - KEPT))
        worker.start()
        eventually(lambda: count_of(worker, read) == KEPT, "what is left is read")
        removed = count_of(worker, catalogue.REMOVED_RECORDS.full_name, topic=worker.topic)
    finally:
        worker.stop()

    assert removed == LATER - KEPT
    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    [told] = [line for line in lines if line["event"].startswith("records were removed before they were read")]
    assert (told["first_offset"], told["last_offset"], told["records"]) == (6, 59, 54)
