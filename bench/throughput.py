"""Events per second from Kafka to endpoints, beside a stock Faust program and the bare limit.

python -m bench.throughput [--events 400000] [--repeat 3]

All read the same loaded topic and send batches of 100 to the same HTTP receiver, in turns; gRPC (batches of 1,000) and
Segment to receivers of their own, which read and check what they are sent. A rate is that of the events that the receiver
took, from the first to the last of them: the start of a program is not in it. With two workers the rate is taken from the
moment that both are ready. The stock program gets fewer events, since it is slow. With fewer than 300,000 events the
figures flatter whatever reads ahead of its first delivery.
"""

import argparse
import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.load import BATCH, integration, plain
from bench.processes import Usage, running
from bench.receiver_limit import Limit, receiver_limit
from bench.rig import BenchError, Endpoint, Rig, Source, rig, wait_quiet, wait_until
from bench.table import megabytes, show, spread
from pipeline.local import ports

START_S = 60.0


class Run(NamedTuple):
    """One turn of one program."""

    events_per_s: float
    program_cpu_s: float  # per 100,000 events, as the two below
    broker_cpu_s: float
    receiver_cpu_s: float
    peak_bytes: int
    start_s: float
    batches: int
    delivered: int


@dataclass(frozen=True)
class Contest:
    """Where programs run against each other."""

    rig: Rig
    endpoint: Endpoint
    source: Source

    def stock(self, events: int) -> Run:
        """The stock Faust program."""
        app = self.rig.app_name("stock")
        try:
            arguments = (self.rig.brokers, self.source.topic, app, self.endpoint.url, str(self.rig.folder / app))
            log = self.rig.folder / f"{app}.log"
            self.endpoint.reset()
            began_at = time.time()
            with running("bench.stock_faust", *arguments, str(ports.choose()), log=log) as process:
                return self._watch(
                    [process.pid], began_at=began_at, is_done=lambda stats: stats["events"] >= events, waits=False
                )
        finally:
            self.rig.delete_topics(lambda topic: topic.startswith(f"{app}-"))

    def bare(self) -> Run:
        """The bare loop."""
        self.endpoint.reset()
        began_at = time.time()
        whole = self.source.events // 100 * 100
        arguments = (self.rig.brokers, self.source.topic, str(self.source.events), self.endpoint.url)
        with running("bench.bare_loop", *arguments, log=self.rig.folder / "bare.log") as process:
            return self._watch(
                [process.pid], began_at=began_at, is_done=lambda stats: stats["events"] >= whole, waits=False
            )

    def ours(self, integrations: Sequence[dict[str, Any]], workers: int = 1, *, counts_read: bool = False) -> Run:
        """This project; with ``counts_read`` the rate is that of the events read, some of which stay in open windows."""
        self.endpoint.reset()
        began_at = time.time()
        with self.rig.app("flow") as app, contextlib.ExitStack() as stack:
            config = self.rig.configure(app, self.source.topic, list(integrations))
            crew = [stack.enter_context(self.rig.worker(config, number)) for number in range(workers)]

            def is_done(_stats: dict[str, Any]) -> bool:
                ledgers = [worker.ledger() for worker in crew]
                return sum(ledger["matched"] for ledger in ledgers) >= self.source.events and not any(
                    ledger["waiting"] for ledger in ledgers
                )

            ready_at: float | None = None  # with one worker, the first delivery is
            if workers > 1:
                wait_until(lambda: self.endpoint.stats()["events"] > 0, "nothing was delivered", START_S)
                ready_at = wait_until(lambda: all(worker.is_ready() for worker in crew), "not ready", START_S)
            return self._watch(
                [worker.process.pid for worker in crew],
                began_at=began_at,
                is_done=is_done,
                is_live=ready_at is not None,
                reads=self.source.events if counts_read else 0,
            )

    def _watch(
        self,
        pids: list[int],
        *,
        began_at: float,
        is_done: Any,
        waits: bool = True,
        is_live: bool = False,
        reads: int = 0,
    ) -> Run:
        with Usage(program=pids, broker=self.rig.broker_pids, receiver=[self.endpoint.process.pid]) as usage:
            before = self.endpoint.stats()["events"] if is_live else 0
            start_s = time.time()
            if waits:
                stats = wait_quiet(self.endpoint, is_done, poll_s=0.5)
            else:
                wait_until(lambda: is_done(self.endpoint.stats()), "not all came", 180)
                stats = self.endpoint.stats()
            time.sleep(0.2)
        if stats["duplicate_batches"] or stats["missing_events"]:
            raise BenchError(
                f"{stats['duplicate_batches']} batches came twice, {stats['missing_events']} events are missing"
            )
        if not is_live:
            start_s = stats["first_at"]
        events, seconds = (reads or stats["events"]) - before, stats["last_at"] - start_s

        def per_100k(name: str) -> float:
            return usage.cpu_s(name, start_s, stats["last_at"]) / events * 100_000

        return Run(
            events / seconds,
            per_100k("program"),
            per_100k("broker"),
            per_100k("receiver"),
            usage.peak_bytes("program"),
            stats["first_at"] - began_at,
            stats["batches"],
            stats["events"],
        )


