"""Memory stays bounded, and only a worker that is truly busy makes its input wait."""

import asyncio
import gc
import tracemalloc

import pytest

from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.rows import Fate
from pipeline.errors import BatchGoneError
from tests.support.delivering import NOT_FOUND, OK, UNAVAILABLE, delivering, integration, sealed

KIB = 1024
SMALL = DeliveryLimits(resident_bytes=100 * KIB)
TEN_KIB = {"events": 10, "event_bytes": KIB}


async def test_a_hung_lane_keeps_what_is_under_way_and_a_couple_once_others_need_the_room():
    async with delivering(integration("hung"), integration("good"), limits=SMALL) as it:
        it.sink("hung").hangs = True
        it.send("hung", batches=100, **TEN_KIB)
        await it.calm()
        assert it.lane("hung").resident_bytes <= 7 * 11 * KIB
        await it.pass_time(6)
        it.sink("good").hangs = True
        it.send("good", batches=4, **TEN_KIB)
        await it.calm()
        assert it.lane("good").in_flight == 4
        assert it.core.resident_bytes <= SMALL.resident_bytes


async def test_what_was_spilled_is_read_back_and_delivered_in_order():
    async with delivering(integration("crm", max_in_flight=1), limits=SMALL) as it:
        it.sink().hangs = True
        it.send(batches=40, **TEN_KIB)
        await it.calm()
        assert it.watcher.spilled_batches > 20
        it.sink().hangs = False
        it.sink().answer()
        for _ in range(10):
            await it.calm()
        assert it.sink().tries == [batch.id for batch in it.topic[0]]
        assert it.sink().bodies == it.topic[0]
        assert it.core.resident_bytes == 0


async def test_a_lane_that_gets_on_is_read_back_ahead_of_its_turns():
    async with delivering(integration("crm", max_in_flight=1), limits=SMALL) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=20, **TEN_KIB)
        await it.write()
        await it.restart()
        it.sink().hangs = True
        await it.pass_time(1)
        assert it.lane().in_flight == 1
        assert it.lane().resident_bytes // (10 * KIB) == 1 + 1 + SMALL.spare_bodies


async def test_resident_bytes_stay_within_the_limit_with_every_lane_hung():
    names = [f"e-{number}" for number in range(50)]
    async with delivering(*(integration(name) for name in names), limits=SMALL) as it:
        for name in names:
            it.sink(name).hangs = True
            it.send(name, batches=10, **TEN_KIB)
            await it.calm()
        # Beyond the limit there is only what is under way at once, which the slots bound.
        assert it.core.resident_bytes <= SMALL.resident_bytes + it.core.in_flight * 11 * KIB
        waiting = sum(view.waiting_batches for view in it.core.lanes())
        assert waiting == 500


async def test_room_waits_while_lanes_that_get_on_fill_the_memory():
    async with delivering(integration("crm", max_in_flight=20), limits=SMALL) as it:
        it.sink().hangs = True
        it.send(batches=10, **TEN_KIB)
        waiting = asyncio.create_task(it.core.room())
        await it.calm()
        assert not waiting.done()
        it.sink().answer(count=8)
        await it.calm()
        assert waiting.done()


async def test_room_does_not_wait_for_a_lane_that_is_stalled():
    async with delivering(integration("crm", max_in_flight=20), limits=SMALL) as it:
        it.sink().hangs = True
        it.send(batches=10, **TEN_KIB)
        waiting = asyncio.create_task(it.core.room())
        await it.calm()
        assert not waiting.done()
        await it.pass_time(6)
        assert waiting.done()
        await asyncio.wait_for(it.core.room(), 1)


async def test_room_does_not_wait_where_there_is_room():
    async with delivering(integration("crm")) as it:
        it.send(batches=3)
        await asyncio.wait_for(it.core.room(), 1)


async def test_room_does_not_wait_for_what_only_a_take_would_free():
    limits = DeliveryLimits(resident_bytes=100 * KIB, outgoing_bytes=1_000)
    async with delivering(integration("crm", max_in_flight=20), limits=limits) as it:
        it.sink().hangs = True
        it.send(batches=9, **TEN_KIB)
        waiting = asyncio.create_task(it.core.room())
        await it.calm()
        assert not waiting.done()
        it.sink().answer(NOT_FOUND, count=1)  # parked: more than may wait to be taken
        await it.calm()
        assert waiting.done()


async def test_stop_lets_go_of_whoever_waits_for_room():
    async with delivering(integration("crm", max_in_flight=20), limits=SMALL) as it:
        it.sink().hangs = True
        it.send(batches=10, **TEN_KIB)
        waiting = asyncio.create_task(it.core.room())
        await it.calm()
        await it.core.stop(0)
        await asyncio.wait_for(waiting, 1)


