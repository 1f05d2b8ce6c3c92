"""Redis, where users are looked up, is killed, restarted, emptied and slow: 503, nothing accepted and lost, and back by itself."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pytest
from redis import Redis
from yarl import URL

from pipeline.inbound.outcome import Outcome
from pipeline.local.servers import LocalServers
from tests.support.called_worker import ORDER, CalledWorker, webhook
from tests.support.slow_line import SlowLine
from tests.support.worker_process import eventually


@dataclass
class Scene:
    """A worker, its Redis, and the line between them."""

    worker: CalledWorker
    servers: LocalServers
    line: SlowLine

    def redis(self) -> Redis:
        return Redis.from_url(self.servers.addresses.redis)

    def fires(self) -> bool:
        return self.worker.fire("by-user").status == 200


@pytest.fixture
def scene(kafka, tmp_path) -> Iterator[Scene]:
    servers = LocalServers(tmp_path / "redis", names=["redis"])
    servers.acquire()
    try:
        with SlowLine(URL(servers.addresses.redis).port or 0) as line:
            url = f"redis://127.0.0.1:{line.port}/0"
            worker = CalledWorker(
                kafka, url, tmp_path, [webhook("by-user"), webhook("by-email", "email", "customer.email")]
            )
            worker.start()
            try:
                worker.know_jane()
                worker.knows("by-user")
                worker.knows("by-email")
                yield Scene(worker, servers, line)
            finally:
                worker.stop()
    finally:
        servers.release()
        servers.down()  # one that was started again stays up by itself


class Load:
    """Calls a webhook all the time, from threads; ``answers`` has status, event id and ``Retry-After`` of each."""

    def __init__(self, worker: CalledWorker, threads: int = 4) -> None:
        self.worker = worker
        self.answers: list[tuple[int, str, str]] = []
        self.longest_s = 0.0
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _work(self) -> None:
        while not self._is_over.wait(0.01):
            began_s = time.monotonic()
            answer = self.worker.fire("by-user")
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            event_id = answer.json().get("event_id", "")
            self.answers.append((answer.status, event_id, answer.headers.get("retry-after", "")))

    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.answers}


def all_are_there(worker: CalledWorker, load: Load) -> None:
    """What was accepted is in the topic, once, and nothing else came of this load."""
    accepted = {event_id for status, event_id, _ in load.answers if status == 200}
    requests = worker.requests()
    eventually(lambda: accepted <= {event["uuid"] for event in worker.events()}, "every accepted event is passed on")
    events = [event["uuid"] for event in worker.events()]
    assert len(events) == len(set(events))
    assert set(events) == {event.uuid for each in requests for event in each.events}
    refused = [each for each in requests if each.outcome is Outcome.UNAVAILABLE]
    assert all(not each.events for each in refused)


def test_while_redis_is_away_callers_are_told_to_come_again_and_then_it_goes_on(scene):
    with Load(scene.worker) as load:
        eventually(lambda: len(load.answers) > 20, "callers are answered")
        scene.servers.down()
        eventually(lambda: 503 in load.statuses(), "callers are refused")
        until_s = time.monotonic() + 2
        while time.monotonic() < until_s:
            answer = scene.worker.fire("by-email")
            assert (answer.status, answer.json()["outcome"]) == (503, "unavailable")
        scene.servers.up()
        eventually(scene.fires, "the worker finds users again")
        went_on = len(load.answers)
        eventually(lambda: len(load.answers) > went_on + 20, "callers are answered")
    assert load.statuses() <= {200, 503}
    assert all(after == "1" for status, _, after in load.answers if status == 503)
    all_are_there(scene.worker, load)


def test_a_redis_that_lost_everything_is_filled_again(scene):
    with Load(scene.worker) as load:
        eventually(lambda: len(load.answers) > 20, "callers are answered")
        scene.redis().flushall()
        went_on = len(load.answers)
        eventually(lambda: len(load.answers) > went_on + 20, "callers are answered")
        eventually(scene.fires, "the worker finds users again")
    # nobody is told that a user whom we know does not exist
    assert load.statuses() <= {200, 503}
    all_are_there(scene.worker, load)
    assert scene.worker.fire("by-email", {"customer": {"email": "no@example.com"}}).status == 422


def test_a_redis_that_takes_a_second_costs_callers_no_longer_than_permitted(scene):
    with Load(scene.worker) as load:
        eventually(lambda: len(load.answers) > 20, "callers are answered")
        scene.line.delay_s = 1.0
        eventually(lambda: 503 in load.statuses(), "callers are refused")
        began_s = time.monotonic()
        assert scene.worker.fire("by-email", ORDER).status == 503
        assert time.monotonic() - began_s < 0.9
        scene.line.delay_s = 0.0
        eventually(scene.fires, "the worker finds users again")
    assert load.statuses() <= {200, 503}
    all_are_there(scene.worker, load)


def test_segment_is_told_to_come_again_where_a_profile_cannot_be_found_afterwards(scene):
    scene.servers.down()
    answer = scene.worker.segment("track-user", {"user_id": "joe", "attributes": {}})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert scene.worker.segment("post-events", {"events": [event("joe")]}).status == 200  # needs nobody to be found
    scene.servers.up()
    eventually(
        lambda: scene.worker.segment("track-user", {"user_id": "joe", "attributes": {}}).status == 200,
        "the directory takes a user again",
    )


def event(user_id: str) -> dict[str, object]:
    return {"user_id": user_id, "device_platform": "ios", "name": "Seen", "timestamp": "2026-01-01T00:00:00Z"}
