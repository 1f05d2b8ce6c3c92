"""How quickly the view answers while events flow, what asking costs the flow, and what pages say when a worker dies.

python -m bench.view [--attempts 1000000] [--integrations 10000] [--rate 20000] [--requests 20]

Two workers share 12 partitions and 10,000 integrations. Their indexes take over 1,000,000 attempts first. Then 20,000 events
a second flow: for a while nobody looks, then each page is asked for in turn, two a second, and last one worker gets SIGKILL.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from bench.load import sharing
from bench.processes import Usage, running
from bench.rig import BenchError, Rig, Worker, end_now, rig, wait_until
from bench.table import megabytes, show
from pipeline.model.attempt import Attempt, Verdict, encode_attempt

PARTITIONS = 12
PAGES_A_SECOND = 2.0
WARM_UP_S = 10.0
INDEX_S = 180.0
SLOW_FIRST_S, SLOW_FULL_S = 0.2, 1.0
DAY_S = 86_400


class Timed(NamedTuple):
    """One answer: seconds until its first byte and its last."""

    status: int
    first_s: float
    full_s: float
    body: bytes


def ask(worker: Worker, path: str) -> Timed:
    """GET a page as a browser does, on a connection of its own."""
    parts = urlsplit(worker.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    began_s = time.perf_counter()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        first = answer.read(1)
        first_s = time.perf_counter() - began_s
        body = first + answer.read()
        return Timed(answer.status, first_s, time.perf_counter() - began_s, body)
    finally:
        connection.close()


def attempts(count: int, integrations: int) -> Iterator[tuple[int, bytes]]:
    """Tries of the last day, with the partition of each."""
    made, now_s = random.Random(1), time.time()
    for number in range(count):
        name = f"i-{int(integrations * made.random() ** 3)}"
        has_failed = number % 50 == 0
        status = (503, 429, 500)[number // 50 % 3] if has_failed else 200
        record = Attempt(
            batch=f"{name}:{number * 100}-{number * 100 + 100}",
            integration=name,
            kind="http",
            attempt=1,
            at=now_s - DAY_S * (1 - number / count),
            events=100,
            verdict=Verdict.RETRY if has_failed else Verdict.DELIVERED,
            detail=f"the endpoint answered {status}",
            duration_s=0.01 + 0.2 * made.random(),
            request_bytes=45_000,
            answer_bytes=2,
            status=status,
            answer_head="no" if has_failed else "ok",
            final=None if has_failed else "delivered",
        )
        yield number % PARTITIONS, encode_attempt(record)


async def load_attempts(brokers: str, topic: str, count: int, integrations: int) -> None:
    """Produce attempts as workers do."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, max_batch_size=1 << 20, max_request_size=16 << 20)
    await producer.start()
    try:
        builders: dict[int, Any] = {}
        sent = []
        for partition, value in attempts(count, integrations):
            builder = builders.get(partition) or builders.setdefault(partition, producer.create_batch())
            if builder.append(timestamp=None, key=None, value=value) is None:
                sent.append(await producer.send_batch(builder, topic, partition=partition))
                builders[partition] = producer.create_batch()
                builders[partition].append(timestamp=None, key=None, value=value)
        for partition, builder in builders.items():
            sent.append(await producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def make_topics(found: Rig, *names: str) -> None:
    """Empty topics of all partitions."""
    found.admin(lambda admin: admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]))


def indexed(worker: Worker) -> int:
    """How many attempts all workers have in their indexes, as one of them says."""
    answer = ask(worker, "/attempts.json?size=1")
    section = json.loads(answer.body).get("sections", {}).get("attempts", {}) if answer.status == 200 else {}
    text = "".join(each for each in str(section.get("heading", "")).partition(" attempt")[0] if each.isdigit())
    return int(text or 0) if section.get("coverage", {}).get("complete") else 0


