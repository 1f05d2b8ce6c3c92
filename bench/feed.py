"""Publishes made-up events at a steady rate: the load of ``latency``, ``bytes``, ``restart`` and ``soak``.

python -m bench.feed BROKERS TOPIC --rate 5000 --seconds 10 [--applications 50] [--group GROUP --lead 200000]

With ``--group`` it keeps the topic at most ``--lead`` events ahead of what that consumer group has committed.
"""

import argparse
import asyncio
import itertools
import sys
import time

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.load import application_codes
from pipeline.traffic import events

TICK_S = 0.02
POOL = 40_000
PARTITIONS = 4


async def feed(options: argparse.Namespace) -> int:
    pool = list(events(3, POOL, applications=options.application or application_codes(options.applications)))
    endless = itertools.cycle(pool)
    producer = AIOKafkaProducer(bootstrap_servers=options.brokers, max_batch_size=1 << 20, max_request_size=16 << 20)
    admin = AIOKafkaAdminClient(bootstrap_servers=options.brokers)
    await producer.start()
    await admin.start()
    sent, committed, looked_s = 0, 0, 0.0
    waiting: list[asyncio.Future[object]] = []
    start_s = time.perf_counter()
    try:
        while (now_s := time.perf_counter() - start_s) < options.seconds:
            if options.group and now_s - looked_s > 0.5:
                looked_s = now_s
                committed = await _committed(admin, options)
            due = int(min(now_s, options.seconds) * options.rate) - sent
            if options.group:
                due = min(due, committed + options.lead - sent, 4_000)
            if due > 0:
                builders = [producer.create_batch() for _ in range(options.partitions)]
                for number in range(sent, sent + due):
                    if (
                        builders[number % options.partitions].append(timestamp=None, key=None, value=next(endless))
                        is None
                    ):
                        raise SystemExit("too many events at once for one record batch: lower --rate")
                sent += due
                for partition, builder in enumerate(builders):
                    if builder.record_count():
                        waiting.append(await producer.send_batch(builder, options.topic, partition=partition))
                if len(waiting) > 200:
                    await asyncio.gather(*waiting)
                    waiting.clear()
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
        await admin.close()
    return sent


async def _committed(admin: AIOKafkaAdminClient, options: argparse.Namespace) -> int:
    partitions = [TopicPartition(options.topic, number) for number in range(options.partitions)]
    offsets = await admin.list_consumer_group_offsets(options.group, partitions=partitions)
    return sum(max(0, found.offset) for found in offsets.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--applications", type=int, default=12)
    parser.add_argument("--application", nargs="+", help="exactly these application codes")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--group")
    parser.add_argument("--lead", type=int, default=200_000)
    print(asyncio.run(feed(parser.parse_args())), file=sys.stderr)


if __name__ == "__main__":
    main()
