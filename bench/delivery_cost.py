"""What the delivery core costs: CPU a batch with a sink that answers at once, and memory a batch that waits.

.venv/bin/python bench/delivery_cost.py [--batches 100000] [--lanes 200]
"""

import argparse
import asyncio
import time
import tracemalloc

from pipeline.clock import SystemClock
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.endpoint import Endpoint
from pipeline.delivery.rows import RowGroup
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.integration import Integration

EVENTS = 100
EVENT_BYTES = 500
TICK_BATCHES = 200  # what a 50 ms tick brings at 4,000 batches a second


class InstantSink:
    """Answers at once."""

    def __init__(self) -> None:
        self.outcome = Outcome(Verdict.DELIVERED, "200 OK", status=200)

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:  # noqa: ARG002
        """Deliver."""
        return self.outcome


class HungSink:
    """Never answers."""

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:  # noqa: ARG002
        """Wait for ever."""
        return await asyncio.get_running_loop().create_future()


def integration(name: str) -> Integration:
    return Integration.model_validate(
        {"id": name, "kind": "http", "url": "https://endpoint.example/", "events": ["*"], "platforms": ["*"]}
    )


async def never_read(partition: int, offset: int) -> Batch:
    raise LookupError(f"partition {partition}, offset {offset}: nothing should be read back here")


async def cpu_cost(batches: int, lanes: int) -> None:
    names = [f"e-{number}" for number in range(lanes)]
    core = DeliveryCore(
        "http", {name: Endpoint(integration(name), InstantSink()) for name in names}, SystemClock(), never_read
    )
    await core.start()
    core.restore(0, [])
    run = EventRun.of([b"x" * EVENT_BYTES] * EVENTS)
    ends, now = run.packed_ends(), time.time()
    made = [
        Batch(
            names[n % lanes],
            n // lanes * EVENTS,
            (n // lanes + 1) * EVENTS,
            SealReason.COUNT,
            now,
            now,
            ends,
            run.block,
        )
        for n in range(batches)
    ]
    attempts, rows = 0, 0
    began = time.process_time()
    for start in range(0, batches, TICK_BATCHES):
        await core.room()
        for offset in range(start, min(batches, start + TICK_BATCHES)):
            core.admit(0, offset, made[offset])
        while core.in_flight:  # noqa: ASYNC110  an event would be part of what is measured
            await asyncio.sleep(0)
        writes = core.take(0)
        attempts += len(writes.attempts)
        rows += sum(map(len, writes.groups))
    cost_s = time.process_time() - began
    assert attempts == batches == sum(view.delivered_batches for view in core.lanes())
    await core.stop(0)
    print(f"{lanes:>6} lanes: {cost_s / batches * 1e6:6.1f} us of CPU a batch, {rows / batches:.2f} rows a batch")


async def memory_cost(batches: int) -> None:
    core = DeliveryCore("http", {"hung": Endpoint(integration("hung"), HungSink())}, SystemClock(), never_read)
    await core.start()
    core.restore(0, [])
    run = EventRun.of([b"x" * EVENT_BYTES] * EVENTS)
    ends, now = run.packed_ends(), time.time()
    groups: list[RowGroup] = []
    tracemalloc.start()
    for number in range(batches):
        core.admit(
            0,
            number,
            Batch("hung", number * EVENTS, (number + 1) * EVENTS, SealReason.COUNT, now, now + number, ends, run.block),
        )
        if number % TICK_BATCHES == 0:
            groups = core.take(0).groups
    core.take(0)
    groups.clear()
    used_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await core.stop(0)
    # The block is shared here; what would be its own is what the core says it holds.
    print(
        f"{batches} batches wait: {used_bytes / batches:.0f} B each, {used_bytes / 1e6:.1f} MB (peak {peak_bytes / 1e6:.1f}), bodies {core.resident_bytes / 1e6:.1f} MB"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 200, 10_000])
    arguments = parser.parse_args()
    for lanes in arguments.lanes:
        await cpu_cost(arguments.batches, lanes)
    await memory_cost(50_000)


if __name__ == "__main__":
    asyncio.run(main())
