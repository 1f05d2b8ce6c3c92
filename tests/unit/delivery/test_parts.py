"""A try may deliver some of a batch, refuse some alone, find it too large, or find nobody there any more."""

import dataclasses

import msgspec
import pytest

from pipeline.delivery.breaker import BreakerState
from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.batch import Batch, Request, SealReason, decode_batch
from tests.support.delivering import OK, UNAVAILABLE, Delivering, delivering, integration

TOO_LARGE = Outcome(Verdict.REFUSED, "413 Content Too Large", status=413, hint=Hint.TOO_LARGE)
GONE = Outcome(Verdict.REFUSED, "410 Gone", status=410, hint=Hint.GONE)
REFUSED = Outcome(Verdict.REFUSED, "404 Not Found", status=404)


def some(outcome: Outcome, *, arrived=(), refused=()) -> Outcome:
    return msgspec.structs.replace(
        outcome, arrived=arrived, refused=tuple(Refusal(first, end, "too long") for first, end in refused)
    )


async def test_only_the_events_that_did_not_arrive_are_sent_again():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(some(UNAVAILABLE, arrived=((0, 3), (5, 10))))
        it.send()
        await it.pass_time(1.0)
        assert it.sink().tries == ["crm:0-10", "crm:3-5"]
        await it.write()
        assert it.lane().delivered_events == 10
        assert [(attempt.arrived, attempt.final) for attempt in it.attempts] == [(8, None), (0, "delivered")]


async def test_what_a_leaving_worker_left_is_tried_at_once_and_has_lost_no_try():
    left = Outcome(Verdict.RETRY, "others are left", is_cut_short=True, is_left=True)
    async with delivering(integration("crm", retry={"delays": []})) as it:
        it.sink().answers += [some(left, refused=((0, 1),)), some(left, arrived=((1, 4),))]
        it.send()
        await it.pass_time(0.1)
        await it.write()
        assert it.sink().tries == ["crm:0-10", "crm:1-10", "crm:4-10"]
        assert (it.lane().delivered_events, it.lane().parked_events) == (9, 1)


async def test_what_is_left_survives_a_restart():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(some(UNAVAILABLE, arrived=((1, 3), (6, 9))))
        it.send()
        await it.write()
        await it.restart()
        await it.pass_time(5.0)
        assert it.sink().tries == ["crm:0-10", "crm:0-10~5"]
        assert [number for number, _ in it.sink().bodies[1].numbered()] == [0, 3, 4, 5, 9]
        await it.write()
        assert it.tables[0].waiting() == []


async def test_refused_events_are_parked_alone_and_the_others_go_their_way():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(some(OK, refused=((2, 3),)))
        it.sink().answers.append(some(UNAVAILABLE, refused=((10, 12),)))
        it.send(batches=2)
        await it.pass_time(1.0)
        await it.write()
        assert it.parked_ids() == ["crm:2-3", "crm:10-12"]
        assert [parked.reason for parked in it.parked] == ["refused: too long"] * 2
        assert it.sink().tries == ["crm:0-10", "crm:10-20", "crm:12-20"]
        assert (it.lane().delivered_events, it.lane().parked_events) == (17, 3)


async def test_the_rest_of_a_refused_batch_is_parked_without_what_arrived():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(some(REFUSED, arrived=((0, 4),)))
        it.send()
        await it.write()
        assert it.parked_ids() == ["crm:4-10"]
        assert decode_batch(it.parked[0].batch).event_count == 6
        assert (it.lane().delivered_events, it.lane().parked_events) == (4, 6)


class Small:
    """Takes batches of at most ``most`` events."""

    def __init__(self, it: Delivering, most: int) -> None:
        self.most, self.taken, self.clock = most, [], it.clock

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:  # noqa: ARG002 as a sink is called
        if batch.event_count > self.most:
            return TOO_LARGE
        self.taken.append(batch.id)
        return OK


async def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_keeps_its_order():
    async with delivering(integration("crm", ordered=True)) as it:
        small = Small(it, 3)
        for name, endpoint in it.core._endpoints.items():
            it.core._endpoints[name] = dataclasses.replace(endpoint, sink=small)
        it.send(batches=2)
        await it.calm()
        assert small.taken == [
            "crm:0-3", "crm:3-5", "crm:5-8", "crm:8-10", "crm:10-13", "crm:13-15", "crm:15-18", "crm:18-20",
        ]  # fmt: skip
        await it.write()
        assert it.lane().delivered_events == 20


async def test_a_single_event_that_is_too_large_is_parked_alone():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = TOO_LARGE
        it.send(events=3)
        await it.calm()
        await it.write()
        assert sorted(it.parked_ids()) == ["crm:0-1", "crm:1-2", "crm:2-3"]


