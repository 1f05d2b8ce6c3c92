"""Records that could not be used are seen with their raw bytes, and published again: on a whole worker and real Kafka."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from tests.support.viewed_flow import OPERATOR, VIEWER, ViewedFlow, event
from tests.support.worker_process import eventually

UNUSABLE = {
    "not_json": b"\xef\xbb\xbf{<script>alert(1)</script>",
    "not_utf8": b'{"event_name":"\xff"}',
    "missing_field": b'{"event_name":"Push Sent","user_id":"hidden-person"}',
}


@pytest.fixture(scope="module")
def flow(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewedFlow]:
    """Three records that cannot be used, one without a value, and one good event, all in partition 2."""
    flow = ViewedFlow("letters", kafka, tmp_path_factory.mktemp("letters"))
    flow.start()

    async def publish() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka)
        await producer.start()
        try:
            good = json.dumps(event("SHOP", 1)).encode()
            for value in (*UNUSABLE.values(), None, good):
                await producer.send_and_wait(flow.topic, value, key=b"user-7", partition=2)
        finally:
            await producer.stop()

    try:
        asyncio.run(publish())
        eventually(lambda: len(flow.rows("/dead-letters", "dead_letters")) == 4, "the dead letters are listed")
        yield flow
    finally:
        flow.close()


def letter(flow: ViewedFlow, reason: str) -> dict:
    return flow.rows("/dead-letters", "dead_letters", reason=reason, sort="at")[0]


def test_each_says_why_and_where_it_came_from(flow: ViewedFlow) -> None:
    for offset, reason in enumerate((*UNUSABLE, "tombstone")):
        row = letter(flow, reason)
        assert (row["topic"], row["source_partition"], row["source_offset"], row["key"]) == (
            flow.topic,
            2,
            offset,
            "user-7",
        )


def test_one_is_shown_as_text_and_in_hexadecimal(flow: ViewedFlow) -> None:
    row = letter(flow, "not_json")
    status, text = flow.ask(f"/dead-letters/{row['partition']}/{row['offset']}")
    assert status == 200
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "00000000  ef bb bf 7b 3c 73 63 72" in text
    assert f"/events/{flow.topic}/2/{row['source_offset']}" in text


def test_a_viewer_sees_neither_bytes_nor_key(flow: ViewedFlow) -> None:
    row = letter(flow, "missing_field")
    _, text = flow.ask(f"/dead-letters/{row['partition']}/{row['offset']}", VIEWER)
    masked = flow.rows("/dead-letters", "dead_letters", VIEWER, reason="missing_field")[0]
    assert "hidden-person" not in text + json.dumps(masked)
    assert masked["key"].startswith("user_id:")
    assert flow.rows("/dead-letters", "dead_letters", VIEWER, q="hidden-person") == []
    assert flow.ask("/dead-letters.json", VIEWER, preview__contains="hidden")[0] == 400


def test_one_that_is_not_there_is_not_found(flow: ViewedFlow) -> None:
    assert flow.ask("/dead-letters/0/99999")[0] == 404
    assert flow.ask("/dead-letters/99/0")[0] == 404


def test_its_event_page_says_that_it_cannot_be_used(flow: ViewedFlow) -> None:
    page = flow.page(f"/events/{flow.topic}/2/0")
    assert page["facts"]["reason"] == "not_json"


def test_they_are_counted_and_their_own_bytes_are_published_again(flow: ViewedFlow) -> None:
    facts = flow.page("/dead-letters/replay", OPERATOR, reason="not_utf8")["facts"]
    assert facts["dead letters"] == 1
    assert flow.ask("/dead-letters/replay", OPERATOR, {"reason": "not_utf8", "expected": "5"})[0] == 412
    status, text = flow.ask("/dead-letters/replay", OPERATOR, {"reason": "not_utf8", "expected": "1"})
    assert status == 200, text
    name = json.loads(text)["replay"]
    eventually(lambda: flow.page(f"/replays/{name}")["facts"]["state"] == "done", "the replay is done")
    assert [row["outcome"] for row in flow.rows(f"/replays/{name}", "rows")] == ["asked"]
    eventually(lambda: len(flow.rows("/dead-letters", "dead_letters", reason="not_utf8")) == 2, "it is refused again")
    both = flow.rows("/dead-letters", "dead_letters", reason="not_utf8", sort="source_offset")
    assert [row["source_partition"] for row in both] == [2, 2]
    assert len({row["preview"] for row in both}) == 1


def test_what_has_no_value_is_not_published_again(flow: ViewedFlow) -> None:
    assert flow.page("/dead-letters/replay", OPERATOR, reason="tombstone")["facts"]["dead letters"] == 0


def test_a_viewer_may_not_publish(flow: ViewedFlow) -> None:
    assert flow.ask("/dead-letters/replay", VIEWER, {"expected": "1"})[0] == 403
