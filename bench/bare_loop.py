"""The bare limit: read, decode two fields, join bytes, POST. No state, nothing durable, no retry, no window.

Run by ``throughput``, for comparison: python -m bench.bare_loop BROKERS TOPIC EVENTS URL
"""

import asyncio
import sys

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

FULL = 100
IN_FLIGHT = 64
PARTITIONS = 4


class Event(msgspec.Struct):
    """The two fields."""

    event_name: str
    platform: str | int


async def main(brokers: str, topic: str, events: int, url: str) -> None:
    decode = msgspec.json.Decoder(Event).decode
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
    )
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    slots = asyncio.Semaphore(IN_FLIGHT)
    posts: set[asyncio.Task[None]] = set()
    sent = read = 0
    window: list[bytes] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def post(body: bytes, first: int, end: int) -> None:
            headers = {
                "content-type": "application/json",
                "webhook-id": f"all:{first}-{end}",
                "distributary-sequence": f"all {first}-{end}",
            }
            try:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
            finally:
                slots.release()

        while read < events:
            for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                read += len(records)
                for record in records:
                    event = decode(record.value)
                    if event.event_name and event.platform:
                        window.append(record.value)
                    if len(window) >= FULL:
                        await slots.acquire()
                        task = asyncio.create_task(post(b"[" + b",".join(window) + b"]", sent, sent + len(window)))
                        posts.add(task)
                        task.add_done_callback(posts.discard)
                        sent += len(window)
                        window.clear()
        if posts:
            await asyncio.wait(posts)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