async def test_an_endpoint_that_is_gone_is_not_asked_again_and_nothing_is_parked():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = GONE
        it.send()
        await it.calm()
        it.sink().otherwise = OK
        it.send(batches=3)
        await it.pass_time(3_600)
        await it.write()
        assert it.sink().tries == ["crm:0-10"]
        assert (it.lane().waiting_batches, it.lane().is_halted, it.watcher.halted_lanes) == (4, True, ["crm"])
        await it.restart()
        await it.pass_time(60)
        assert it.sink().tries == ["crm:0-10"]
        resume = Batch("crm", 0, 0, SealReason.COUNT, 0.0, 0.0, b"", b"", request=Request.RESUME)
        it.core.admit(0, len(it.topic[0]), resume)
        await it.calm()
        await it.write()
        assert (it.lane().waiting_batches, it.lane().is_halted) == (0, False)


async def test_an_endpoint_that_is_gone_gets_no_more_from_any_lane_of_its_integration():
    async with delivering(integration("crm"), integration("erp")) as it:
        for lane in ("crm", "crm~1", "crm~backfill", "erp"):
            it.send(lane)
        await it.calm()
        it.sink("crm").tries.clear()
        it.sink("crm").otherwise = GONE
        it.send("crm~1")
        await it.calm()
        it.sink("crm").otherwise = OK
        for lane in ("crm", "crm~backfill", "crm~test", "erp"):
            it.send(lane)
        await it.calm()
        assert it.sink("crm").tries == ["crm~1:10-20", "crm~test:0-10"]
        assert len(it.sink("erp").tries) == 2
        assert it.watcher.halted_lanes == ["crm~1"], "it is told once"
        await it.write()
        await it.restart()
        await it.pass_time(60)
        assert len(it.sink("crm").tries) == 2, "each lane's row knows"


async def test_a_test_event_that_finds_an_endpoint_gone_halts_no_other_lane():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(GONE)
        it.send("crm~test")
        await it.calm()
        it.send("crm")
        await it.calm()
        assert it.sink().tries == ["crm~test:0-10", "crm:0-10"]


async def test_another_address_is_asked_although_the_one_before_is_gone():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = GONE
        it.send()
        await it.write()
        it.sink().otherwise = OK

        def move(it: Delivering) -> None:
            it.integrations["crm"] = integration("crm", url="https://elsewhere.example/")

        await it.restart(change=move)
        await it.calm()
        assert it.sink().tries == ["crm:0-10", "crm:0-10"]


async def test_a_replayed_batch_goes_out_again_under_its_name_and_is_counted_once():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(REFUSED)
        it.send()
        await it.write()
        assert it.lane().parked_events == 10
        again = msgspec.structs.replace(
            decode_batch(it.parked[0].batch), sealed_at=it.clock.wall_s(), request=Request.REPLAY
        )
        for _ in range(2):
            it.topic[0].append(again)
            it.feed(len(it.topic[0]) - 1)
        await it.write()
        assert it.sink().tries == ["crm:0-10", "crm:0-10"]
        assert (it.lane().parked_events, it.lane().delivered_events, it.watcher.repeated_events) == (0, 10, 10)


async def test_while_the_breaker_is_open_batches_wait_and_then_one_goes_first():
    keys = {"breaker": {"after_tries": 3, "after": "0s", "pause": "30s"}, "retry": {"delays": ["1s"] * 50}}
    async with delivering(integration("crm", **keys)) as it:
        it.sink().otherwise = UNAVAILABLE
        it.send(batches=8)
        await it.pass_time(1)
        tried = len(it.sink().tries)
        await it.pass_time(10)
        await it.pass_time(10)
        assert len(it.sink().tries) == tried, "nobody is asked while the breaker is open"
        await it.write()
        await it.restart()
        it.sink().otherwise, it.sink().hangs = OK, True
        await it.pass_time(20)
        assert len(it.sink().under_way) == 1, "one probe"
        it.sink().hangs = False
        it.sink().answer()
        await it.pass_time(1)
        await it.write()
        assert (it.lane().delivered_batches, it.lane().parked_batches) == (8, 0)
        assert [state for _, state in it.watcher.breaker_changes][-2:] == [BreakerState.PROBING, BreakerState.CLOSED]


async def test_a_throttled_lane_waits_as_a_whole_and_nothing_is_parked():
    async with delivering(integration("crm")) as it:
        it.send()
        await it.calm()
        slow = Outcome(Verdict.RETRY, "429", status=429, retry_after_s=20.0, hint=Hint.THROTTLED)
        for _ in range(6):
            it.sink().answers.append(slow)
            it.send(batches=2)
            await it.calm()
            tried = len(it.sink().tries)
            await it.pass_time(10)
            assert len(it.sink().tries) == tried
            await it.pass_time(11)
        for _ in range(60):
            await it.pass_time(2)
        await it.write()
        assert (it.lane().parked_batches, it.lane().waiting_batches) == (0, 0)


