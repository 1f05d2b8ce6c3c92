"""What travels in which request, of what is urgent. Real record batches of aiokafka; only the network is left out."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

import agents.engine.rounds as rounds_module
from agents.engine.packing import Item, MayGo, pack
from agents.engine.rounds import ROUND_BYTES, Rounds, SentBatch, Target
from tests.support.event_loop import settle

ATTEMPTS, ROWS = ("attempts", 0), ("rows", 0)


@dataclass
class Sent:
    """A record batch that was sent, and how its answer is given."""

    target: Target
    values: list[bytes]
    answer: asyncio.Future[None]


@dataclass
class Wire:
    """The way to brokers 1 and 2: everything is led by 1 where ``leaders`` says nothing else."""

    leaders: dict[Target, int | None] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    has_failed: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a record batch is sent."""

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(4 << 20, 0)

    def leader_of(self, target: Target) -> int | None:
        return self.leaders.get(target, 1)

    async def send_urgently(self, target: Target, queue: deque[Item], may_go: MayGo) -> SentBatch:
        builder, parts = pack(self, target[0], queue, may_go)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def acknowledge(_answer: asyncio.Future[None]) -> None:
            for item, groups in parts:
                item.acknowledge(groups, 0)

        answer.add_done_callback(acknowledge)
        values = [value for _, groups in parts for group in groups for _, value in group]
        self.sent.append(Sent(target, values, answer))
        self.news.set()
        return SentBatch(answer, parts, builder.size())

    async def fail(self, _target: Target, error: Exception) -> None:
        await self.crash(error)

    async def crash(self, error: Exception) -> None:
        self.has_failed = True
        self.failures.append(error)

    @property
    def targets(self) -> list[Target]:
        return [each.target for each in self.sent]

    async def next_send(self) -> None:
        self.news.clear()
        await asyncio.wait_for(self.news.wait(), 20)

    async def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.sent[number].answer.set_result(None)
        await settle()


def item(value: bytes = b"x", *, beside: tuple[Item, ...] = (), groups: int = 1) -> Item:
    return Item([[(b"k", value)]] * groups, beside=[other.acknowledged for other in beside])


async def test_all_that_comes_in_one_turn_is_sent_in_one_round() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    for partition in range(3):
        rounds.add(("attempts", partition), item())
    rounds.add(("attempts", 0), item(b"y"))
    await settle()
    assert [(each.target[1], each.values) for each in wire.sent] == [(0, [b"x", b"y"]), (1, [b"x"]), (2, [b"x"])]


async def test_the_next_round_begins_when_all_of_the_last_one_is_acknowledged() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(("attempts", 0), item())
    rounds.add(("attempts", 1), item())
    await settle()
    rounds.add(("attempts", 2), item())
    await wire.answer(0)
    assert len(wire.sent) == 2
    await wire.answer(1)
    assert wire.targets[2:] == [("attempts", 2)]


async def test_a_broker_that_does_not_answer_holds_up_no_other() -> None:
    wire = Wire(leaders={("attempts", 1): 2})
    rounds = Rounds(wire)
    rounds.add(("attempts", 0), item())
    await settle()
    rounds.add(("attempts", 1), item())
    await settle()
    assert wire.targets == [("attempts", 0), ("attempts", 1)]


async def test_rows_travel_in_one_round_with_what_they_go_beside_and_behind_it() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    attempts = item()
    rounds.add(ROWS, item(beside=(attempts,)))
    rounds.add(ATTEMPTS, attempts)
    await settle()
    assert wire.targets == [ATTEMPTS, ROWS]


@pytest.mark.parametrize(
    "leaders",
    [
        pytest.param({ATTEMPTS: 2}, id="another leader"),
        pytest.param({ATTEMPTS: None, ROWS: None}, id="not known who leads"),
    ],
)
async def test_rows_wait_where_it_is_not_sure_that_they_have_the_leader_of_what_they_go_beside(
    leaders: dict[Target, int | None],
) -> None:
    wire = Wire(leaders=leaders)
    rounds = Rounds(wire)
    attempts = item()
    rounds.add(ATTEMPTS, attempts)
    rounds.add(ROWS, item(beside=(attempts,)))
    await settle()
    assert wire.targets == [ATTEMPTS]
    await wire.answer(0)
    assert wire.targets == [ATTEMPTS, ROWS]


