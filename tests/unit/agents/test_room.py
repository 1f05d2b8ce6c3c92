"""A chunk of batches waits for room in the core, and records meanwhile."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.deliver import Delivery
from pipeline.clock import SystemClock
from pipeline.delivery.core import DeliveryCore
from pipeline.sinks.base import Leaving
from tests.support.delivering import read_nothing


class EndedCore(DeliveryCore):
    """A core that something ended."""

    async def end(self, error: BaseException) -> None:
        await self.start()
        self._fail(error)


@pytest.mark.timeout(10)
async def test_a_timeout_error_that_ended_the_core_is_raised_like_any_other():
    core = EndedCore("http", {}, SystemClock(), read_nothing)
    await core.end(TimeoutError("a sink let it through"))
    app = SimpleNamespace(before_release=lambda _: None, on_partitions_revoked=SimpleNamespace(connect=lambda _: None))
    delivery = Delivery(
        cast("Any", app), cast("Any", SimpleNamespace(pending={"http": None})), core, cast("Any", None), Leaving()
    )

    with pytest.raises(TimeoutError, match="a sink let it through"):
        await delivery.room()
    await asyncio.sleep(0)