def resume(it: Delivering) -> None:
    request = Batch("crm", 0, 0, SealReason.COUNT, 0.0, 0.0, b"", b"", request=Request.RESUME)
    it.topic[0].append(request)
    it.core.admit(0, len(it.topic[0]) - 1, request)


async def test_a_lane_in_which_nothing_waits_can_be_resumed_after_a_restart():
    async with delivering(integration("crm", max_wait="1h")) as it:
        it.sink().otherwise = GONE
        it.send()
        await it.pass_time(3_700)
        await it.write()
        await it.restart()
        it.sink().otherwise = OK
        resume(it)
        it.send()
        await it.write()
        assert (it.lane().is_halted, it.lane().delivered_batches) == (False, 1)


async def test_resuming_an_integration_that_was_removed_does_nothing():
    async with delivering(integration("crm")) as it:
        it.send()
        await it.write()

        def remove(it: Delivering) -> None:
            it.integrations.clear()

        await it.restart(change=remove)
        resume(it)
        await it.write()
        assert it.lane().delivered_batches == 1


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_resuming_lifts_a_pause_that_the_endpoint_asked_for(*, is_ordered: bool):
    async with delivering(integration("crm", ordered=is_ordered)) as it:
        a_day = Outcome(Verdict.RETRY, "429", status=429, retry_after_s=86_000.0, hint=Hint.THROTTLED)
        it.sink().answers.append(a_day)
        it.send()
        await it.calm()
        it.send(batches=3)
        await it.pass_time(60)
        assert len(it.sink().tries) == 1
        resume(it)
        await it.pass_time(60)
        assert sorted(it.sink().tries) == ["crm:0-10", "crm:0-10", "crm:10-20", "crm:20-30", "crm:30-40"]
        assert not is_ordered or it.sink().tries[1] == "crm:0-10"
        await it.write()
        assert (it.lane().delivered_batches, it.tables[0].waiting()) == (4, [])


async def test_a_batch_that_a_410_puts_back_still_expires():
    async with delivering(integration("crm", max_wait="1h", timeout="600s")) as it:
        it.sink().hangs = True
        it.send()
        await it.pass_time(3_601)
        it.sink().answer(GONE)
        await it.pass_time(60)
        await it.pass_time(60)
        await it.write()
        assert it.parked_ids() == ["crm:0-10"]


async def test_a_410_uses_up_no_try_and_says_that_none_follows():
    async with delivering(integration("crm")) as it:
        it.sink().answers.extend([GONE, *[UNAVAILABLE] * 4])
        it.send()
        await it.calm()
        resume(it)
        for _ in range(20):
            await it.pass_time(10)
        await it.write()
        assert len(it.sink().tries) == 5
        assert it.attempts[0].next_at is None


async def test_a_replay_that_is_read_twice_has_one_effect():
    async with delivering(integration("crm")) as it:
        it.sink().otherwise = REFUSED
        it.send()
        await it.write()
        again = msgspec.structs.replace(it.topic[0][0], sealed_at=it.clock.wall_s(), request=Request.REPLAY)
        it.topic[0].append(again)
        it.feed(1)
        await it.write()
        await it.restart()
        it.feed(1)
        await it.write()
        assert it.sink().tries == ["crm:0-10", "crm:0-10"]
        assert it.lane().parked_events == 10


async def test_what_is_refused_alone_is_one_parked_batch_however_many_events_it_is():
    async with delivering(integration("crm")) as it:
        every_second = tuple(Refusal(number, number + 1, "too long") for number in range(0, 1000, 2))
        it.sink().answers.append(msgspec.structs.replace(OK, refused=every_second))
        it.send(events=1000)
        await it.write()
        assert it.parked_ids() == ["crm:0-999~500"]
        assert (it.lane().delivered_events, it.lane().parked_events) == (500, 500)


async def test_an_hour_that_was_forgotten_is_counted_again_when_its_events_are_replayed():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(REFUSED)
        it.send()
        await it.write()
        again = msgspec.structs.replace(it.topic[0][0], sealed_at=it.clock.wall_s(), request=Request.REPLAY)
        lane = it.core._endings.partitions[0].state.lanes["crm"]
        lane.hours.by_hour.clear()
        it.topic[0].append(again)
        it.feed(1)
        await it.calm()
        (count,) = lane.hours.by_hour.values()
        assert (count.registered, count.delivered, count.parked) == (10, 10, 0)


async def test_an_error_while_an_outcome_is_applied_ends_the_core(monkeypatch: pytest.MonkeyPatch):
    async with delivering(integration("crm")) as it:
        monkeypatch.setattr(it.watcher, "attempted", None)
        it.send()
        await it.calm()
        assert it.core.failure.done()
