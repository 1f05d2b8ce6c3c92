"""In which order what came of tries is sent: rows beside their attempts, and after what their lanes parked."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.deliver import Delivery
from pipeline.clock import SystemClock
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.rows import RowGroup
from pipeline.delivery.writes import DeliveryWrites
from pipeline.sinks.base import Leaving
from tests.support.delivering import read_nothing
from tests.support.event_loop import settle


class OneWrite(DeliveryCore):
    """A core with something of each kind to write, and that notes when it is recorded."""

    def __init__(self) -> None:
        super().__init__("http", {}, SystemClock(), read_nothing)
        self.is_recorded = False
        self.has_something = True

    def restore(self, partition: int, rows: Any) -> None:
        """Nothing waits."""

    def has_writes(self, partition: int) -> bool:  # noqa: ARG002 the base's signature
        return self.has_something

    def take(self, partition: int) -> DeliveryWrites:  # noqa: ARG002 the base's signature
        return DeliveryWrites(
            [(b"crm", b"attempt")], [(b"shop", b"parked")], [[(b"crm", b"row")]], [[(b"shop", b"row")]], 0.0
        )

    def recorded(self, writes: DeliveryWrites) -> None:  # noqa: ARG002 the base's signature
        self.is_recorded = True


class Broker:
    """The outbox and the table at once: what was handed to them is acknowledged when the test says so."""

    def __init__(self) -> None:
        self.sent: dict[str, asyncio.Future[None]] = {}
        self.written: dict[bytes, asyncio.Future[None]] = {}
        self.waits: dict[bytes, list[asyncio.Future[None]]] = {}
        self.goes_beside: dict[bytes, list[asyncio.Future[None]]] = {}
        self.turns: list[Any] = []
        self.order: list[str | bytes] = []
        self.changelog_topic_name = "changelog"

    def call_in_turn(self, topic: str, partition: int, send: Any) -> None:  # noqa: ARG002 the outbox's signature
        self.turns.append(send)

    def send(self, topic: str, partition: int, groups: Any) -> "asyncio.Future[None]":  # noqa: ARG002 the outbox's signature
        self.order.append(topic)
        return self.sent.setdefault(topic, asyncio.get_running_loop().create_future())

    def rows(self, _partition: int) -> list[tuple[bytes, bytes]]:
        return []

    def write(
        self, _partition: int, groups: list[RowGroup], after: Any = (), beside: Any = ()
    ) -> "asyncio.Future[None]":
        key = groups[0][0][0]
        self.order.append(key)
        self.waits[key], self.goes_beside[key] = list(after), list(beside)
        return self.written.setdefault(key, asyncio.get_running_loop().create_future())


def delivery_of(
    core: DeliveryCore, broker: Broker, on_revoked: list[Any] | None = None, before_release: list[Any] | None = None
) -> Delivery:
    names = SimpleNamespace(attempts="attempts", parked="parked")
    releases = [] if before_release is None else before_release
    revoked = SimpleNamespace(connect=[].append if on_revoked is None else on_revoked.append)
    app = SimpleNamespace(
        outbox=broker, before_release=releases.append, on_partitions_revoked=revoked, should_stop=False
    )
    topology = SimpleNamespace(pending={"http": broker}, names=names)
    integrations = SimpleNamespace(caught_up=partial(asyncio.sleep, 0), snapshot={})
    return Delivery(cast("Any", app), cast("Any", topology), core, cast("Any", integrations), Leaving())


class NotedHold:
    """A hold that says whether it was released."""

    def __init__(self) -> None:
        self.is_released = False

    def release(self) -> None:
        self.is_released = True


async def take_batches(delivery: Delivery) -> NotedHold:
    """Hand over a chunk, of which nothing but its hold matters here."""
    hold = NotedHold()
    await delivery.take(cast("Any", SimpleNamespace(partition=0, is_tick=False, records=[], hold=lambda: hold)))
    return hold


async def tick(delivery: Delivery) -> None:
    await delivery.take(cast("Any", SimpleNamespace(partition=0, is_tick=True)))


async def test_only_rows_of_lanes_that_parked_wait_for_what_is_parked():
    broker = Broker()
    delivery_of(OneWrite(), broker).record(0)
    assert broker.waits == {b"crm": [], b"shop": [broker.sent["parked"]]}
    assert broker.goes_beside == {b"crm": [broker.sent["attempts"]], b"shop": [broker.sent["attempts"]]}


async def test_rows_of_lanes_that_parked_nothing_are_written_first():
    broker = Broker()
    delivery_of(OneWrite(), broker).record(0)
    assert [each for each in broker.order if isinstance(each, bytes)] == [b"crm", b"shop"]


@pytest.mark.parametrize("last", [0, 1, 2])
async def test_nothing_is_recorded_nor_released_before_attempts_and_all_rows_are_acknowledged(last: int):
    broker = Broker()
    core = OneWrite()
    delivery = delivery_of(core, broker)
    hold = await take_batches(delivery)
    delivery.record(0)
    acknowledgements = [broker.sent["attempts"], broker.written[b"crm"], broker.written[b"shop"]]
    acknowledgements.append(acknowledgements.pop(last))
    for acknowledged in acknowledgements:
        assert not core.is_recorded
        assert not hold.is_released
        acknowledged.set_result(None)
        await settle()
    assert core.is_recorded
    assert hold.is_released


async def test_a_tick_has_what_is_done_recorded_when_it_can_be_sent_however_many_ticks_come_before_that():
    broker = Broker()
    delivery = delivery_of(OneWrite(), broker)
    await tick(delivery)
    await tick(delivery)
    assert broker.sent == {}
    [turn] = broker.turns
    turn()
    assert broker.written.keys() == {b"crm", b"shop"}


async def test_after_its_turn_a_partition_gets_another():
    broker = Broker()
    delivery = delivery_of(OneWrite(), broker)
    await tick(delivery)
    broker.turns.pop()()
    await tick(delivery)
    assert len(broker.turns) == 1


async def test_a_turn_that_comes_after_the_partition_left_writes_nothing():
    broker, leave = Broker(), []
    delivery = delivery_of(OneWrite(), broker, leave)
    await tick(delivery)
    await leave[0]()
    [turn] = broker.turns
    turn()
    assert broker.sent == {}


async def test_batches_that_leave_nothing_to_write_are_recorded_too():
    broker, core = Broker(), OneWrite()
    core.has_something = False
    delivery = delivery_of(core, broker)
    await tick(delivery)
    assert broker.turns == []
    await take_batches(delivery)
    await tick(delivery)
    assert len(broker.turns) == 1


async def test_what_is_done_is_recorded_before_partitions_are_released_whoever_has_the_turn():
    broker, core, releases = Broker(), OneWrite(), []
    delivery = delivery_of(core, broker, before_release=releases)
    await core.start()
    await tick(delivery)
    released = asyncio.ensure_future(releases[0]())
    await settle()
    assert broker.written.keys() == {b"crm", b"shop"}
    assert not released.done()
    for acknowledged in (broker.sent["attempts"], *broker.written.values()):
        acknowledged.set_result(None)
    await released
    broker.sent.clear()
    broker.turns[0]()
    assert broker.sent == {}, "the turn that was asked for before has nothing to do any more"
    await core.stop(0.0)