def pages_of(worker: Worker) -> dict[str, str]:
    """Every page, with what a person would look at; some as they are asked for most, too."""
    row = json.loads(ask(worker, "/attempts.json?size=1").body)["sections"]["attempts"]["rows"][0]
    name = quote(row["integration"], safe="")
    batches = json.loads(ask(worker, "/batches.json?size=1").body)["sections"]["batches"]["rows"]
    batch = quote(batches[0]["batch"], safe="") if batches else "none"
    return {
        "overview": "/",
        "integrations": "/integrations",
        "integrations, searched and sorted": "/integrations?q=i-77&sort=-integration",
        "one integration": f"/integrations/{name}",
        "its open window": f"/integrations/{name}/window",
        "attempts": "/attempts",
        "attempts, failed, counted": "/attempts?status__gt=499&facet=status&facet=integration",
        "attempts of one": f"/attempts?integration={name}",
        "batches": "/batches",
        "one batch": f"/batches/{batch}",
        "parked": "/parked",
        "dead letters": "/dead-letters",
        "tables": "/tables",
        "table windows": "/tables/windows",
        "topics": "/topics",
        "workers": "/workers",
        "events": "/events",
        "notices": "/notices",
        "audit": "/audit",
        "replays": "/replays",
        "about": "/about",
        "sql (form)": "/sql",
        "attempts.csv, 1,000 rows": "/attempts.csv?size=1000",
    }


class Flow(NamedTuple):
    """What flowed in a stretch of time."""

    events_per_s: float
    cpu_s_per_100k: float


@contextlib.contextmanager
def flowing(crew: Sequence[Worker], usage: Usage) -> Iterator[list[Flow]]:
    """Measure the flow for the length of a block; the list has its figures afterwards."""
    before, began_at = sum(worker.ledger()["matched"] for worker in crew), time.time()
    measured: list[Flow] = []
    yield measured
    ended_at = time.time()
    events = sum(worker.ledger()["matched"] for worker in crew) - before
    seconds = time.time() - began_at
    cpu_s = usage.cpu_s("workers", began_at, ended_at)
    measured.append(Flow(events / seconds, cpu_s / max(1, events) * 100_000))


def looked_at(crew: Sequence[Worker], pages: dict[str, str], requests: int) -> dict[str, list[Timed]]:
    """Ask for all pages in turn, of each worker in turn, two a second; no more of them when it takes thrice as long."""
    found: dict[str, list[Timed]] = {name: [] for name in pages}
    due_s = time.monotonic()
    until_s = due_s + 3 * len(pages) * requests / PAGES_A_SECOND
    for number in range(requests):
        for name, path in pages.items():
            if time.monotonic() > until_s and number:
                return found
            time.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s, time.monotonic() - 1) + 1 / PAGES_A_SECOND
            found[name].append(ask(crew[number % len(crew)], path))
    return found


def rows_of(found: dict[str, list[Timed]]) -> Iterator[list[str]]:
    """The table's rows."""
    for name, answers in found.items():
        firsts, fulls = sorted(each.first_s for each in answers), sorted(each.full_s for each in answers)
        place = min(len(answers) - 1, int(0.95 * len(answers)))
        is_slow = firsts[place] > SLOW_FIRST_S or fulls[place] > SLOW_FULL_S
        bad = sorted({each.status for each in answers} - {200})
        yield [
            name,
            *(f"{value * 1000:,.0f}" for value in (statistics.median(firsts), firsts[place])),
            *(f"{value * 1000:,.0f}" for value in (statistics.median(fulls), fulls[place])),
            f"{len(answers[-1].body) / 1000:,.0f}",
            " ".join([*map(str, bad), *(["slow"] if is_slow else [])]),
        ]


