"""Whatever happens in whatever order, every event is delivered, parked or discarded in the end, and counted once."""

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.delivery.limits import DeliveryLimits
from pipeline.model.attempt import Verdict
from pipeline.model.batch import decode_batch, parse_batch_id
from tests.support.delivering import NOT_FOUND, OK, UNAVAILABLE, Delivering, delivering, integration, throttled

LIMITS = DeliveryLimits(slots=6, quantum_bytes=500, resident_bytes=3_000, outgoing_bytes=4_000, reads=2)
LANES = ("plain", "plain~1", "ordered", "dropping")
lanes = st.sampled_from(LANES)
names = st.sampled_from(["plain", "ordered", "dropping"])

steps = st.one_of(
    st.tuples(st.just("send"), lanes, st.integers(1, 12)),
    st.tuples(st.just("send"), lanes, st.integers(1, 12)),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 3.0, 8.0, 4_000.0])),
    st.tuples(st.just("write")),
    st.tuples(st.just("kill")),
    st.tuples(st.just("stop")),
    st.tuples(st.just("mood"), names, st.sampled_from([OK, UNAVAILABLE, NOT_FOUND, throttled(20)])),
    st.tuples(st.just("hang"), names, st.booleans()),
)


class Story:
    """Plays steps; a kill loses all that was not written, and the input comes again from where it was last committed."""

    def __init__(self, it: Delivering) -> None:
        self.it = it
        self.committed = 0
        self.fed = 0

    def feed_all(self) -> None:
        for offset in range(self.fed, len(self.it.topic[0])):
            self.it.feed(offset)
        self.fed = len(self.it.topic[0])

    async def write(self) -> None:
        covered = self.fed
        await self.it.write()
        self.committed = covered

    async def restart(self) -> None:
        await self.it.restart()
        self.fed = self.committed
        self.feed_all()

    async def play(self, step) -> None:
        match step:
            case ("send", lane, count):
                for _ in range(count):
                    self.it.seal(lane, 3)
                self.feed_all()
            case ("time", seconds):
                await self.it.pass_time(seconds)
            case ("write",):
                await self.write()
            case ("kill",):
                await self.restart()
            case ("stop",):
                await self.it.core.stop(0)
                await self.write()
                await self.restart()
            case ("mood", name, outcome):
                self.it.sink(name).otherwise = outcome
            case ("hang", name, hangs):
                self.it.sink(name).hangs = hangs
                if not hangs:
                    self.it.sink(name).answer()

    async def end_well(self) -> None:
        for sink in self.it.sinks.values():
            sink.hangs, sink.otherwise = False, OK
            sink.answer()
        for _ in range(60):
            await self.write()
            await self.it.pass_time(20)
            if all(not view.waiting_batches for view in self.it.core.lanes()):
                break
        await self.write()


async def tell(story_steps) -> None:
    plain, ordered = integration("plain", max_wait="1h"), integration("ordered", ordered=True, max_wait="1h")
    dropping = integration("dropping", retry={"delays": ["1s"], "on_exhausted": "discard"}, max_wait="1h")
    async with delivering(plain, ordered, dropping, limits=LIMITS) as it:
        story = Story(it)
        for step in story_steps:
            await story.play(step)
            assert not it.core.failure.done()
            assert it.core.resident_bytes <= LIMITS.resident_bytes + (LIMITS.slots + LIMITS.reads) * 200
        await story.end_well()
        assert it.tables[0].waiting() == []
        assert {view.lane: view.registered_events for view in it.core.lanes()} == it.next_first
        assert it.core.resident_bytes == it.core.in_flight == 0
        seen = Counter(
            number
            for batch in [batch for sink in it.sinks.values() for batch in sink.bodies]
            + [decode_batch(each.batch) for each in it.parked]
            for number in [(batch.lane, event) for event in range(batch.first, batch.end)]
        )
        assert set(seen) == {(lane, number) for lane, end in it.next_first.items() for number in range(end)}
        last = 0
        for attempt in it.attempts:
            lane, first, _ = parse_batch_id(attempt.batch)
            if lane == "ordered" and attempt.verdict is Verdict.DELIVERED:
                assert first >= last
                last = first


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=40))
def test_nothing_is_lost_whatever_the_story(story_steps):
    asyncio.run(tell(story_steps))
