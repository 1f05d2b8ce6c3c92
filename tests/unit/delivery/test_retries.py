"""What becomes of a batch: tried again, delivered, parked, discarded; over restarts too."""

import asyncio

import pytest
from structlog.testing import capture_logs

from pipeline.delivery.rows import Fate
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import decode_batch
from tests.support.delivering import NOT_FOUND, OK, UNAVAILABLE, delivering, ids, integration, throttled

DAY_S = 86_400


async def test_four_tries_with_pauses_of_1_3_and_8_seconds_and_then_parked_whole():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send()
        for pause_s in (1, 3, 8):
            await it.pass_time(pause_s - 0.01)
            tried = len(it.sink().tries)
            await it.pass_time(0.01)
            assert len(it.sink().tries) == tried + 1
        await it.write()
        assert [attempt.attempt for attempt in it.attempts] == [1, 2, 3, 4]
        assert [attempt.final for attempt in it.attempts] == [None, None, None, "parked"]
        assert it.attempts[0].next_at == it.attempts[1].at
        (parked,) = it.parked
        assert (parked.kind, parked.attempts, parked.reason) == (
            "http",
            4,
            "retries exhausted: 503 Service Unavailable",
        )
        assert decode_batch(parked.batch) == it.topic[0][0]
        assert it.lane().parked_batches == 1
        assert it.tables[0].waiting() == []


async def test_every_try_sends_the_same_batch():
    async with delivering(integration("crm")) as it:
        it.sink().answers.extend([UNAVAILABLE, UNAVAILABLE])
        it.send()
        await it.pass_time(1)
        await it.pass_time(3)
        assert it.sink().bodies == [it.topic[0][0]] * 3


async def test_discard_counts_and_keeps_nothing():
    async with delivering(integration("crm", retry={"delays": [], "on_exhausted": "discard"})) as it:
        it.sink().answers.extend([UNAVAILABLE, NOT_FOUND])
        it.send(batches=2)
        await it.write()
        assert [attempt.final for attempt in it.attempts] == ["discarded", "discarded"]
        assert (it.lane().discarded_events, it.lane().discarded_batches, it.parked) == (20, 2, [])


async def test_retry_after_wins():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(throttled(60))
        it.send()
        await it.pass_time(59)
        assert len(it.sink().tries) == 1
        await it.pass_time(1)
        assert it.lane().delivered_events == 10


async def test_what_waited_longer_than_max_wait_is_parked():
    async with delivering(integration("crm", max_wait="1h")) as it:
        it.sink().answers.append(throttled(DAY_S))
        it.send()
        await it.pass_time(3_599)
        assert it.parked == []
        await it.pass_time(1)
        await it.write()
        (parked,) = it.parked
        assert (parked.reason, parked.attempts) == ("waited too long", 1)


async def test_what_never_got_its_turn_is_parked_in_time_though_its_body_was_let_go():
    async with delivering(integration("crm", max_wait="1h")) as it:
        it.sink().hangs = True
        it.send(batches=50)
        await it.pass_time(3_600)
        await it.write()
        assert len(it.parked) == 46
        assert {parked.reason for parked in it.parked} == {"waited too long"}
        assert it.lane().waiting_batches == it.lane().in_flight == 4


async def test_a_disabled_integrations_batches_are_parked_before_their_topic_forgets_them():
    async with delivering(integration("crm", enabled=False, max_wait="1h")) as it:
        it.send(batches=2)
        await it.pass_time(3_600)
        await it.write()
        assert it.parked_ids() == ["crm:0-10", "crm:10-20"]


async def test_a_retry_that_waits_for_its_turn_is_parked_in_time():
    async with delivering(integration("crm", max_in_flight=1, max_wait="1h")) as it:
        it.sink().answers.append(UNAVAILABLE)
        it.send()
        await it.calm()
        it.sink().hangs = True
        it.send(batches=2)
        await it.pass_time(1)
        await it.pass_time(3_599)
        await it.write()
        assert sorted(it.parked_ids()) == ["crm:0-10", "crm:20-30"]
        assert it.lane().in_flight == it.lane().waiting_batches == 1


async def test_a_retry_is_parked_in_time_also_where_the_lanes_timer_last_found_nothing():
    async with delivering(integration("crm", max_in_flight=1, max_wait="1h")) as it:
        it.send()
        await it.pass_time(3_599.5)
        it.sink().answers.append(UNAVAILABLE)
        it.send()
        await it.calm()
        it.sink().hangs = True
        it.send()
        await it.pass_time(0.5)  # an hour after the first batch
        await it.pass_time(0.5)  # the second is due again, and the third is under way
        await it.pass_time(3_599)
        await it.write()
        assert it.parked_ids() == ["crm:10-20"]


