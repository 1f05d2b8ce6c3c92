"""How long what came of tries waits to be recorded: until then a crash would have it sent again."""

import pytest

from tests.support.delivering import Delivering, integration


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
