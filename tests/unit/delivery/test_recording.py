"""How long what came of tries waits to be recorded: until then a crash would have it sent again."""

import pytest

from agents.observe import DeliveryMetrics
from pipeline.delivery.endpoint import DeliveryObserver, SilentObserver
from pipeline.delivery.observers import DeliveryObservers
from pipeline.notices.delivery import DeliveryNotices
from tests.support.delivering import Delivering, Watcher, integration


async def test_the_delay_counts_from_the_first_try_that_ended_to_the_acknowledgement():
    delivering = Delivering(integration("crm"))
    await delivering.start()
    delivering.send(batches=2)
    await delivering.calm()
    delivering.sink().answer(count=1)
    await delivering.pass_time(0.04)
    delivering.sink().answer()
    await delivering.pass_time(0.01)
    writes = delivering.core.take(0)
    delivering.clock.move(0.1)
    delivering.core.recorded(writes)
    assert delivering.watcher.recording_delays_s == [pytest.approx(0.15)]
    await delivering.core.stop(0)


async def test_what_is_written_without_a_try_has_none():
    delivering = Delivering(integration("crm"))
    await delivering.start()
    delivering.send()
    delivering.core.recorded(delivering.core.take(0))
    assert delivering.watcher.recording_delays_s == []
    await delivering.core.stop(0)


@pytest.mark.parametrize("kind", [DeliveryMetrics, DeliveryNotices, DeliveryObservers, SilentObserver, Watcher])
def test_whoever_watches_deliveries_can_be_told_all_of_it(kind: type):
    told = {name for name in vars(DeliveryObserver) if not name.startswith("_")}
    assert told - set(dir(kind)) == set()
