"""An endpoint is swapped under a lane that is at work."""

import asyncio

import pytest

from pipeline.delivery.breaker import BreakerState
from pipeline.delivery.endpoint import Endpoint, is_other_address
from pipeline.model.attempt import Hint, Outcome, Verdict
from tests.support.delivering import OK, UNAVAILABLE, Delivering, ScriptedSink, delivering, ids, integration

GONE = Outcome(Verdict.REFUSED, "410 Gone", status=410, hint=Hint.GONE)


def change(it: Delivering, **keys) -> ScriptedSink:
    """Swap the endpoint of ``crm`` for one with these settings and a sink of its own."""
    sink = it.sinks["crm"] = ScriptedSink(it.clock)
    it.integrations["crm"] = integration("crm", **keys)
    it.core.change({"crm": Endpoint(it.integrations["crm"], sink)})
    return sink


async def test_what_waits_goes_to_the_new_endpoint_and_what_is_under_way_ends_as_it_began():
    async with delivering(integration("crm", max_in_flight=2)) as it:
        old = it.sink()
        old.hangs = True
        it.send(batches=4)
        await it.calm()
        new = change(it, url="https://elsewhere.example/", max_in_flight=2)
        await it.calm()
        assert (old.tries, new.tries) == (ids("crm", 2), []), "two are under way still"
        old.answer()
        await it.write()
        assert new.tries == ids("crm", 2, start=2)
        assert it.lane().delivered_events == 40
        assert it.lane().in_flight == 0


async def test_a_sink_is_idle_once_its_last_try_has_ended():
    async with delivering(integration("crm")) as it:
        old_endpoint = it.core._endpoints["crm"]
        old = it.sink()
        old.hangs = True
        it.send()
        await it.calm()
        change(it, timeout_s=5.0)
        ended = asyncio.ensure_future(it.core.ended(old_endpoint))
        await it.calm()
        assert not ended.done()
        old.answer()
        await it.calm()
        assert ended.done()


async def test_a_failure_of_the_old_address_costs_the_batch_no_try_and_goes_to_the_new_one_at_once():
    async with delivering(integration("crm", retry={"delays_s": [100.0]})) as it:
        old = it.sink()
        old.hangs = True
        it.send()
        await it.calm()
        new = change(it, url="https://elsewhere.example/", retry={"delays_s": [100.0]})
        old.answer(UNAVAILABLE)
        await it.pass_time(0)
        await it.write()
        assert new.tries == ids("crm", 1)
        assert it.lane().delivered_events == 10


async def test_an_old_address_that_is_gone_does_not_hold_back_the_new_one():
    async with delivering(integration("crm")) as it:
        old = it.sink()
        old.hangs = True
        it.send()
        await it.calm()
        new = change(it, url="https://elsewhere.example/")
        old.answer(GONE)
        await it.pass_time(0)
        await it.write()
        assert not it.lane().is_halted
        assert new.tries == ids("crm", 1)


async def test_the_same_address_keeps_its_breaker_and_its_learned_cap():
    quick = {"after_tries": 2, "after_s": 0.0}
    async with delivering(integration("crm", breaker=quick, retry={"delays_s": [1.0] * 9})) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=4)
        await it.calm()
        assert it.lane().is_breaker_open
        new = change(it, breaker=quick, retry={"delays_s": [2.0] * 9}, batch={"max_events": 7})
        await it.pass_time(5)
        assert it.lane().is_breaker_open
        assert new.tries == []


async def test_another_address_is_asked_with_one_try_at_once_though_the_breaker_was_open():
    quick = {"after_tries": 2, "after_s": 0.0}
    async with delivering(integration("crm", breaker=quick, retry={"delays_s": [1.0] * 9})) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=4)
        await it.calm()
        new = change(it, breaker=quick, url="https://elsewhere.example/", retry={"delays_s": [1.0] * 9})
        new.hangs = True
        await it.pass_time(2)
        assert len(new.tries) == 1
        new.hangs = False
        new.answer()
        await it.pass_time(2)
        await it.write()
        assert it.watcher.breaker_changes[-1] == ("crm", BreakerState.CLOSED)
        assert it.lane().delivered_events == 40


async def test_what_a_removed_integration_holds_is_parked_also_what_was_under_way_and_fails():
    async with delivering(integration("crm", max_in_flight=1, retry={"delays_s": [100.0]})) as it:
        sink = it.sink()
        sink.answers.append(UNAVAILABLE)
        it.send(batches=1)
        await it.calm()  # waits for its retry
        sink.hangs = True
        it.send(batches=3)
        await it.calm()
        it.core.change({"crm": None})
        await it.write()
        assert sorted(it.parked_ids()) == ["crm:0-10", "crm:20-30", "crm:30-40"]
        sink.answer(UNAVAILABLE)
        await it.write()
        assert {parked.reason for parked in it.parked} == {"integration removed"}
        assert it.lane().parked_events == 40
        it.send()
        await it.write()
        assert it.lane().parked_events == 50
        await it.pass_time(1000)
        assert it.lane().waiting_batches == 0


async def test_an_answer_that_comes_after_the_removal_still_counts():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        it.send()
        await it.calm()
        it.core.change({"crm": None})
        it.sink().answer(OK)
        await it.write()
        assert (it.lane().delivered_events, it.lane().parked_events) == (10, 0)


async def test_an_integration_that_is_made_anew_goes_on_with_its_numbers():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        it.send()
        await it.calm()
        it.core.change({"crm": None})
        change(it)
        it.send()
        await it.write()
        assert it.sink().tries == ["crm:10-20"]
        assert it.lane().registered_events == 20


@pytest.mark.parametrize("was_ordered", [False, True])
async def test_order_is_kept_from_the_change_on_and_no_batch_is_tried_twice(was_ordered):
    async with delivering(integration("crm", ordered=was_ordered, retry={"delays_s": [1.0] * 9})) as it:
        old = it.sink()
        old.hangs = True
        it.send(batches=6)
        await it.calm()
        new = change(it, ordered=not was_ordered, retry={"delays_s": [1.0] * 9})
        old.answer(UNAVAILABLE)
        for _ in range(10):
            await it.pass_time(1)
        await it.write()
        assert it.lane().delivered_events == 60
        assert sorted(new.tries) == ids("crm", 6)
        if not was_ordered:
            assert new.tries == ids("crm", 6)


async def test_a_disabled_integration_keeps_what_it_holds_until_it_is_enabled():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=2)
        await it.calm()
        disabled = change(it, enabled=False)
        await it.pass_time(100)
        assert disabled.tries == []
        change(it)
        await it.pass_time(0)
        await it.write()
        assert it.lane().delivered_events == 20


async def test_a_shorter_max_wait_holds_for_what_waits_already():
    async with delivering(integration("crm", max_in_flight=1)) as it:
        it.sink().hangs = True
        it.send(batches=2)
        await it.pass_time(100)
        change(it, max_in_flight=1, max_wait_s=60.0)
        await it.pass_time(0)
        await it.write()
        assert it.parked_ids() == ["crm:10-20"]


def test_what_is_sent_and_when_is_no_part_of_an_address():
    crm = integration("crm")
    assert not is_other_address(crm, integration("crm", events=["A"], batch={"max_events": 5}, max_in_flight=9))
    assert is_other_address(crm, integration("crm", url="https://elsewhere.example/"))
    assert is_other_address(integration("crm", authorization="one"), integration("crm", authorization="two"))
