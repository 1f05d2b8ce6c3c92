"""Caps, order, turns: which batch goes when."""

import pytest

from pipeline.delivery.lane import FIRST_TRIES_A_RETRY
from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.pending import size_of
from tests.support.delivering import NOT_FOUND, OK, UNAVAILABLE, delivering, ids, integration


async def test_a_lane_has_four_batches_under_way_to_begin_with_unless_fewer_are_allowed():
    async with delivering(integration("crm"), integration("narrow", max_in_flight=2)) as it:
        for name in ("crm", "narrow"):
            it.sink(name).hangs = True
            it.send(name, batches=20)
        await it.calm()
        assert (it.sink("crm").most_under_way, it.sink("narrow").most_under_way) == (4, 2)
        it.sink("crm").answer(count=1)
        await it.calm()
        assert it.sink("crm").tries == ids("crm", 5)
        assert it.sink("crm").most_under_way == 4


async def test_each_lane_of_an_integration_has_its_own_cap():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        for lane in ("crm", "crm~1"):
            it.send(lane, batches=6)
        await it.calm()
        assert sorted(it.sink().under_way) == sorted(ids("crm", 4) + ids("crm~1", 4))


async def test_a_retry_pause_holds_no_place():
    async with delivering(integration("crm", max_in_flight=1)) as it:
        it.sink().answers.extend([UNAVAILABLE])
        it.send(batches=3)
        await it.calm()
        assert it.sink().tries == ["crm:0-10", "crm:10-20", "crm:20-30"]
        await it.pass_time(1)
        assert it.sink().tries[3:] == ["crm:0-10"]


async def test_a_few_first_tries_go_before_a_retry():
    async with delivering(integration("crm", max_in_flight=1)) as it:
        it.sink().answers.append(UNAVAILABLE)
        it.send(batches=1)
        await it.calm()
        it.sink().hangs = True
        it.send(batches=3)
        await it.pass_time(1)  # the retry is due, one first try is under way and two wait
        for _ in range(4):
            it.sink().answer()
            await it.calm()
        assert it.sink().tries[1:] == ["crm:10-20", "crm:20-30", "crm:30-40", "crm:0-10"]


async def test_an_ordered_lane_waits_for_its_head_and_goes_on_once_that_is_parked():
    async with delivering(integration("crm", ordered=True)) as it:
        it.sink().answers.extend([OK] + [UNAVAILABLE] * 4)
        it.send(batches=4)
        await it.calm()
        assert it.sink().tries == ["crm:0-10", "crm:10-20"]
        for pause_s in (1, 3):
            await it.pass_time(pause_s)
        assert it.sink().tries == ["crm:0-10"] + ["crm:10-20"] * 3
        it.send(batches=1)  # what comes in does not pass the head
        await it.calm()
        assert len(it.sink().tries) == 4
        await it.pass_time(8)
        assert it.sink().tries[4:] == ["crm:10-20", "crm:20-30", "crm:30-40", "crm:40-50"]
        assert it.sink().most_under_way == 1
        await it.write()
        assert it.parked_ids() == ["crm:10-20"]


async def test_an_ordered_lane_keeps_its_order_over_a_restart_in_the_middle_of_a_pause():
    async with delivering(integration("crm", ordered=True)) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=3)
        await it.write()
        it.sink().otherwise = OK
        await it.restart()
        await it.calm()
        assert it.sink().tries == ["crm:0-10"]
        await it.pass_time(1)
        assert it.sink().tries == ["crm:0-10", "crm:0-10", "crm:10-20", "crm:20-30"]


async def test_hung_endpoints_hold_their_own_cap_and_nothing_else():
    names = [f"e-{number}" for number in range(200)]
    async with delivering(*(integration(name) for name in names), limits=DeliveryLimits(slots=64)) as it:
        hung, healthy = names[:4], names[4:]
        for name in hung:
            it.sink(name).hangs = True
        for _ in range(10):
            for name in names:
                it.send(name)
            await it.calm()
            # No time passes at all: no healthy batch waits for anything.
            assert all(it.lane_is_idle(name) for name in healthy)
        assert it.core.in_flight == 4 * 4
        assert all(len(it.sink(name).tries) == 4 for name in hung)


async def test_scarce_slots_go_round_by_bytes():
    small, big = integration("small", max_in_flight=100), integration("big", max_in_flight=100)
    async with delivering(small, big, limits=DeliveryLimits(slots=1, quantum_bytes=2_000)) as it:
        for sink in it.sinks.values():
            sink.hangs = True
        it.send("big", batches=40, events=10, event_bytes=99)
        it.send("small", batches=300, events=1, event_bytes=99)
        sent_bytes = {"small": 0, "big": 0}
        for _ in range(300):
            await it.calm()
            (name,) = [name for name, sink in it.sinks.items() if sink.under_way]
            sent_bytes[name] += size_of(it.sink(name).bodies[-1])
            it.sink(name).answer()
        assert sent_bytes["small"] > 20_000
        assert sent_bytes["big"] == pytest.approx(sent_bytes["small"], abs=2 * 2_000)


async def test_one_slot_goes_round_all_lanes():
    names = [f"e-{number}" for number in range(5)]
    async with delivering(
        *(integration(name) for name in names), limits=DeliveryLimits(slots=1, quantum_bytes=250)
    ) as it:
        for sink in it.sinks.values():
            sink.hangs = True
        for name in names:
            it.send(name, batches=3)
        turns = []
        for _ in range(15):
            await it.calm()
            (name,) = [name for name, sink in it.sinks.items() if sink.under_way]
            turns.append(name)
            it.sink(name).answer()
        assert [sorted(turns[start : start + 5]) for start in (0, 5, 10)] == [names] * 3


