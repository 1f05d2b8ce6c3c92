"""While partitions wait to leave, what was delivered is recorded as promptly as ever."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.deliver import Delivery
from pipeline.clock import SystemClock
from pipeline.delivery.core import DeliveryCore
from pipeline.sinks.base import Leaving


async def read_nothing(partition: int, offset: int):
    raise AssertionError(f"nobody reads back {partition}, {offset}")


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
