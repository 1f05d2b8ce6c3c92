"""Where a worker's time goes at full load: py-spy's samples of all its threads, by what they were about.

python -m bench.profile [--events 1000000] [--seconds 8] [--integrations 1]

It samples from a second after the first delivery on, while the worker is busy with a full topic. What takes turns with the
interpreter's lock, the two threads of a worker, is in it as it comes.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.load import integration, over_applications, plain, sharing
from bench.rig import BenchError, Rig, Worker, rig, wait_until
from bench.table import show

SAMPLES_A_SECOND = 100
APPLICATIONS = 50
IDLE = ("select (selectors", "wait (threading", "_worker (concurrent/futures")
AREAS = (
    ("routing: decode, match, frames", ("pipeline/ingest/",)),
    ("windows: numbers, rows, batches", ("pipeline/windows/", "pipeline/model/")),
    ("delivery core and sinks", ("pipeline/delivery/", "pipeline/sinks/")),
    ("HTTP client", ("pipeline/net/", "aiohttp/")),
    ("the view's index", ("pipeline/view/", "agents/view/")),
    ("record batches to be sent", ("agents/engine/outbox", "aiokafka/producer/", "aiokafka/record/")),
    ("records out of fetched batches", ("agents/engine/fetch", "aiokafka/consumer/")),
    ("chunks and commits", ("agents/engine/consumer", "agents/engine/chunk", "agents/engine/stream", "agents/engine/topic")),
    ("tables: RocksDB", ("agents/engine/store", "agents/engine/table", "rocksdict/")),
    ("Kafka's protocol", ("aiokafka/",)),
    ("Faust", ("faust/", "mode/")),
    ("the rest of the project", ("agents/", "pipeline/")),
)  # fmt: skip
"""What an innermost frame that is in one of these files is about; the first that fits counts."""
LOOP = "event loop and sockets"


def area_of(stack: Sequence[str]) -> str | None:
    """What a thread was about, by its frames (the outermost first); ``None`` where it waited."""
    if any(stack[-1].startswith(idle) or f".{idle}" in stack[-1] for idle in IDLE):
        return None
    for frame in reversed(stack):
        for area, places in AREAS:
            if any(f"({place}" in frame for place in places):
                return area
        if "(asyncio/" in frame and not frame.startswith(("Handle._run", "BaseEventLoop")):
            return LOOP
    return LOOP


def shares(lines: Iterable[str]) -> Iterator[tuple[str, float]]:
    """How much of the busy samples each area has, the largest first."""
    counted: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rstrip("\n").rpartition(" ")
        area = area_of(stack.split(";"))
        if area is not None:
            counted[area] += int(count)
    for area, count in counted.most_common():
        yield area, count / counted.total()


def sample(worker: Worker, seconds: int, file: Path) -> list[str]:
    """The worker's stacks, each with how often it was seen."""
    spy = Path(sys.executable).with_name("py-spy")
    options = ["-d", str(seconds), "-r", str(SAMPLES_A_SECOND), "-f", "raw", "-o", str(file)]
    done = subprocess.run([spy, "record", *options, "--pid", str(worker.process.pid)], capture_output=True, check=False)
    if done.returncode or not file.exists():
        raise BenchError(f"py-spy could not look into the worker: {done.stderr.decode(errors='replace')[-500:]}")
    return file.read_text().splitlines()


def measure(found: Rig, events: int, seconds: int, integrations: int) -> list[tuple[str, float]]:
    """The shares of one worker that takes from a full topic."""
    source = plain(found, events) if integrations == 1 else over_applications(found, events, APPLICATIONS)
    with found.receiver() as endpoint, found.app("profile") as app:
        targets = [integration("all", endpoint.url)]
        if integrations > 1:
            targets = sharing(integrations, APPLICATIONS, endpoint.url)
        with found.worker(found.configure(app, source.topic, targets)) as worker:
            wait_until(lambda: endpoint.stats()["events"] > 0, "nothing was delivered", 60)
            lines = sample(worker, seconds, found.folder / "profile.txt")
            if worker.ledger()["matched"] >= events:
                raise BenchError(
                    "the topic was at its end before the samples were: give more --events, or fewer --seconds"
                )
    return list(shares(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--integrations", type=int, default=1)
    options = parser.parse_args(arguments)
    with rig() as found:
        found_shares = measure(found, options.events, options.seconds, options.integrations)
    show(
        f"Where a worker's time goes at full load, {options.integrations} integration{'s'[: options.integrations > 1]}",
        ("", "%"),
        [[area, f"{100 * share:.0f}"] for area, share in found_shares],
        f"{options.seconds} s, {SAMPLES_A_SECOND} samples a second of each thread that does not wait",
    )


if __name__ == "__main__":
    main()
