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
from bench.rig import PARTITIONS, Rig, Worker, rig, wait_until
from bench.table import megabytes, show

APPLICATIONS = 50
ROWS = 10
TIDY_S = 20.0
MIB = 1 << 20


class Tidying:
    """Deletes what all stages are done with: at each turn, what the group had committed the turn before.

    A batch that is committed may still wait, and be read back from its topic when its turn comes. So batches are let be while
    one waits that was sealed before that turn.
    """

    def __init__(self, found: Rig, worker: Worker, group: str) -> None:
        self._found = found
        self._worker = worker
        self._group = group
        self._topics = (f"{group}-source", f"{group}-routed", f"{group}-batches-http")
        self._done: dict[TopicPartition, RecordsToDelete] = {}
        self._next_at = time.time() + TIDY_S

    def tidy_in_turn(self, now: float) -> None:
        """Delete, if it is time; ``now`` is UNIX seconds."""
        if now < self._next_at:
            return
        self._next_at = now + TIDY_S
        waits_s = self._worker.metric("oldest_waiting_age_seconds")
        done = {tp: at for tp, at in self._done.items() if waits_s < TIDY_S or not tp.topic.endswith("-batches-http")}

        async def turn(admin: AIOKafkaAdminClient) -> None:
            partitions = [TopicPartition(topic, number) for topic in self._topics for number in range(PARTITIONS)]
            offsets = await admin.list_consumer_group_offsets(self._group, partitions=partitions)
            self._done = {tp: RecordsToDelete(before_offset=at.offset) for tp, at in offsets.items() if at.offset > 0}
            if done:
                await admin.delete_records(done)

        self._found.admin(turn)


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
                tidying = Tidying(found, worker, app)
                while feeding.poll() is None:
                    time.sleep(0.5)
                    now = time.time()
                    tidying.tidy_in_turn(now)
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