async def test_a_lane_keeps_what_it_delivers_in_five_seconds():
    async with delivering(integration("crm", max_in_flight=1), limits=DeliveryLimits(resident_bytes=200 * KIB)) as it:
        for _ in range(30):
            it.send(batches=2, **TEN_KIB)
            await it.pass_time(1)
        it.sink().hangs = True
        spilled = it.watcher.spilled_batches
        it.send(batches=6, **TEN_KIB)
        assert it.watcher.spilled_batches == spilled


async def test_nothing_more_is_tried_while_what_was_tried_is_not_taken():
    async with delivering(integration("crm"), limits=DeliveryLimits(outgoing_bytes=2_000)) as it:
        it.send(batches=100)
        await it.calm()
        tried = len(it.sink().tries)
        assert tried < 20
        await it.write()
        await it.calm()
        assert tried < len(it.sink().tries) < 40


async def test_reads_under_way_are_bounded_and_end_with_the_core():
    names = [f"e-{number}" for number in range(30)]
    limits = DeliveryLimits(reads=4)
    async with delivering(*(integration(name) for name in names), limits=limits) as it:
        for sink in it.sinks.values():
            sink.otherwise = UNAVAILABLE
        for name in names:
            it.send(name)
        await it.write()
        it.reads_hang = True
        await it.restart()
        await it.pass_time(1)
        assert len(it.read_back) == 4
        await it.core.stop(0)
        await it.calm()
        assert not it.core.failure.done()


async def test_a_batch_in_whose_place_another_one_is_is_discarded_and_the_next_goes_out():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=2)
        await it.write()
        it.topic[0][0] = sealed("other", 0, 10, 0.0)
        await it.restart()
        it.sink().otherwise = OK
        await it.pass_time(1)
        await it.write()
        assert it.watcher.finished_events == {Fate.DISCARDED: 10, Fate.DELIVERED: 10}


async def test_a_recovered_backlog_goes_out_whole():
    async with delivering(integration("crm"), limits=SMALL) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=200)
        await it.write()
        await it.restart()
        it.sink().otherwise = OK
        await it.pass_time(1)
        for _ in range(30):
            await it.calm()
        assert it.lane().delivered_batches == 200
        assert it.core.resident_bytes == 0


async def test_fifty_thousand_batches_that_wait_cost_less_than_50_mb():
    async with delivering(integration("crm", max_wait="6d")) as it:
        it.sink().hangs = True
        batch_count = 50_000
        lane, one = "crm", sealed("crm", 0, 1, 0.0)
        it.send(batches=10)
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(100, 100 + batch_count):
                it.core.admit(
                    0,
                    number,
                    type(one)(
                        lane, number, number + 1, one.reason, 0.5, it.clock.wall_s() + number, one.ends, one.block
                    ),
                )
            it.core.take(0)
            gc.collect()
            used_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert it.lane().waiting_batches == batch_count + 10
        assert used_bytes / batch_count < 1_000


async def gone(partition: int, offset: int):
    raise BatchGoneError(f"partition {partition}: the batch at offset {offset} is gone")


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_batch_that_retention_removed_is_discarded_and_the_others_go_on(ordered):
    async with delivering(integration("crm", ordered=ordered)) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=2)
        await it.write()
        await it.restart(change=lambda it: setattr(it, "_read", gone))
        it.sink().otherwise = OK
        await it.pass_time(1)
        await it.write()
        assert not it.core.failure.done()
        assert it.watcher.finished_events == {Fate.DISCARDED: 20}
        assert it.tables[0].waiting() == []
        it.send()
        await it.write()
        assert it.sink().tries[-1] == "crm:20-30"
        assert it.lane().delivered_batches == 1


async def test_a_batch_that_waited_too_long_and_was_removed_is_discarded_instead_of_parked():
    async with delivering(integration("crm", max_wait="1h")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=2)
        await it.write()
        await it.restart(change=lambda it: setattr(it, "_read", gone))
        await it.pass_time(8 * 86_400)
        await it.write()
        assert not it.core.failure.done()
        assert (it.lane().discarded_batches, it.lane().parked_batches) == (2, 0)


async def test_a_batch_whose_record_came_after_all_while_it_was_looked_for_is_delivered():
    looked_for = asyncio.Event()

    async def gone_later(partition: int, offset: int):
        await looked_for.wait()
        await gone(partition, offset)

    async with delivering(integration("crm")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send()
        await it.write()
        await it.restart(change=lambda it: setattr(it, "_read", gone_later))
        await it.pass_time(1)
        it.sink().otherwise = OK
        it.feed(0)
        looked_for.set()
        await it.pass_time(10)
        await it.write()
        assert it.lane().delivered_batches == 1
        assert it.watcher.finished_events == {Fate.DELIVERED: 10}
