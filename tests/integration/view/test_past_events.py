"""Events of the past, read from a real topic: all of them where they are few, spread evenly where they are many."""

import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.view.past_events import Asked, PastEvents, stretches
from pipeline.errors import UnavailableError
from pipeline.ingest.event import Event
from tests.support.chunk_worker import Broker, fresh_name
from tests.support.closed_port import closed_port

PARTITIONS = 3
SPANS = st.dictionaries(
    st.integers(0, 9), st.tuples(st.integers(0, 1000), st.integers(0, 100_000)).map(lambda pair: (pair[0], sum(pair)))
)


@given(SPANS, st.integers(1, 50_000))
def test_stretches_are_about_as_many_as_asked_for_and_never_overlap(
    spans: dict[int, tuple[int, int]], most: int
) -> None:
    cut = stretches(spans, most)

    taken = [(number, offset) for part in cut for number, span in part.items() for offset in (span[0], span[1])]
    for number, (first, end) in spans.items():
        own = sorted(part[number] for part in cut if number in part)
        assert all(first <= start <= stop <= end for start, stop in own)
        assert all(before[1] <= after[0] for before, after in pairwise(own))
    total = sum(end - first for first, end in spans.values())
    count = sum(stop - start for part in cut for start, stop in part.values())
    assert count == total if total <= most else count <= most + 12 * len(spans) * 2
    assert taken or not total


def record(number: int) -> bytes:
    fields = {
        "event_name": "Push Sent",
        "platform": "iOS",
        "application_code": "A",
        "timestamp": 1,
        "user_id": str(number),
    }
    return json.dumps(fields).encode()


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker


async def topic_with(broker: Broker, values: list[bytes | None]) -> str:
    topic = await broker.create(fresh_name("past-events"), PARTITIONS)
    for partition in range(PARTITIONS):
        await broker.put(topic, values[partition::PARTITIONS], partition=partition)
    return topic


async def test_few_events_are_all_read(broker: Broker) -> None:
    topic = await topic_with(broker, [record(number) for number in range(100)])
    found: list[Event] = []

    read = await PastEvents(broker.address, topic, 1).read(Asked(), found.extend, now_s=time.time())

    assert sorted(int(event.user_id or "") for event in found) == [*range(100)]
    assert (read.records, read.read, read.unusable, read.is_whole) == (100, 100, 0, True)


async def test_of_many_events_a_sample_from_the_whole_time_is_read(broker: Broker) -> None:
    topic = await topic_with(broker, [record(number) for number in range(6000)])
    found: list[Event] = []

    read = await PastEvents(broker.address, topic, 1).read(Asked(3600.0, 600), found.extend, now_s=time.time())

    numbers = sorted(int(event.user_id or "") for event in found)
    assert len(numbers) == len(set(numbers)) == read.read
    assert 550 <= read.read <= 650
    assert (numbers[0], numbers[-1]) == (0, 5999)
    assert max(after - before for before, after in pairwise(numbers)) < 1000
    assert read.estimate(read.read) == read.records == 6000


async def test_the_latest_are_read_whenever_they_came(broker: Broker) -> None:
    topic = await topic_with(broker, [record(number) for number in range(300)])
    found: list[Event] = []

    await PastEvents(broker.address, topic, 1).read(Asked(None, 30), found.extend, now_s=time.time() + 1e6)

    assert sorted(int(event.user_id or "") for event in found) == [*range(270, 300)]


async def test_what_is_older_than_was_asked_for_is_left_out(broker: Broker) -> None:
    topic = await topic_with(broker, [record(number) for number in range(30)])
    found: list[Event] = []

    read = await PastEvents(broker.address, topic, 1).read(Asked(60.0), found.extend, now_s=time.time() + 3600)

    assert (found, read.records, read.is_whole) == ([], 0, True)


async def test_records_that_are_no_events_are_counted(broker: Broker) -> None:
    topic = await topic_with(broker, [record(0), b"not JSON", None, record(1)])
    found: list[Event] = []

    read = await PastEvents(broker.address, topic, 1).read(Asked(), found.extend, now_s=time.time())

    assert (len(found), read.read, read.unusable) == (2, 4, 2)


async def test_a_broker_that_is_away_is_said_to_be() -> None:
    with closed_port() as port, pytest.raises(UnavailableError, match="try again"):
        await PastEvents(f"127.0.0.1:{port}", "any", 1).read(Asked(), lambda _: None, now_s=time.time())
