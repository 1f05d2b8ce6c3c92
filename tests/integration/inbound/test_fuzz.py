"""Bodies and headers at random against a whole worker: nothing fails, is lost, made up, or missing from the counts.

``FUZZ_REQUESTS`` says how many (``make fuzz``: 100,000), ``FUZZ_SEED`` which.
"""

import asyncio
import json
import os
import random
from collections import Counter

import pytest

from pipeline.inbound.outcome import Outcome
from tests.support.called_worker import CalledWorker, webhook
from tests.support.fuzzed_calls import Call, Fuzzer
from tests.support.inbound_calls import Answer, caller
from tests.support.worker_process import eventually

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "3000"))
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(1 << 32))
CALLERS = 24
EXPECTED = {200, 400, 401, 404, 405, 413, 422}


class Heard:
    """What callers were answered."""

    def __init__(self) -> None:
        self.answers: list[tuple[Call, Answer]] = []
        self.unanswered = 0

    async def work(self, port: int, calls: list[Call]) -> None:
        while calls:
            async with caller(port) as line:
                while calls:
                    call = calls.pop()
                    try:
                        await line.send(call.sent)
                        answer = await line.answer(60)
                    except (ConnectionError, asyncio.IncompleteReadError):
                        self.unanswered += 1
                        break
                    self.answers.append((call, answer))
                    if answer.headers.get("connection") == "close" or b"no_http" in answer.body:
                        break


@pytest.mark.timeout(120 + REQUESTS // 50)
def test_fuzzed_requests_bring_no_failure_no_loss_and_no_phantom(kafka, redis_url, tmp_path):
    print(f"FUZZ_SEED={SEED}")  # noqa: T201 shown where the test fails
    by = [("by-user", "user_id", "id"), ("by-email", "email", "email"), ("by-phone", "phone", "phone")]
    webhooks = [
        webhook(name, kind, f"customer.{field}") for name, kind, field in [*by, ("by-device", "hwid", "device")]
    ]
    worker = CalledWorker(
        kafka,
        redis_url,
        tmp_path,
        [*webhooks, webhook("off", enabled=False)],
        max_body="128KiB",
        trust_proxy=["127.0.0.0/8"],
    )
    worker.start()
    try:
        worker.know_jane()
        for name, *_ in [*by, ("by-device",)]:
            worker.knows(name)
        known = {each.request_id for each in worker.requests()}
        before = worker.counted()
        heard = Heard()
        asyncio.run(_called(heard, worker.inbound_port))
        _check(worker, heard, known, worker.counted() - before)
    finally:
        worker.stop()


async def _called(heard: Heard, port: int) -> None:
    fuzzer, left = Fuzzer(SEED), REQUESTS
    while left:
        lot = min(left, 2000)
        calls = [fuzzer.call() for _ in range(lot)]
        await asyncio.gather(*(heard.work(port, calls) for _ in range(CALLERS)))
        left -= lot


def _check(worker: CalledWorker, heard: Heard, known: set[str], counted: Counter[tuple[str, str]]) -> None:
    statuses = Counter(answer.status for _, answer in heard.answers)
    print(dict(statuses), dict(counted))  # noqa: T201
    strange = [answer for _, answer in heard.answers if answer.status not in EXPECTED]
    assert not strange, strange[:3]
    assert heard.unanswered == 0
    assert len(heard.answers) == REQUESTS
    # every request is in the worker's own counts
    assert counted.total() == REQUESTS
    # each webhook request that was answered has its one record, which says the same; nothing else has one
    records = [each for each in worker.requests() if each.request_id not in known]
    told = {
        found["request_id"]: (found["outcome"], answer.status)
        for call, answer in heard.answers
        if call.source == "webhook" and (found := json.loads(answer.body)).get("request_id")
    }
    of_webhooks = {each.request_id: (each.outcome.value, each.status) for each in records if each.source == "webhook"}
    assert of_webhooks == told
    of_segment = Counter(each.outcome.value for each in records if each.source == "segment" and each.is_first_part)
    assert of_segment == {
        outcome: count
        for (source, outcome), count in counted.items()
        if source == "segment" and outcome != "unknown_path"
    }
    # each event that was accepted is passed on once, and no other
    accepted = {event.uuid for each in worker.requests() for event in each.events}
    eventually(lambda: len(worker.events()) >= len(accepted), "the stage has passed on all events", 60)
    passed_on = Counter(event["uuid"] for event in worker.events())
    assert set(passed_on) == accepted
    assert set(passed_on.values()) <= {1}
    assert all(each.events for each in records if each.source == "webhook" and each.outcome is Outcome.ACCEPTED)
    assert worker.log().count("Error handling request") == 0