@contextlib.contextmanager
def contest(events: int) -> Iterator[Contest]:
    """Set everything up."""
    with rig() as found, found.receiver() as endpoint:
        yield Contest(found, endpoint, plain(found, events))


def to_grpc(url: str, events_per_message: int) -> dict[str, Any]:
    """One integration that takes everything by gRPC, a thousand events a stream."""
    batch = {"max_events": 1000, "max_age": "1h"}
    return integration("all", url, kind="grpc", batch=batch, max_events_per_message=events_per_message)


def to_segment(url: str) -> dict[str, Any]:
    """One integration that sends everything to a double of Segment."""
    return integration("all", url, kind="segment", write_key="bench")


def rows_of(runs: dict[str, list[Run]]) -> Iterator[list[str]]:
    """The table's rows."""

    def median(name: str, field: str) -> float:
        return statistics.median(getattr(run, field) for run in runs[name])

    for name, of_name in runs.items():
        rate = median(name, "events_per_s")
        yield [
            name,
            spread([run.events_per_s for run in of_name]),
            f"{rate / median('bare loop', 'events_per_s'):.2f}" if "bare loop" in runs else "-",
            f"{rate / median('stock Faust', 'events_per_s'):.0f}" if "stock Faust" in runs else "-",
            *(f"{median(name, field):.2f}" for field in ("program_cpu_s", "broker_cpu_s", "receiver_cpu_s")),
            megabytes(max(run.peak_bytes for run in of_name)),
            f"{median(name, 'start_s'):.1f}",
        ]


COLUMNS = ("", "events/s", "of bare", "x stock", "CPU s/100k", "broker", "receiver", "peak MB", "first after s")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--stock-events", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], help="rows whose names hold one of these words")
    options = parser.parse_args(arguments)
    runs: dict[str, list[Run]] = defaultdict(list)
    with (
        contest(options.events) as course,
        course.rig.receiver_of("grpc") as grpc,
        course.rig.receiver_of("segment") as segment,
    ):
        limit: Limit = receiver_limit(course.endpoint)
        url = course.endpoint.url
        by_grpc = replace(course, endpoint=grpc)
        by_segment = replace(course, endpoint=segment)
        turns = {
            "bare loop": course.bare,
            "1 worker, published": lambda: course.ours([integration("all", url)]),
            "1 worker, all fields": lambda: course.ours([integration("all", url, fields="all")]),
            "2 workers, published": lambda: course.ours([integration("all", url)], workers=2),
            "2 workers, all fields": lambda: course.ours([integration("all", url, fields="all")], workers=2),
            "gRPC, 100 a message": lambda: by_grpc.ours([to_grpc(grpc.target, 100)]),
            "gRPC, 1 a message": lambda: by_grpc.ours([to_grpc(grpc.target, 1)]),
            "Segment": lambda: by_segment.ours([to_segment(segment.target)]),
            "stock Faust": lambda: course.stock(options.stock_events),
        }
        for number in range(options.repeat):
            for name, turn in turns.items():
                if not options.only or any(word in name for word in options.only):
                    runs[name].append(turn())
                    print(f"round {number + 1}: {name}: {runs[name][-1].events_per_s:,.0f} events/s", flush=True)
        size = course.source.size_bytes / course.source.events
    show(
        "Throughput, Kafka to endpoints",
        COLUMNS,
        rows_of(runs),
        f"{options.events:,} events of {size:.0f} bytes in 4 partitions, one integration takes all, {BATCH['max_events']} a batch; "
        f"median of {options.repeat} turns (slowest-fastest); stock Faust: {options.stock_events:,} events",
        f"the receiver takes {limit.events_per_s:,.0f} events/s from a sender that does nothing else, at {limit.cpu_s:.2f} CPU s/100k",
        "CPU seconds per 100,000 events of the program (all workers), the broker and the receiver; peak of the largest worker",
    )


if __name__ == "__main__":
    main()