async def test_rows_wait_for_what_is_too_large_for_one_round() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    attempts = item(b"x" * 400_000, groups=4)
    rounds.add(ATTEMPTS, attempts)
    rounds.add(ROWS, item(beside=(attempts,)))
    await settle()
    assert wire.targets == [ATTEMPTS]
    await wire.answer(0)
    assert wire.targets == [ATTEMPTS, ATTEMPTS, ROWS], "the round that has the last of it"


async def test_of_one_partition_one_batch_is_under_way_though_its_leader_changes() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(ATTEMPTS, item())
    await settle()
    wire.leaders[ATTEMPTS] = 2
    rounds.add(ATTEMPTS, item())
    await settle()
    assert len(wire.sent) == 1
    await wire.answer(0)
    assert len(wire.sent) == 2


async def test_who_found_no_room_in_a_round_is_in_the_next_one() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    large = b"x" * 1_000_000
    count = ROUND_BYTES // len(large) + 1
    for partition in range(count + 1):
        rounds.add(("attempts", partition), item(large))
    await settle()
    assert len(wire.sent) == count
    await wire.answer(*range(count))
    assert wire.targets[count] == ("attempts", count)


async def test_rows_are_looked_at_when_what_they_wait_for_is_acknowledged_whatever_else_its_leader_still_owes() -> None:
    wire = Wire(leaders={ROWS: 2})
    rounds = Rounds(wire)
    attempts = item()
    rounds.add(ATTEMPTS, attempts)
    rounds.add(("attempts", 1), item())
    rounds.add(ROWS, item(beside=(attempts,)))
    await settle()
    await wire.answer(0)
    assert wire.targets == [ATTEMPTS, ("attempts", 1), ROWS]


async def test_rows_may_wait_for_what_is_not_urgent() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    elsewhere = item()
    rounds.add(ROWS, item(beside=(elsewhere,)))
    await settle()
    assert wire.sent == []
    elsewhere.acknowledged.set_result(None)
    await settle()
    assert wire.targets == [ROWS]


async def test_a_partition_that_is_tried_again_for_long_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "LONGEST_ROUND_S", 0.01)
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(ATTEMPTS, item())
    await settle()
    rounds.add(ROWS, item())
    rounds.add(ATTEMPTS, item())
    await wire.next_send()
    assert wire.targets == [ATTEMPTS, ROWS], "and of itself nothing more is sent"


async def test_who_waits_for_a_turn_is_called_when_the_next_round_begins_and_is_in_it() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(ATTEMPTS, item())
    await settle()
    done_by_then = [b"first"]
    rounds.call_in_turn(ATTEMPTS, lambda: rounds.add(ATTEMPTS, item(b" ".join(done_by_then))))
    await settle()
    assert len(wire.sent) == 1
    done_by_then.append(b"second")
    await wire.answer(0)
    assert wire.sent[1].values == [b"first second"]


async def test_a_turn_comes_at_once_where_the_leader_has_nothing_to_do_and_only_once() -> None:
    wire = Wire(leaders={ROWS: 2})
    rounds = Rounds(wire)
    rounds.add(ROWS, item())
    await settle()
    rounds.call_in_turn(ATTEMPTS, lambda: rounds.add(ATTEMPTS, item()))
    await settle()
    await wire.answer(0, 1)
    assert wire.targets == [ROWS, ATTEMPTS]


async def test_turns_that_fell_together_share_a_round() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    for target in (ROWS, ATTEMPTS):
        rounds.call_in_turn(target, partial(rounds.add, target, item()))
    await settle()
    assert wire.targets == [ROWS, ATTEMPTS]


async def test_what_waits_and_what_a_turn_adds_share_a_round() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(ATTEMPTS, item())
    rounds.call_in_turn(ATTEMPTS, lambda: rounds.add(ATTEMPTS, item(b"y")))
    await settle()
    assert [each.values for each in wire.sent] == [[b"x", b"y"]]


async def test_a_turn_waits_for_its_leader_whatever_partition_that_is_busy_with() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    called: list[str] = []
    rounds.add(("attempts", 1), item())
    await settle()
    rounds.call_in_turn(ATTEMPTS, lambda: called.append("it is my turn"))
    await settle()
    assert called == []
    await wire.answer(0)
    assert called == ["it is my turn"]


async def test_a_turn_does_not_wait_for_a_round_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "LONGEST_ROUND_S", 0.01)
    wire = Wire()
    rounds = Rounds(wire)
    rounds.add(ROWS, item())
    await settle()
    rounds.call_in_turn(ATTEMPTS, lambda: rounds.add(ATTEMPTS, item()))
    await wire.next_send()
    assert wire.targets == [ROWS, ATTEMPTS]


