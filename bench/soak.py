"""Whether memory stays flat at full load: one worker, fed as fast as it commits.

python -m bench.soak [--minutes 10] [--integrations 50]

What all stages are done with is deleted from the topics as they go, so that the disk holds some minutes of it at most.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from bench.load import sharing
from bench.processes import Usage, running
from bench.rig import PARTITIONS, Rig, rig, wait_until
from bench.table import megabytes, show

APPLICATIONS = 50
ROWS = 10
TIDY_S = 20.0
MIB = 1 << 20


def tidy(found: Rig, group: str, topics: Sequence[str]) -> None:
    """Delete what the group has committed."""

    async def delete(admin: AIOKafkaAdminClient) -> None:
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
        done = {tp: RecordsToDelete(before_offset=at.offset) for tp, at in offsets.items() if at.offset > 0}
        if done:
            await admin.delete_records(done)

    found.admin(delete)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--integrations", type=int, default=50)
    options = parser.parse_args(arguments)
    seconds = options.minutes * 60
    rows: list[list[str]] = []
    with rig() as found, found.receiver() as endpoint, found.app("soak") as app:
        topic = f"{app}-source"
        found.create_topic(topic, **{"segment.bytes": str(64 * MIB)})
        config = found.configure(app, topic, sharing(options.integrations, APPLICATIONS, endpoint.url))
        with found.worker(config) as worker:
            wait_until(worker.is_ready, "the worker is not ready", 60)
            feed = ("--rate", "1000000", "--seconds", str(seconds), "--applications", str(APPLICATIONS), "--group", app)
            log = found.folder / "feed.log"
            with (
                running("bench.feed", found.brokers, topic, *feed, log=log) as feeding,
                Usage(program=[worker.process.pid]) as usage,
            ):
                began_at, before, row_at = time.time(), 0, time.time()
                next_tidy_at = began_at + TIDY_S
                while feeding.poll() is None:
                    time.sleep(0.5)
                    now = time.time()
                    if now >= next_tidy_at:
                        next_tidy_at = now + TIDY_S
                        tidy(found, app, (topic, f"{app}-routed", f"{app}-batches-http"))
                    if now - row_at >= seconds / ROWS:
                        worker.is_ready()
                        delivered = endpoint.stats()["events"]
                        resident = [size for at, size in usage.resident("program") if at >= row_at]
                        rows.append(
                            [
                                f"{(now - began_at) / 60:.1f}",
                                f"{(delivered - before) / (now - row_at):,.0f}",
                                f"{usage.cpu_s('program', row_at, now) / (delivered - before) * 100_000:.2f}",
                                megabytes(statistics.median(resident)),
                                megabytes(max(resident)),
                            ]
                        )
                        print(rows[-1], flush=True)
                        before, row_at = delivered, now
    show(
        f"Full load for {options.minutes:g} minutes, {options.integrations} integrations",
        ("minute", "events/s", "CPU s/100k", "MB, median", "MB, most"),
        rows,
        "the feeding process runs on the same cores; resident memory of the worker",
    )


if __name__ == "__main__":
    main()
