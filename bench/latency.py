"""From the seal of a batch to the moment its request is with the endpoint, at half of what one worker can take.

python -m bench.latency [--seconds 15] [--rate EVENTS_PER_S]

What it can take is measured just before, with the same integrations and the same feeding process on the same cores.
The start is the batch's own ``sealed_at``, read from the batches topic afterwards; the end is when the receiver has the
whole request. Both clocks are the same machine's. The first 3 seconds of each run are left out.

Beside that stands how much was recorded within 100 ms after its try had ended, as the worker itself counts it from its start
on: what a crash finds unrecorded is sent again.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.load import integration, sharing
from bench.processes import running
from bench.rig import PARTITIONS, Rig, Worker, get, rig, wait_quiet, wait_until
from bench.table import show
from pipeline.model.batch import decode_batch

WARM_UP_S = 3.0
TAKING_S = 10.0
OFFERED = 120_000
APPLICATIONS = 50
PROMPTLY_S = "0.1"
"""A bucket of the worker's histogram."""


async def sealed_at(brokers: str, topic: str) -> dict[str, float]:
    """When each batch of a topic was sealed, by its id."""
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[str, float] = {}
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = {partition for partition in partitions if ends[partition]}
        while left:
            for records in (await consumer.getmany(*left, timeout_ms=200)).values():
                for record in records:
                    batch = decode_batch(record.value)
                    found[batch.id] = batch.sealed_at
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()
    return found


def measure(found: Rig, rate: float, seconds: float, integrations: int, repeat: int) -> tuple[list[float], float]:
    """Seconds from seal to arrival, ascending; and the share of writes that recorded all they held within 100 ms."""
    waits: list[float] = []
    recorded: Counter[str] = Counter()
    for _ in range(repeat):
        with found.receiver("bench.arrivals") as endpoint, found.app("latency") as app:
            topic = f"{app}-source"
            found.create_topic(topic)
            config = found.configure(app, topic, targets(integrations, endpoint.url))
            with found.worker(config) as worker:
                wait_until(worker.is_ready, "the worker is not ready", 60)
                began_at = time.time()
                options = ("--rate", str(rate), "--seconds", str(seconds), "--applications", str(APPLICATIONS))
                with running("bench.feed", found.brokers, topic, *options, log=found.folder / "feed.log") as feed:
                    feed.wait(seconds + 60)
                wait_quiet(endpoint, lambda _: True)
                recorded += recorded_within(worker)
                came_at: dict[str, float] = json.loads(get(f"{endpoint.url}arrivals")[1])
            sealed = asyncio.run(sealed_at(found.brokers, f"{app}-batches-http"))
        waits += [at - sealed[name] for name, at in came_at.items() if sealed[name] > began_at + WARM_UP_S]
    return sorted(waits), recorded[PROMPTLY_S] / recorded["+Inf"]


def recorded_within(worker: Worker) -> Counter[str]:
    """How many writes recorded the ends of tries within so many seconds after the first of them."""
    return Counter(
        {
            each.labels["le"]: int(each.value)
            for each in worker.samples()
            if each.name == "distributary_recording_delay_seconds_bucket"
        }
    )


def most(found: Rig, count: int) -> float:
    """The events a second that one worker takes while more than that are fed."""
    with found.receiver() as endpoint, found.app("latency") as app:
        topic = f"{app}-source"
        found.create_topic(topic)
        config = found.configure(app, topic, targets(count, endpoint.url))
        with found.worker(config) as worker:
            wait_until(worker.is_ready, "the worker is not ready", 60)
            lasts_s = WARM_UP_S + TAKING_S
            feed = ("--rate", str(OFFERED), "--seconds", str(lasts_s + 2), "--applications", str(APPLICATIONS))
            with running("bench.feed", found.brokers, topic, *feed, log=found.folder / "feed.log"):
                time.sleep(WARM_UP_S)
                began_s, before = time.monotonic(), worker.ledger()["matched"]
                time.sleep(TAKING_S)
                return (worker.ledger()["matched"] - before) / (time.monotonic() - began_s)


def targets(count: int, url: str) -> list[dict[str, Any]]:
    return [integration("all", url)] if count == 1 else sharing(count, APPLICATIONS, url)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, help="feed this many events a second instead")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args(arguments)
    rows = []
    with rig() as found:
        for count in (1, 50):
            full = 0.0 if options.rate else most(found, count)
            rate = options.rate or full / 2
            waits, promptly = measure(found, rate, options.seconds, count, options.repeat)

            def at(share: float, of: list[float] = waits) -> str:
                return f"{of[min(len(of) - 1, int(share * len(of)))] * 1000:,.1f}"

            name = f"{count} integration{'s'[: count > 1]}"
            figures = [at(share) for share in (0.5, 0.9, 0.99, 0.999, 1)]
            shown = [name, f"{full:,.0f}" if full else "", f"{rate:,.0f}", f"{len(waits):,}", *figures]
            rows.append([*shown, f"{promptly:.1%}"])
            print(f"{rows[-1]}", flush=True)
    show(
        "Seal to request received",
        (
            "",
            "can take/s",
            "fed/s",
            "batches",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "worst ms",
            "recorded in 100 ms",
        ),
        rows,
        "at the rate that was asked for"
        if options.rate
        else f"at half of what one worker took just before of {OFFERED:,}/s",
        f"{options.repeat} runs of {options.seconds:g} s, the first {WARM_UP_S:g} s left out; the feeding process runs on the same cores",
    )


if __name__ == "__main__":
    main()