async def test_a_turn_that_is_asked_for_in_a_turn_comes_too() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    once_more = partial(rounds.add, ATTEMPTS, item(b"y"))

    def add() -> None:
        rounds.add(ATTEMPTS, item())
        rounds.call_in_turn(ATTEMPTS, once_more)

    rounds.call_in_turn(ATTEMPTS, add)
    await settle()
    await wire.answer(0)
    assert [each.values for each in wire.sent] == [[b"x"], [b"y"]]


async def test_a_turn_that_goes_wrong_is_a_failure() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    rounds.call_in_turn(ATTEMPTS, lambda: rounds.add(ATTEMPTS, wire.no_such_item))  # type: ignore[attr-defined]
    rounds.call_in_turn(ROWS, partial(rounds.add, ROWS, item()))
    await settle()
    assert ["no_such_item" in str(failure) for failure in wire.failures] == [True]
    assert wire.sent == []


async def test_a_flush_waits_for_what_is_queued_and_what_is_under_way() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    await rounds.flush()
    rounds.add(ATTEMPTS, item())
    await settle()
    rounds.add(ROWS, item())
    flushed = asyncio.create_task(rounds.flush())
    await wire.answer(0)
    assert not flushed.done()
    await wire.answer(1)
    assert flushed.done()


async def test_a_failure_ends_what_was_about_to_begin_at_other_leaders() -> None:
    wire = Wire(leaders={ROWS: 2})
    rounds = Rounds(wire)
    rounds.add(ATTEMPTS, Item([[(b"k", b"x" * (3 << 20))] * 2]))
    rounds.add(ROWS, item())
    await settle()
    assert wire.sent == []


async def test_after_a_failure_nothing_more_is_sent() -> None:
    wire = Wire()
    rounds = Rounds(wire)
    too_large = [(b"k", b"x" * (3 << 20))] * 2
    rounds.add(ATTEMPTS, Item([too_large]))
    await settle()
    assert "does not fit one record batch" in str(wire.failures[0])
    rounds.add(ROWS, item())
    await settle()
    assert wire.sent == []


@given(st.data())
def test_whatever_comes_rows_are_never_with_a_broker_before_what_they_go_beside(data: st.DataObject) -> None:
    """A worker may be killed after any request: what its broker has then must not be rows alone."""
    targets = [(topic, partition) for topic in ("attempts", "rows") for partition in range(2)]
    leaders = {target: data.draw(st.sampled_from([1, 2]), label=f"leader of {target}") for target in targets}
    steps = data.draw(st.lists(st.one_of(st.integers(0, 1), st.just("answer"), st.just("wait")), max_size=40))

    async def play() -> None:
        wire = Wire(leaders=leaders)
        rounds = Rounds(wire)
        pairs: list[tuple[bytes, bytes]] = []
        under_way: set[int] = set()
        requests: list[list[Sent]] = []
        stored_requests: list[list[Sent]] = []

        async def note() -> None:
            """The batches of one leader that were sent since the last look are one request."""
            await settle()
            known = sum(map(len, requests))
            new = wire.sent[known:]
            for leader in (1, 2):
                request = [each for each in new if leaders[each.target] == leader]
                if request:
                    requests.append(request)
            under_way.update(range(known, len(wire.sent)))
            ways = [wire.sent[number].target for number in under_way]
            assert len(ways) == len(set(ways)), "one batch of a partition at a time"

        for step in [*steps, "wait"]:
            if step == "answer" and under_way:
                number = data.draw(st.sampled_from(sorted(under_way)), label="answered")
                under_way.remove(number)
                stored_requests.append(next(request for request in requests if wire.sent[number] in request))
                stored = {value for request in stored_requests for each in request for value in each.values}
                for attempt, row in pairs:
                    assert row not in stored or attempt in stored, "rows alone"
                await wire.answer(number)
            elif isinstance(step, int):
                attempt, row = b"attempt %d" % len(pairs), b"row %d" % len(pairs)
                pairs.append((attempt, row))
                attempts = item(attempt)
                rounds.add(("attempts", step), attempts)
                rounds.add(("rows", step), item(row, beside=(attempts,)))
                continue
            await note()
        while under_way:
            await wire.answer(under_way.pop())
            await note()
        arrived = [value for each in wire.sent for value in each.values]
        assert sorted(arrived) == sorted(value for pair in pairs for value in pair), "all of it, once"
        for target in targets:
            values = [value for each in wire.sent if each.target == target for value in each.values]
            assert values == sorted(values, key=lambda value: int(value.split()[1])), "in order"

    asyncio.run(play())
