"""How what is sent is packed into record batches, and how acknowledgements come back.

Real record batches of aiokafka; only the network is left out.
"""

import asyncio
from collections import deque
from types import SimpleNamespace

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.outbox import Outbox
from agents.engine.packing import SOFT_BATCH_BYTES, Item, pack
from pipeline.errors import SendFailedError
from tests.support.event_loop import settle


class Producer:
    """Makes real record batches of up to ``max_batch_bytes``, and answers a batch when told to."""

    def __init__(self, max_batch_bytes: int = 4 << 20) -> None:
        self._max_batch_bytes = max_batch_bytes
        self.sent: list[tuple[str, int, list[tuple[bytes, bytes]], asyncio.Future]] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(self._max_batch_bytes, 0)

    async def send_batch(self, builder: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future:
        answer = asyncio.get_running_loop().create_future()
        self.sent.append((topic, partition, content(builder), answer))
        return answer

    def answer(self, number: int, base_offset: int) -> None:
        self.sent[number][3].set_result(SimpleNamespace(offset=base_offset))


def content(builder: BatchBuilder) -> list[tuple[bytes, bytes]]:
    builder.close()
    records = MemoryRecords(bytes(builder._build()))
    return [(record.key, record.value) for record in records.next_batch()] if records.has_next() else []


@pytest.fixture
def producer() -> Producer:
    return Producer()


def made(producer: Producer) -> Outbox:
    """An outbox of an app that writes down its crashes."""
    crashes: list[BaseException] = []

    async def watch_topic(_: str) -> None:
        pass

    async def started() -> SimpleNamespace:
        return SimpleNamespace(raw=producer, watch_topic=watch_topic)

    async def crash(reason: BaseException) -> None:
        crashes.append(reason)

    loop = asyncio.get_running_loop()
    app = SimpleNamespace(
        maybe_start_producer=started, crash=crash, crashes=crashes, should_stop=False, loop=loop, urgent_topics=set()
    )
    return Outbox(app, lease_s=60.0)


def packed(groups: list[list[tuple[bytes, bytes]]], *calls: int, max_batch_bytes: int = 4 << 20):
    """What becomes of groups that come in calls of so many each, pack after pack."""

    async def pack_all():
        queue, start = deque(), 0
        for count in calls or (len(groups),):
            if groups[start : start + count]:
                queue.append(Item(groups[start : start + count]))
            start += count
        batches = []
        while queue:
            builder, parts = pack(Producer(max_batch_bytes), "topic", queue, lambda _item: True)
            batches.append((content(builder), [list(part) for _, part in parts]))
        return batches

    return asyncio.run(pack_all())


GROUPS = st.lists(
    st.lists(
        st.tuples(st.binary(min_size=1, max_size=5), st.integers(1, 400).map(lambda size: b"v" * size)),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=12,
)


@given(GROUPS, st.data())
def test_batches_hold_whole_groups_in_order(groups, data):
    calls = data.draw(st.lists(st.integers(1, 5), min_size=len(groups), max_size=len(groups)))
    batches = packed(groups, *calls, max_batch_bytes=2500)
    for records, parts in batches:
        assert records == [record for part in parts for group in part for record in group], (
            "what is said is what is sent"
        )
    assert [group for _, parts in batches for part in parts for group in part] == groups


def test_what_waits_goes_out_together_up_to_about_a_megabyte():
    groups = [[(b"k", b"x" * 100_000)]] * 25
    sizes = [sum(len(value) for _, value in records) for records, _ in packed(groups, 20, 5)]
    assert sum(sizes) == 2_500_000
    assert len(sizes) == 3
    assert all(size <= SOFT_BATCH_BYTES + 100_000 for size in sizes)


def test_a_group_that_does_not_fit_behind_others_goes_next_and_alone():
    small, large = [(b"s", b"x" * 500)], [(b"l1", b"x" * 900), (b"l2", b"x" * 900)]
    batches = packed([small, large, small], max_batch_bytes=2000)
    assert [[key for key, _ in records] for records, _ in batches] == [[b"s"], [b"l1", b"l2"], [b"s"]]


def test_a_group_that_fits_no_batch_is_refused_with_what_to_do():
    with pytest.raises(SendFailedError, match=r"group of 3 records for topic.*lower batch.max_bytes"):
        packed([[(b"k", b"x" * 900)] * 3], max_batch_bytes=2000)


async def test_a_future_is_done_when_the_broker_has_its_last_group(producer):
    outbox = made(producer)
    stored: list[tuple[list, int]] = []
    groups = [[(b"%d" % number, b"x" * 400_000)] for number in range(4)]
    future = outbox.send("topic", 0, groups, lambda part, last: stored.append((list(part), last)))
    await settle()
    assert len(producer.sent) == 1, "one batch of a partition at a time"
    producer.answer(0, base_offset=100)
    await settle()
    assert not future.done()
    assert stored == [(groups[:3], 102)], "offsets of the last record of the groups that are stored"
    producer.answer(1, base_offset=103)
    await settle()
    assert future.done()
    assert stored[1] == (groups[3:], 103)


async def test_calls_share_a_batch_and_each_learns_its_own_last_offset(producer):
    outbox = made(producer)
    stored = []
    first = outbox.send("topic", 0, [[(b"a", b"1"), (b"b", b"1")]], lambda _, last: stored.append(("first", last)))
    second = outbox.send("topic", 0, [[(b"c", b"2")]], lambda _, last: stored.append(("second", last)))
    await settle()
    [(_, _, records, _)] = producer.sent
    assert [key for key, _ in records] == [b"a", b"b", b"c"]
    producer.answer(0, base_offset=40)
    await asyncio.gather(first, second)
    assert stored == [("first", 41), ("second", 42)]


async def test_partitions_do_not_wait_for_each_other(producer):
    outbox = made(producer)
    stuck = outbox.send("topic", 0, [[(b"a", b"1")]])
    other = outbox.send("topic", 1, [[(b"b", b"1")]])
    await settle()
    producer.answer(1, base_offset=0)
    await settle()
    assert other.done()
    assert not stuck.done()


async def test_after_a_refusal_nothing_more_is_sent_and_the_worker_crashes_once(producer):
    outbox = made(producer)
    futures = [outbox.send("topic", 0, [[(b"a", b"1")]])]
    await settle()
    futures.append(outbox.send("topic", 0, [[(b"b", b"1")]]))
    producer.sent[0][3].set_exception(OSError("disk full"))
    await settle()
    futures += [outbox.send("topic", 0, [[(b"c", b"1")]]), outbox.send("other", 0, [[(b"d", b"1")]])]
    await settle()
    assert len(producer.sent) == 1
    assert not any(future.done() for future in futures)
    [reason] = outbox.app.crashes
    assert isinstance(reason, SendFailedError)
    assert "topic, partition 0" in str(reason)
    assert "disk full" in str(reason)


async def test_sending_nothing_is_done_at_once(producer):
    assert made(producer).send("topic", 0, []).done()
    await settle()
    assert not producer.sent


async def test_headers_null_keys_and_null_values_go_along(producer):
    outbox = made(producer)
    outbox.send("topic", 0, [[(None, b"v", [("name", b"value")]), (b"k", None)]])
    await settle()
    assert producer.sent[0][2] == [(None, b"v"), (b"k", None)]


async def test_acknowledged_records_and_bytes_are_counted_by_topic(producer):
    outbox = made(producer)
    sent = outbox.send("topic", 0, [[(b"a", b"x" * 1000)] * 3])
    await settle()
    assert not outbox.sent_records
    producer.answer(0, base_offset=0)
    await sent
    assert outbox.sent_records == {"topic": 3}
    assert 3000 < outbox.sent_bytes["topic"] < 3300
