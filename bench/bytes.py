"""Bytes written to Kafka for each byte of a matched event: changelogs and the project's own topics.

python -m bench.bytes [--events 200000] [--slow-seconds 20]

Counted by the worker before compression, keys and record frames included. Slow means that windows fill a few events at a
time, which is what makes every row small.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from bench.load import over_applications, sharing
from bench.processes import running
from bench.rig import Rig, Worker, rig, wait_quiet, wait_until
from bench.table import show

APPLICATIONS = 50
SLOW_RATE = 1_000
COUNTS = (1, 50)


def ratios(worker: Worker, app: str, matched_bytes: float) -> list[str]:
    """A row of the table."""
    written: dict[str, float] = {}
    for sample in worker.samples():
        if sample.name in ("distributary_changelog_bytes_total", "distributary_produced_bytes_total"):
            name = sample.labels.get("table") or sample.labels["topic"].removeprefix(f"{app}-")
            written[name] = written.get(name, 0.0) + sample.value
    changelogs = written.get("windows", 0.0) + written.get("pending-http", 0.0)
    shown = [written.get(name, 0.0) for name in ("windows", "pending-http")]
    shown += [
        changelogs,
        *(written.get(name, 0.0) for name in ("routed", "batches-http", "attempts")),
        sum(written.values()),
    ]
    return [f"{size / matched_bytes:.3f}" for size in shown]


def settings(count: int, url: str) -> list[dict[str, Any]]:
    return sharing(count, APPLICATIONS, url, fields="all")


def full_rate(found: Rig, events: int, count: int) -> list[str]:
    """All events are there when the worker starts."""
    source = over_applications(found, events, APPLICATIONS)
    with (
        found.receiver() as endpoint,
        found.app("bytes") as app,
        found.worker(found.configure(app, source.topic, settings(count, endpoint.url))) as worker,
    ):
        wait_quiet(endpoint, lambda _: worker.is_ready() and worker.metric("source_events_total") >= events)
        return ratios(worker, app, source.size_bytes)


def slow_rate(found: Rig, seconds: float, count: int) -> list[str]:
    """Events come one by one."""
    with found.receiver() as endpoint, found.app("bytes") as app:
        topic = f"{app}-source"
        found.create_topic(topic)
        with found.worker(found.configure(app, topic, settings(count, endpoint.url))) as worker:
            wait_until(worker.is_ready, "the worker is not ready", 60)
            options = ("--rate", str(SLOW_RATE), "--seconds", str(seconds), "--applications", str(APPLICATIONS))
            with running("bench.feed", found.brokers, topic, *options, log=found.folder / "feed.log") as feed:
                feed.wait(seconds + 60)
            wait_quiet(endpoint, lambda _: True)
            read = worker.metric("source_events_total")
            mean_bytes = over_applications(found, 20_000, APPLICATIONS).size_bytes / 20_000
            return ratios(worker, app, read * mean_bytes)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--slow-seconds", type=float, default=20.0)
    options = parser.parse_args(arguments)
    rows = []
    with rig() as found:
        for count in COUNTS:
            name = f"{count} integration{'s'[: count > 1]}"
            rows.append([f"{name}, full rate", *full_rate(found, options.events, count)])
            print(rows[-1], flush=True)
            rows.append([f"{name}, {SLOW_RATE:,} events/s", *slow_rate(found, options.slow_seconds, count)])
            print(rows[-1], flush=True)
    show(
        "Bytes written for each matched event byte",
        ("", "windows", "pending", "changelogs", "routed", "batches", "attempts", "all"),
        rows,
        f"each event matches one integration, {100} a batch, fields: all; {options.events:,} events at full rate",
        f"at {SLOW_RATE:,} events/s the feed publishes every 20 ms, to 4 partitions",
    )


if __name__ == "__main__":
    main()