async def test_tries_are_counted_on_after_a_restart():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send()
        await it.pass_time(1)
        await it.write()
        await it.restart()
        await it.calm()
        assert len(it.sink().tries) == 2  # the third is due 3 s after the second
        await it.pass_time(3)
        await it.pass_time(8)
        await it.write()
        assert [attempt.attempt for attempt in it.attempts] == [1, 2, 3, 4]
        assert it.parked[0].attempts == 4


async def test_overdue_retries_come_back_one_cap_at_a_time_in_the_order_they_were_due():
    async with delivering(integration("crm", max_in_flight=10)) as it:
        it.sink().answers.extend(throttled(seconds) for seconds in (90, 60, 30, 80, 70, 50))
        it.send(batches=6)
        await it.write()
        await it.restart(
            change=lambda it: (it.clock.move(3_600), it.integrations.update(crm=integration("crm", max_in_flight=2)))
        )
        it.sink().hangs, it.sink().most_under_way = True, 0
        for _ in range(6):
            await it.calm()
            it.sink().answer(count=1)
        await it.calm()
        assert it.sink().tries[6:] == ["crm:20-30", "crm:50-60", "crm:10-20", "crm:40-50", "crm:30-40", "crm:0-10"]
        assert it.sink().most_under_way == 2


async def test_after_a_kill_only_what_was_under_way_or_not_stored_is_sent_again():
    async with delivering(integration("crm")) as it:
        it.send(batches=3)
        await it.write()
        it.send(batches=2)  # delivered, and not stored
        await it.calm()
        it.sink().hangs = True
        it.send(batches=1)
        await it.calm()
        it.sink().tries.clear()
        it.sink().hangs = False
        await it.restart()
        for offset in range(2, 6):  # the input's offset was committed up to here
            it.feed(offset)
        await it.write()
        assert it.sink().tries == ["crm:30-40", "crm:40-50", "crm:50-60"]
        assert it.watcher.repeated_events == 10
        assert it.lane().delivered_events == it.lane().registered_events == 60


async def test_a_record_that_overlaps_what_came_is_sent_without_that_also_when_read_back():
    async with delivering(integration("crm")) as it:
        it.sink().answers.extend([OK, UNAVAILABLE])
        it.send(events=10)
        it.next_first["crm"] = 6
        it.send(events=10)
        await it.write()
        assert it.sink().tries == ["crm:0-10", "crm:10-16"]
        await it.restart()
        await it.pass_time(1)
        assert it.sink().tries[2:] == ["crm:10-16"]
        assert it.sink().bodies[2] == it.topic[0][1].from_sequence(10)
        assert it.watcher.repeated_events == 4


async def test_stop_lets_tries_finish_and_takes_up_no_more():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        it.send(batches=6)
        await it.calm()
        stopping = asyncio.create_task(it.core.stop(30))
        await it.calm()
        assert not stopping.done()
        it.sink().answer()
        await stopping
        assert len(it.sink().tries) == 4
        await it.write()
        assert it.tables[0].waiting() == ["crm/40", "crm/50"]


async def test_stop_cancels_what_is_late_and_that_stays_pending():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        it.send(batches=2)
        await it.calm()
        it.sink().answer(count=1)
        await it.core.stop(0)
        assert it.sink().cancelled == ["crm:10-20"]
        await it.write()
        assert it.tables[0].waiting() == ["crm/10"]
        it.sink().hangs = False
        await it.restart()
        await it.calm()
        assert it.sink().tries[2:] == ["crm:10-20"]


async def test_before_partitions_leave_tries_land_and_none_begins_until_one_is_restored():
    async with delivering(integration("crm")) as it:
        it.sink().hangs = True
        it.send(batches=6)
        await it.calm()
        settling = asyncio.create_task(it.core.settle(30))
        await it.calm()
        assert not settling.done()
        it.sink().answer()
        await settling
        await it.write()
        assert it.tables[0].waiting() == ["crm/40", "crm/50"]
        it.sink().hangs = False
        it.core.revoke(0)
        it.core.restore(0, list(it.tables[0].rows.items()))
        await it.calm()
        assert it.sink().tries == ids("crm", 6)


