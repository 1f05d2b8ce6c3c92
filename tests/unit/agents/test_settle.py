"""While partitions wait to leave, what was delivered is recorded as promptly as ever."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.deliver import Delivery
from pipeline.clock import SystemClock
from pipeline.delivery.core import DeliveryCore
from pipeline.sinks.base import Leaving
from tests.support.delivering import read_nothing


class SlowCore(DeliveryCore):
    """A core with a request under way until it has been asked twice what there is to record."""

    def __init__(self) -> None:
        super().__init__("http", {}, SystemClock(), read_nothing)
        self.has_been_asked_twice = asyncio.Event()
        self.asked = 0

    async def settle(self, deadline_s: float) -> None:  # noqa: ARG002 the base's signature
        await self.has_been_asked_twice.wait()

    def has_writes(self, partition: int) -> bool:  # noqa: ARG002 the base's signature
        self.asked += 1
        if self.asked == 2:
            self.has_been_asked_twice.set()
        return False


@pytest.mark.timeout(10)
async def test_what_landed_is_recorded_while_other_requests_are_still_under_way():
    core, releases = SlowCore(), []
    await core.start()
    app = SimpleNamespace(
        should_stop=False, before_release=releases.append, on_partitions_revoked=SimpleNamespace(connect=lambda _: None)
    )
    table = SimpleNamespace(rows=lambda _: [])
    delivery = Delivery(
        cast("Any", app), cast("Any", SimpleNamespace(pending={"http": table})), core, cast("Any", None), Leaving()
    )
    delivery.restore(0)
    [release] = releases
    await release()
    assert core.asked >= 2
    await core.stop(0.0)


class ToldCore(DeliveryCore):
    """A core that notes in which order it is told what."""

    def __init__(self) -> None:
        super().__init__("http", {}, SystemClock(), read_nothing)
        self.told: list[str] = []

    def restore(self, partition: int, rows: Any) -> None:  # noqa: ARG002 the base's signature
        self.told.append("restore")

    async def settle(self, deadline_s: float) -> None:  # noqa: ARG002 the base's signature
        self.told.append("settle")

    def has_writes(self, partition: int) -> bool:  # noqa: ARG002 the base's signature
        return False


@pytest.mark.timeout(10)
async def test_what_is_being_restored_when_partitions_leave_begins_nothing_after_the_others_have_settled():
    core, releases, knows_all = ToldCore(), [], asyncio.Event()
    await core.start()
    app = SimpleNamespace(
        should_stop=False, before_release=releases.append, on_partitions_revoked=SimpleNamespace(connect=lambda _: None)
    )
    topology = SimpleNamespace(pending={"http": SimpleNamespace(rows=lambda _: [])})
    integrations = SimpleNamespace(caught_up=knows_all.wait, snapshot={})
    leaving = Leaving()
    delivery = Delivery(cast("Any", app), cast("Any", topology), core, cast("Any", integrations), leaving)
    taking = asyncio.ensure_future(delivery.take(cast("Any", SimpleNamespace(partition=0, is_tick=True))))
    await asyncio.sleep(0)
    [release] = releases
    releasing = asyncio.ensure_future(release())
    await asyncio.sleep(0)
    knows_all.set()
    await asyncio.gather(taking, releasing)
    assert core.told == ["restore", "settle"]
    assert leaving.is_on
    await core.stop(0.0)
