"""The directory of users as part of a whole worker: told by Segment's calls, learned from events, deleted with a proof."""

import asyncio
import json
import time
import urllib.request

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.local import ports
from tests.support.worker_process import WorkerProcess, eventually

TOKEN = "segment-token-of-this-test"
APPLICATION = "32E5A-9B411"


class UsersProcess(WorkerProcess):
    """A worker that takes Segment's calls."""

    def __init__(self, brokers, redis_url, folder):
        super().__init__("users", brokers, folder)
        self.redis_url = redis_url
        self.inbound_port = ports.choose()

    def settings(self):
        return {
            **super().settings(),
            "redis": self.redis_url,
            "inbound": {"port": self.inbound_port},
            "segment_destination": {"applications": {APPLICATION: TOKEN}},
            "users": {"tags": ["City"]},
        }

    def call(self, name, **body):
        """One of Segment's calls; tried again while the worker is not there yet, as Segment does."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.inbound_port}/integration-segment/v1/{name}",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Token {TOKEN}",
                "X-PW-Appcode": APPLICATION,
                "Content-Type": "application/json",
            },
        )

        def answered():
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status == 200
            except OSError:
                return False

        eventually(answered, f"{name} is taken")

    def updates(self, what):
        """How many updates of a kind were counted."""
        lines = self.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith(f'distributary_user_updates_total{{what="{what}"}}')]
        return float(found[0].split()[-1]) if found else 0.0

    def publish(self, **event):
        """An event of the source topic."""

        async def send():
            producer = AIOKafkaProducer(bootstrap_servers=self.brokers)
            await producer.start()
            await producer.send_and_wait(self.topic, json.dumps(event).encode())
            await producer.stop()

        asyncio.run(send())


@pytest.fixture
def worker(kafka, redis_url, tmp_path):
    process = UsersProcess(kafka, redis_url, tmp_path)
    process.start()
    yield process
    assert process.stop() == 0, process.log()[-4000:]


def test_a_user_is_told_of_seen_in_events_and_deleted_with_a_proof(worker):
    worker.call("track-user", user_id="u1", device_id="H1", device_platform="ios", attributes={"City": "Bonn"})
    eventually(lambda: worker.updates("tracked") == 1, "the user is stored")

    event = {"event_name": "Email Opened", "application_code": APPLICATION, "platform": "iOS"}
    worker.publish(**event, timestamp=int(time.time()), hwid="H2", user_id="u1")
    eventually(lambda: worker.updates("seen") == 1, "the event's device is learned")

    worker.call("delete-user", external_id="u1")

    def entries():
        rows = json.loads(worker.get("/audit.json")[1])["sections"]["audit"]["rows"]
        return [row for row in rows if row["what"] == "user deleted"]

    eventually(entries, "the proof is in the audit log")
    [entry] = entries()
    assert (entry["details"]["devices"], entry["details"]["attributes"]) == (2, 1)
    assert len(entry["details"]["identifiers"]) == 3
