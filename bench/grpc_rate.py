"""The gRPC sink alone: batches of 1,000 events into the receiver in another process, by how many travel in a message.

python -m bench.grpc_rate [--seconds 3] [--in-flight 1 4] [--per-message 1 10 100 1000] [--turn-ms 5]

With ``--turn-ms`` the sender's event loop has other things to do in each of its turns, as in a worker under load.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from bench.table import show
from pipeline.cancelling import cancelled
from pipeline.clock import SystemClock
from pipeline.model.attempt import Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.receiver.grpc_receiver import GrpcReceiver
from pipeline.receiver.receiver import run_receiver
from pipeline.sinks.base import SinkContext
from pipeline.sinks.grpc import GrpcIntegration, GrpcSink
from pipeline.traffic import events

EVENTS = 1000
NOW_S = SystemClock().wall_s()


class Rate(NamedTuple):
    """Events a second, and CPU microseconds an event of each side."""

    events_per_s: float
    sender_us: float
    receiver_us: float


def serve(*, verify: bool) -> None:
    """The receiver's process: says its URL, and ends with its standard input."""
    receiver = GrpcReceiver(verify=verify)
    run_receiver(receiver, on_ready=lambda ready: print(ready.url, flush=True))


async def other_work(turn_s: float) -> None:
    """Keep the event loop busy for so long in each of its turns."""
    while True:
        until_s = time.perf_counter() + turn_s
        while time.perf_counter() < until_s:
            pass
        await asyncio.sleep(0)


async def rate(
    url: str, receiver: psutil.Process, *, per_message: int, in_flight: int, seconds: float, turn_s: float
) -> Rate:
    run = EventRun.of([*events(9, EVENTS)])
    ends = run.packed_ends()
    settings = GrpcIntegration.model_validate(
        {
            "id": "bench",
            "kind": "grpc",
            "url": url,
            "events": "*",
            "platforms": "*",
            "max_events_per_message": per_message,
        }
    )
    client = HttpClient(AddressGuard(["127.0.0.0/8"]))
    await client.open()
    sink = GrpcSink(settings, SinkContext(client))
    await sink.open()
    delivered = 0
    numbers = iter(range(0, 1 << 60, EVENTS))

    async def deliver_until(end_s: float) -> None:
        nonlocal delivered
        while time.monotonic() < end_s:
            first = next(numbers)
            batch = Batch("bench", first, first + EVENTS, SealReason.COUNT, NOW_S, NOW_S, ends, run.block)
            outcome = await sink.send(batch, now_s=NOW_S)
            assert outcome.verdict is Verdict.DELIVERED, outcome
            delivered += EVENTS

    await deliver_until(time.monotonic() + min(0.5, seconds))
    busy = asyncio.create_task(other_work(turn_s)) if turn_s else None
    delivered = 0
    began_s, own_s, its_s = time.monotonic(), time.process_time(), _cpu_s(receiver)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(deliver_until(began_s + seconds))
    took_s, own_s, its_s = time.monotonic() - began_s, time.process_time() - own_s, _cpu_s(receiver) - its_s
    if busy is not None:
        await cancelled([busy])
    await sink.close()
    await client.close()
    return Rate(delivered / took_s, own_s / delivered * 1e6, its_s / delivered * 1e6)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def measure(
    seconds: float, per_message: Sequence[int], in_flight: Sequence[int], *, verify: bool, turn_s: float
) -> None:
    arguments = [sys.executable, "-m", "bench.grpc_rate", "--serve", *([] if verify else ["--count-only"])]
    server = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    try:
        url = (await server.stdout.readline()).decode().strip()
        process = psutil.Process(server.pid)
        rates = {
            (each, count): await rate(url, process, per_message=each, in_flight=count, seconds=seconds, turn_s=turn_s)
            for each in per_message
            for count in in_flight
        }
    finally:
        server.terminate()
        await server.wait()
    bytes_each = sum(map(len, events(9, EVENTS))) / EVENTS
    show(
        f"gRPC sink to receiver, batches of {EVENTS:,} events of {bytes_each:.0f} bytes of JSON",
        ("events a message, batches in flight", "events/s", "times as fast as the first", "sender, us", "receiver, us"),
        [
            (
                f"{each}, {count}",
                f"{found.events_per_s:,.0f}",
                f"{found.events_per_s / next(iter(rates.values())).events_per_s:.1f}",
                f"{found.sender_us:.1f}",
                f"{found.receiver_us:.1f}",
            )
            for (each, count), found in rates.items()
        ],
        f"each row {seconds:g} s; turns of the sender's loop with {turn_s * 1000:g} ms of other work; us are CPU time an event; the receiver "
        + ("checks each event" if verify else "checks nothing"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--per-message", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--count-only", action="store_true", help="the receiver does not check events")
    parser.add_argument("--turn-ms", type=float, default=0.0, help="other work in each turn of the sender's loop")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if options.serve:
        serve(verify=not options.count_only)
        return
    asyncio.run(
        measure(
            options.seconds,
            options.per_message,
            options.in_flight,
            verify=not options.count_only,
            turn_s=options.turn_ms / 1000,
        )
    )


if __name__ == "__main__":
    main()
