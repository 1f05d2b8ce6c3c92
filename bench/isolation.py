"""What one customer's endpoint does to the others: hung endpoints, an endpoint that throttles, a dead one with a backlog.

python -m bench.isolation [--seconds 40] [--backlog 50000] [hung | throttled | backlog ...]

- hung: 200 endpoints, of which 0 and then 4 never answer; the latency from seal to arrival of the others.
- throttled: an endpoint that takes 50 requests a second and is offered ten times as many; what it takes in the second half.
- backlog: batches that wait for an endpoint nobody listens at; the memory that they cost, and a restart with them.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.latency import WARM_UP_S, sealed_at
from bench.load import integration, plain, sharing
from bench.processes import running
from bench.rig import Rig, Worker, end_now, get, rig, wait_until
from bench.table import megabytes, show
from pipeline.local import ports

ENDPOINTS = 200
HUNG = 4
HUNG_RATE = 3_000
TAKEN_PER_S = 50
SMALL = {"max_events": 10, "max_age": "1h"}


def feeding(found: Rig, topic: str, rate: float, seconds: float, applications: int) -> None:
    """Feed for so long, and wait for the end of it."""
    options = ("--rate", str(rate), "--seconds", str(seconds), "--applications", str(applications))
    with running("bench.feed", found.brokers, topic, *options, log=found.folder / "feed.log") as feed:
        feed.wait(seconds + 60)


def with_hung(found: Rig, hung: int, seconds: float) -> list[str]:
    """One row: how the healthy ones fare beside ``hung`` others."""
    with found.receiver("bench.arrivals") as good, found.receiver() as bad, found.app("hung") as app:
        targets = sharing(ENDPOINTS, ENDPOINTS, good.url, batch=SMALL)
        # Neither the busiest nor the idlest: every fiftieth.
        for target in targets[10 :: ENDPOINTS // HUNG][:hung]:
            target["url"] = f"{bad.url}never"
        topic = f"{app}-source"
        found.create_topic(topic)
        with found.worker(found.configure(app, topic, targets)) as worker:
            wait_until(worker.is_ready, "the worker is not ready", 60)
            began_at = time.time()
            feeding(found, topic, HUNG_RATE, seconds, ENDPOINTS)
            time.sleep(2)
            came_at: dict[str, float] = json.loads(get(f"{good.url}arrivals")[1])
            parked = worker.metric("parked_batches_total")
            waiting = worker.metric("waiting_batches")
        sealed = asyncio.run(sealed_at(found.brokers, f"{app}-batches-http"))
    waits = sorted(at - sealed[name] for name, at in came_at.items() if sealed[name] > began_at + WARM_UP_S)
    figures = [f"{waits[int(share * len(waits))] * 1000:,.1f}" for share in (0.5, 0.99, 0.999)]
    return [f"{hung} of {ENDPOINTS} hung", f"{len(waits):,}", *figures, f"{waiting:,.0f}", f"{parked:,.0f}"]


def throttled(found: Rig, seconds: float) -> list[str]:
    """One row: what an endpoint takes that is offered ten times what it allows."""
    options = ("receiver", "--count-only", "--throttle", str(TAKEN_PER_S))
    with found.receiver("agents", *options) as endpoint, found.app("throttled") as app:
        target = integration("slow", endpoint.url, batch=SMALL, max_in_flight=64)
        topic = f"{app}-source"
        found.create_topic(topic)
        with found.worker(found.configure(app, topic, [target])) as worker:
            wait_until(worker.is_ready, "the worker is not ready", 60)
            rate = 10 * TAKEN_PER_S * SMALL["max_events"]
            feed = ("--rate", str(rate), "--seconds", str(seconds), "--applications", "8")
            with running("bench.feed", found.brokers, topic, *feed, log=found.folder / "feed.log"):
                time.sleep(seconds / 2)
                before, at = endpoint.stats(), time.time()
                time.sleep(seconds / 2)
                after, took_s = endpoint.stats(), time.time() - at
            parked = worker.metric("parked_batches_total")
            waiting = worker.metric("waiting_batches")
    taken = (after["batches"] - before["batches"]) / took_s
    refused = (after["requests"] - before["requests"]) / took_s - taken
    return [
        f"{TAKEN_PER_S} allowed, {10 * TAKEN_PER_S} offered",
        f"{taken:,.1f}",
        f"{taken / TAKEN_PER_S:.0%}",
        f"{refused:,.1f}",
        f"{waiting:,.0f}",
        f"{parked:,.0f}",
    ]


def resident(worker: Worker) -> int:
    """Resident bytes of a worker."""
    return int(psutil.Process(worker.process.pid).memory_info().rss)


def filled(found: Rig, config: Path, batches: int, *, is_dead: bool) -> tuple[int, float]:
    """Resident bytes of a worker that has taken all in, and seconds from a start after SIGKILL until it is ready."""
    with found.worker(config) as worker:
        wait_until(worker.is_ready, "the worker is not ready", 60)

        def is_in() -> bool:
            return worker.metric("waiting_batches" if is_dead else "delivered_batches_total") >= 0.999 * batches

        wait_until(is_in, "the events are not taken in", 180, poll_s=1)
        time.sleep(3)
        size = resident(worker)
        end_now(worker)
    began_s = time.monotonic()
    with found.worker(config) as worker:
        wait_until(worker.is_ready, "the worker is not ready", 60)
        return size, time.monotonic() - began_s


def backlog(found: Rig, batches: int) -> list[list[str]]:
    """Two rows: memory and restart with nothing waiting, and with all of it."""
    source = plain(found, batches * SMALL["max_events"])
    rows, sizes = [], {}
    for is_dead in (False, True):
        with found.receiver() as endpoint, found.app("backlog") as app:
            url = f"http://127.0.0.1:{ports.choose()}/" if is_dead else endpoint.url
            target = integration("one", url, batch=SMALL, max_in_flight=64)
            config = found.configure(app, source.topic, [target])
            sizes[is_dead], restart_s = filled(found, config, batches, is_dead=is_dead)
        name = f"{batches:,} batches {'wait for a dead endpoint' if is_dead else 'delivered'}"
        rows.append([name, megabytes(sizes[is_dead]), megabytes(sizes[is_dead] - sizes[False]), f"{restart_s:.1f}"])
        print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=("hung", "throttled", "backlog", []), help="only these")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--backlog", type=int, default=50_000)
    options = parser.parse_args(arguments)
    names = options.names or ["hung", "throttled", "backlog"]
    with rig() as found:
        if "hung" in names:
            show(
                f"Seal to request received of the healthy ones, {HUNG_RATE:,} events/s in batches of 10",
                ("", "batches", "p50 ms", "p99 ms", "p99.9 ms", "waiting", "parked"),
                [with_hung(found, hung, options.seconds) for hung in (0, HUNG)],
                "time-out 30 s, so each hung request is given up at least once",
            )
        if "throttled" in names:
            show(
                "An endpoint that asks for less (429 with Retry-After)",
                ("requests a second", "taken/s", "of allowed", "refused/s", "waiting", "parked"),
                [throttled(found, options.seconds)],
                "the second half of the run",
            )
        if "backlog" in names:
            show(
                "A backlog for one dead endpoint",
                ("", "MB resident", "MB more", "ready after SIGKILL, s"),
                backlog(found, options.backlog),
            )


if __name__ == "__main__":
    main()