async def test_a_lane_that_is_behind_tries_again_what_failed():
    async with delivering(integration("crm", max_in_flight=1)) as it:
        it.sink().answers.append(UNAVAILABLE)
        it.send()
        await it.calm()
        it.sink().hangs = True
        it.send(batches=9)
        await it.pass_time(1)
        for _ in range(9):
            it.sink().answer()
            await it.calm()
        assert it.sink().tries.index("crm:0-10", 1) == 1 + 1 + FIRST_TRIES_A_RETRY, (
            "one was under way when it became due"
        )


async def test_a_batch_larger_than_a_turn_still_gets_its_turn():
    async with delivering(integration("crm"), limits=DeliveryLimits(quantum_bytes=100)) as it:
        it.send(events=100, event_bytes=1_000)
        await it.calm()
        assert it.lane().delivered_events == 100


async def test_a_disabled_integration_keeps_what_it_has():
    async with delivering(integration("crm", enabled=False)) as it:
        it.send(batches=2)
        await it.write()
        assert it.sink().tries == []
        assert it.lane().waiting_events == 20
        assert it.core.resident_bytes == 0
        await it.restart(change=lambda it: it.integrations.update(crm=integration("crm")))
        await it.write()
        assert it.lane().delivered_events == 20


async def test_a_removed_integrations_batches_are_parked_old_and_new():
    async with delivering(integration("crm"), integration("other")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=3)
        await it.write()
        await it.restart(change=lambda it: it.integrations.pop("crm"))
        it.send(batches=1)
        await it.write()
        assert sorted(it.parked_ids()) == ["crm:0-10", "crm:10-20", "crm:20-30", "crm:30-40"]
        assert {parked.reason for parked in it.parked} == {"integration removed"}
        assert it.tables[0].waiting() == []


async def test_a_lane_that_is_refused_goes_on():
    async with delivering(integration("crm", ordered=True)) as it:
        it.sink().answers.append(NOT_FOUND)
        it.send(batches=2)
        await it.write()
        assert it.sink().tries == ["crm:0-10", "crm:10-20"]
        assert (it.lane().parked_events, it.lane().delivered_events) == (10, 10)


async def test_endpoints_that_never_answer_leave_half_of_the_slots_to_others():
    hung = [integration(f"hung-{number}", max_in_flight=4) for number in range(12)]
    async with delivering(integration("well"), *hung, limits=DeliveryLimits(slots=16)) as it:
        it.send("well")
        await it.calm()
        for each in hung:
            it.sink(each.id).hangs = True
            it.send(each.id, batches=8)
        await it.calm()
        assert it.core.in_flight == 8
        assert {len(it.sink(each.id).under_way) for each in hung} == {0, 1, 4}, "where slots run short each has one"
        it.send("well", batches=50)
        await it.calm()
        assert len(it.sink("well").tries) == 51
        for each in hung:
            it.sink(each.id).hangs = False
            it.sink(each.id).answer()
        await it.pass_time(1)
        await it.pass_time(1)
        assert all(it.lane_is_idle(each.id) for each in hung), "those that found no slot had their turn"


async def test_an_endpoint_that_was_worth_many_tries_leaves_slots_to_others_when_it_hangs():
    hot, well = integration("hot", max_in_flight=256), integration("well")
    async with delivering(hot, well, limits=DeliveryLimits(slots=8)) as it:
        sink = it.sink("hot")
        sink.hangs = True
        it.send("hot", batches=200)
        for _ in range(60):  # each round of answers lets it have one more under way
            await it.calm()
            sink.answer()
        await it.calm()
        assert it.core.in_flight == 3
        it.send("well", batches=5)
        await it.calm()
        assert it.lane_is_idle("well")
        sink.hangs = False
        sink.answer()
        await it.calm()
        assert it.lane_is_idle("hot"), "it goes on as slots become free"


@pytest.mark.parametrize("hung_count", [1, 3, 8])
async def test_however_many_endpoints_hang_at_once_another_one_finds_a_slot(hung_count):
    hung = [integration(f"hung-{number}", max_in_flight=256) for number in range(hung_count)]
    async with delivering(integration("well"), *hung, limits=DeliveryLimits(slots=16)) as it:
        for name in it.sinks:
            it.send(name)
        await it.calm()
        for each in hung:
            it.sink(each.id).hangs = True
            it.send(each.id, batches=40)
        await it.calm()
        it.send("well", batches=5)
        await it.calm()
        # No time has passed: none of those that hang is known to.
        assert it.lane_is_idle("well")
        assert all(it.sink(each.id).under_way for each in hung)


async def test_lanes_that_find_no_slot_are_asked_again_one_by_one():
    """Or a restart with many lanes would look at all of them for each slot that becomes free."""
    lanes = [integration(f"i-{number}") for number in range(600)]
    async with delivering(*lanes, limits=DeliveryLimits(slots=8)) as it:
        asked = 0
        may_begin = it.core._slots.may_begin

        def counted(lane):
            nonlocal asked
            asked += 1
            return may_begin(lane)

        it.core._slots.may_begin = counted
        for each in lanes:
            it.send(each.id)
        for _ in range(20):
            await it.calm()
        assert all(it.lane_is_idle(each.id) for each in lanes)
        assert asked < 4 * len(lanes)