async def test_a_revoked_partition_is_forgotten_and_the_others_go_on():
    async with delivering(integration("crm"), integration("other"), partitions=(0, 1)) as it:
        it.sink("crm").hangs = it.sink("other").hangs = True
        it.send("crm", batches=10, partition=0)
        it.send("other", batches=1, partition=1)
        await it.calm()
        it.core.revoke(0)
        await it.calm()
        assert len(it.sink("crm").cancelled) == 4
        assert [view.lane for view in it.core.lanes()] == ["other"]
        assert it.core.in_flight == 1
        assert not it.core.has_writes(0)
        it.sink("other").answer()
        await it.write(1)
        assert it.lane("other").delivered_events == 10
        assert it.core.resident_bytes == 0


async def test_a_partition_that_comes_back_is_not_haunted_by_what_was_due_before():
    async with delivering(integration("crm", max_wait="1h")) as it:
        it.sink().hangs = True
        it.send(batches=6)
        await it.write()
        assert len(it.core._timer) == 1
        it.core.revoke(0)
        assert len(it.core._timer) == 0
        it.core.restore(0, list(it.tables[0].rows.items()))
        await it.pass_time(3_600)
        await it.write()
        assert it.parked_ids() == ["crm:40-50", "crm:50-60"]


@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(OverflowError("int too large to convert to float"), id="raises"),
        pytest.param(asyncio.CancelledError(), id="is cancelled by itself"),
        pytest.param(Outcome(Verdict.RETRY, "500 caf\udce9", status=500), id="says what is no text"),
    ],
)
async def test_a_bug_in_a_sink_fails_its_own_try_and_is_parked_and_no_other_integration_notices(bug):
    async with delivering(integration("crm", retry={"delays": ["1s"]}), integration("shop")) as it:
        it.sink("crm").answers.extend([bug, bug])
        it.send("crm")
        it.send("shop")
        await it.pass_time(1.0)
        await it.write()
        assert not it.core.failure.done()
        assert it.watcher.finished_events == {Fate.DELIVERED: 10, Fate.PARKED: 10}
        assert it.parked_ids() == ["crm:0-10"]
        assert "which is a mistake of this program" in it.parked[0].reason
        assert [attempt.attempt for attempt in it.attempts if attempt.integration == "crm"] == [1, 2]


async def test_the_log_has_the_traceback_of_a_bug_in_a_sink_once_for_an_integration():
    async with delivering(integration("crm", retry={"delays": ["1s"]})) as it:
        with capture_logs() as lines:
            it.sink().answers.extend([KeyError("uuid"), KeyError("uuid"), ValueError("uuid")])
            it.send(batches=2)
            await it.pass_time(1.0)
        assert [type(line["exc_info"]) for line in lines] == [KeyError, ValueError]


async def test_the_observer_hears_of_everything():
    async with delivering(integration("crm")) as it:
        it.sink().answers.extend([UNAVAILABLE, OK, NOT_FOUND])
        it.send(batches=3)
        await it.pass_time(1)
        assert it.watcher.started_attempts == it.watcher.attempts == 4
        assert it.watcher.finished_events == {Fate.DELIVERED: 20, Fate.PARKED: 10}


async def test_an_hourly_batch_that_is_asked_to_wait_is_not_parked_however_often():
    async with delivering(integration("crm")) as it:
        it.send()
        await it.pass_time(3_600)
        it.sink().otherwise = Outcome(Verdict.RETRY, "429", status=429, retry_after_s=15.0, hint=Hint.THROTTLED)
        it.send()
        for _ in range(60):
            await it.pass_time(5)
        it.sink().otherwise = OK
        await it.pass_time(60)
        await it.write()
        assert len(it.attempts) > 10
        assert it.lane().delivered_batches == 2


@pytest.mark.parametrize("late", [UNAVAILABLE, Outcome(Verdict.RETRY, "429", status=429, hint=Hint.THROTTLED)])
async def test_a_late_end_of_an_old_try_is_not_taken_for_the_probes(late):
    breaker = {"after_tries": 3, "after": "0s", "pause": "5s"}
    async with delivering(integration("crm", breaker=breaker, retry={"delays": ["1s"]})) as it:
        it.sink().hangs = True
        it.send(batches=6)
        await it.calm()
        it.sink().answer(UNAVAILABLE, count=3)
        await it.pass_time(7)
        old, *others = it.sink().under_way  # the last of them is the probe
        it.sink().under_way[old].set_result(late)
        await it.pass_time(60)
        assert list(it.sink().under_way) == others
        assert [state.value for _, state in it.watcher.breaker_changes] == ["open", "probing"]
        it.sink().answer(UNAVAILABLE)
        await it.calm()
        assert it.watcher.breaker_changes[-1] == ("crm", "open")
