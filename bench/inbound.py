"""Webhook requests a second that are accepted, each acknowledged by Kafka, and how long an answer takes at half of it."""

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.processes import ROOT, Usage
from bench.rig import PARTITIONS, BenchError, Rig, Worker, rig, wait_until
from bench.table import show
from pipeline.local import ports
from pipeline.local.servers import LocalServers, default_directory

APPLICATION = "32E5A-9B411"
TOKEN = "segment-token-0123456789"
SECRET = "a-secret-of-the-benchmark-0123456789"
USERS = 1000
WEBHOOKS = 16
ACCEPTED_A_SECOND = 2000.0
P99_MS = 50.0


def webhook(number: int) -> dict[str, Any]:
    """One that takes five attributes of an order."""
    return {
        "id": f"orders-{number}",
        "name": f"Orders {number}",
        "event": "OrderPaid",
        "application": APPLICATION,
        "identify": {"by": "user_id", "field": "data.customer.id"},
        "attributes": {
            "total": "data.order.total",
            "currency": "data.order.currency",
            "number": "data.order.number",
            "country": "data.order.shipping.country",
            "skus": "data.order.items[*].sku",
        },
        "secret": SECRET,
    }


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis for the length of the block."""
    home = (default_directory() / "bench-redis").absolute()
    home.mkdir(parents=True, exist_ok=True)
    servers = LocalServers(home, names=["redis"])
    servers.acquire()
    try:
        yield servers.addresses.redis
    finally:
        servers.release()


def track_users(port: int, count: int) -> None:
    """Have the directory know user-0 to user-N."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Token {TOKEN}", "X-PW-Appcode": APPLICATION}
    for number in range(count):
        until_s = time.monotonic() + 60
        while True:
            body = json.dumps({"user_id": f"user-{number}", "attributes": {"plan": "gold"}})
            connection.request("POST", "/integration-segment/v1/track-user", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            if time.monotonic() > until_s:
                raise BenchError(f"a user was not taken: {answer.status}")
            time.sleep(0.2)
    connection.close()


def call(port: int, connections: int, seconds: float, rate: float = 0.0) -> dict[str, Any]:
    """What callers in a process of their own are answered."""
    url = f"http://127.0.0.1:{port}/webhooks/orders-{{}}"
    options = ["--connections", str(connections), "--seconds", str(seconds), "--rate", str(rate), "--users", str(USERS)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.callers", url, SECRET, "--webhooks", str(WEBHOOKS), *options],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise BenchError(f"the callers failed: {done.stderr.decode()[-2000:]}")
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def measured(
    found: Rig, crew: list[Worker], port: int, options: argparse.Namespace, rate: float
) -> tuple[dict[str, Any], list[str]]:
    """One run, and its row."""
    with Usage(workers=[worker.process.pid for worker in crew], broker=found.broker_pids) as usage:
        began_at = time.time()
        answered = call(port, options.connections, options.seconds, rate)
        ended_at = time.time()
    seconds = ended_at - began_at
    row = [
        f"{rate:,.0f} offered" if rate else "as many as go",
        f"{answered['per_second']:,.0f}",
        f"{answered['p50_ms']:.1f}",
        f"{answered['p99_ms']:.1f}",
        f"{answered['max_ms']:.0f}",
        ", ".join(f"{status}: {count:,}" for status, count in sorted(answered["statuses"].items())),
        f"{usage.cpu_s('workers', began_at, ended_at) / seconds:.2f}",
        f"{usage.cpu_s('broker', began_at, ended_at) / seconds:.2f}" if found.broker_pids else "",
    ]
    return answered, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--profile", type=Path, help="have py-spy write what the first worker does at full load")
    options = parser.parse_args()
    port = ports.choose()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(rig())
        redis_url = stack.enter_context(redis())
        app = stack.enter_context(found.app("inbound"))
        stack.callback(found.delete_topics, lambda name: name == f"{app}-events")
        found.create_topic(f"{app}-events")
        config = found.configure(
            app,
            f"{app}-events",
            [],
            redis=redis_url,
            inbound={"port": port, "webhooks": [webhook(number) for number in range(WEBHOOKS)]},
            segment_destination={"applications": {APPLICATION: TOKEN}},
        )
        crew = [stack.enter_context(found.worker(config, number)) for number in range(options.workers)]
        wait_until(lambda: all(worker.is_ready() for worker in crew), "the workers are not ready", 90)
        track_users(port, USERS)
        call(port, options.connections, 3.0)
        if options.profile is not None:
            arguments = [
                "record",
                "-d",
                str(int(options.seconds / 2)),
                "-r",
                "250",
                "-f",
                "raw",
                "-o",
                str(options.profile),
            ]
            spy = Path(sys.executable).with_name("py-spy")
            stack.enter_context(subprocess.Popen([spy, *arguments, "--pid", str(crew[0].process.pid)]))
        full, full_row = measured(found, crew, port, options, 0.0)
        rate = min(ACCEPTED_A_SECOND, full["per_second"]) / 2
        half, half_row = measured(found, crew, port, options, rate)
        accepted = sum(worker.metric("inbound_requests_total", outcome="accepted", source="webhook") for worker in crew)
        events = sum(worker.metric("inbound_events_total") for worker in crew)
    show(
        f"Webhook requests, {WEBHOOKS} webhooks, {USERS:,} users, some 600 bytes each, {options.connections} connections",
        ("", "accepted/s", "p50 ms", "p99 ms", "max ms", "answers", "worker cores", "broker cores"),
        [full_row, half_row],
        f"{options.workers} worker(s), {PARTITIONS} partitions; each request has an idempotency key and is acknowledged by Kafka "
        "before its answer; the callers share the machine",
        f"{accepted:,.0f} accepted, {events:,.0f} events passed on by the stage so far",
        "the bar: "
        + ("held" if full["per_second"] >= ACCEPTED_A_SECOND and half["p99_ms"] < P99_MS else "NOT HELD")
        + f" ({ACCEPTED_A_SECOND:,.0f} accepted/s, p99 under {P99_MS:.0f} ms at half of that)",
    )


if __name__ == "__main__":
    main()