def after_a_death(survivor: Worker, victim: Worker, pages: dict[str, str]) -> list[list[str]]:
    """Kill a worker, and ask the other for pages at once: how long each takes, and what it says is missing."""
    end_now(victim)
    rows = []
    for name in ("overview", "integrations", "attempts", "batches", "tables", "workers"):
        path = "/index" if pages[name] == "/" else pages[name]
        answer = ask(survivor, f"{path}.json")
        missing = json.loads(answer.body).get("coverage", {}).get("missing_partitions", [])
        rows.append(
            [name, str(answer.status), f"{answer.full_s * 1000:,.0f}", ", ".join(map(str, missing)) or "nothing"]
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--integrations", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--requests", type=int, default=20, help="how often each page is asked for")
    parser.add_argument("--quiet-seconds", type=float, default=30.0)
    options = parser.parse_args(arguments)
    with rig() as found, found.receiver() as endpoint, found.app("view") as app, contextlib.ExitStack() as stack:
        topic = f"{app}-source"
        make_topics(found, topic, f"{app}-attempts")
        asyncio.run(load_attempts(found.brokers, f"{app}-attempts", options.attempts, options.integrations))
        targets = sharing(options.integrations, options.integrations, endpoint.url)
        config = found.configure(app, topic, targets, partitions=PARTITIONS)
        began_s = time.monotonic()
        crew = [stack.enter_context(found.worker(config, number)) for number in range(2)]
        wait_until(lambda: all(worker.is_ready() for worker in crew), "the workers are not ready", 90)
        ready_s = time.monotonic() - began_s
        wait_until(lambda: indexed(crew[0]) >= options.attempts, "the attempts are not indexed", INDEX_S, poll_s=1)
        print(
            f"ready after {ready_s:.0f} s, {options.attempts:,} attempts indexed after {time.monotonic() - began_s:.0f} s",
            flush=True,
        )
        watching_s = len(pages_of(crew[0])) * options.requests / PAGES_A_SECOND
        seconds = WARM_UP_S + options.quiet_seconds + 3 * watching_s + 60
        feed = ("--rate", str(options.rate), "--seconds", str(seconds), "--partitions", str(PARTITIONS))
        more = ("--applications", str(options.integrations))
        usage = stack.enter_context(Usage(workers=[worker.process.pid for worker in crew]))
        with running("bench.feed", found.brokers, topic, *feed, *more, log=found.folder / "feed.log"):
            time.sleep(WARM_UP_S)
            with flowing(crew, usage) as quiet:
                time.sleep(options.quiet_seconds)
            pages = pages_of(crew[0])
            with flowing(crew, usage) as watched:
                answers = looked_at(crew, pages, options.requests)
            after = after_a_death(crew[0], crew[1], pages)
        if not quiet[0].events_per_s:
            raise BenchError("no events flowed; see feed.log")
    show(
        f"Pages, {options.integrations:,} integrations, {options.attempts:,} attempts, {options.rate:,.0f} events/s offered",
        ("page", "first byte p50 ms", "p95 ms", "full p50 ms", "p95 ms", "kB", ""),
        rows_of(answers),
        f"two workers, {PARTITIONS} partitions, HTML, {options.requests} requests a page, {PAGES_A_SECOND:g} pages a second",
        f"slow: first byte over {SLOW_FIRST_S * 1000:.0f} ms or all of it over {SLOW_FULL_S:g} s at p95; "
        f"largest worker {megabytes(usage.peak_bytes('workers'))} MB",
    )
    show(
        "What looking costs the flow",
        ("", "events/s", "worker CPU s/100k"),
        [
            [name, f"{flow.events_per_s:,.0f}", f"{flow.cpu_s_per_100k:.2f}"]
            for name, flow in (("nobody looks", quiet[0]), (f"{PAGES_A_SECOND:g} pages a second", watched[0]))
        ],
        f"slower by {1 - watched[0].events_per_s / quiet[0].events_per_s:.1%}",
    )
    show("Right after SIGKILL of one worker", ("page", "status", "full ms", "missing partitions"), after)


if __name__ == "__main__":
    main()
