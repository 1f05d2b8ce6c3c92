"""A worker that stops, or whose Kafka stalls, under load: what got 2xx is kept, and nobody is told anything but 503."""

import http.client
import threading
import time
from collections import Counter

import pytest

from tests.support.called_worker import CalledWorker, webhook
from tests.support.worker_process import eventually


@pytest.fixture
def worker(kafka, redis_url, tmp_path):
    started = CalledWorker(kafka, redis_url, tmp_path, [webhook("by-user")])
    started.start()
    try:
        started.know_jane()
        started.knows("by-user")
        yield started
    finally:
        started.stop()


class Callers:
    """Threads that call, each on a connection that it keeps, until theirs ends and no new one can be had."""

    def __init__(self, worker: CalledWorker, threads: int = 8) -> None:
        self.worker = worker
        self.answers: list[tuple[int, str]] = []
        self.broken: Counter[str] = Counter()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _work(self) -> None:
        while True:
            try:
                answer = self.worker.fire("by-user")
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as error:
                self.broken[type(error).__name__] += 1
                continue
            self.answers.append((answer.status, answer.json().get("event_id", "")))

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def test_a_worker_that_is_stopped_answers_what_it_took_and_keeps_what_it_accepted(worker):
    callers = Callers(worker)
    eventually(lambda: len(callers.answers) > 200, "callers are answered")
    assert worker.stop() == 0
    callers.join()
    assert {status for status, _ in callers.answers} <= {200, 503}
    accepted = {event_id for status, event_id in callers.answers if status == 200}
    kept = {event.uuid for each in worker.requests() for event in each.events}
    assert accepted <= kept
    # one that was taken without an answer could only be among those whose connection broke
    assert len(kept - accepted) <= callers.broken.total() + 50
    worker.start()
    eventually(lambda: kept <= {event["uuid"] for event in worker.events()}, "the next worker passes all on", 60)
    assert set(Counter(event["uuid"] for event in worker.events()).values()) == {1}


def test_while_kafka_stalls_callers_are_told_to_come_again_and_then_it_goes_on(own_kafka, redis_url, tmp_path):
    worker = CalledWorker(own_kafka.addresses.kafka, redis_url, tmp_path, [webhook("by-user")])
    worker.start()
    try:
        worker.know_jane()
        worker.knows("by-user")
        own_kafka.pause_kafka()
        try:
            first = worker.fire("by-user")
            assert (first.status, first.headers.get("retry-after")) == (503, "1"), first
            began_s = time.monotonic()
            assert worker.fire("by-user").status == 503
            assert time.monotonic() - began_s < 2, "what waits for Kafka must not grow"
        finally:
            own_kafka.resume_kafka()
        worker.knows("by-user")
    finally:
        worker.stop()


def test_while_kafka_stalls_nothing_that_is_told_of_users_gathers_in_memory(own_kafka, redis_url, tmp_path):
    worker = CalledWorker(own_kafka.addresses.kafka, redis_url, tmp_path, [webhook("by-user")])
    worker.start()
    try:
        worker.know_jane()
        own_kafka.pause_kafka()
        try:
            began_s = time.monotonic()
            assert worker.segment("track-user", {"user_id": "first"}).status == 503
            assert time.monotonic() - began_s < 8, "Segment waits 10 s for an answer"
            began_s = time.monotonic()
            refused = worker.segment("track-user", {"user_id": "second"})
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert worker.segment("delete-user", {"external_id": "third"}).status == 503
            assert time.monotonic() - began_s < 2, "what waits for Kafka must not grow"
        finally:
            own_kafka.resume_kafka()
        eventually(lambda: worker.segment("track-user", {"user_id": "last"}).status == 200, "users are taken again")
        told = b"".join(value for _, value in worker.records(worker.names.user_updates))
        assert b'"last"' in told
        assert b'"second"' not in told
        assert b'"third"' not in told
    finally:
        worker.stop()
