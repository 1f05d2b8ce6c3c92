"""Sinks against the project's own receivers: what is sent is what is taken."""

from typing import Any

import pytest

from pipeline.clock import SystemClock
from pipeline.model.attempt import Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.model.ranges import without
from pipeline.receiver.receiver import Receiver
from pipeline.sinks.http import SPEC
from pipeline.sinks.registry import spec_of
from tests.contract.test_every_sink import NOW_S, batch_of, sink_to


@pytest.mark.parametrize("settings", [{}, {"body": "envelope"}, {"body": "object"}, {"compression": "gzip"}], ids=str)
async def test_every_body_is_verified_and_counted(settings: dict[str, Any]) -> None:
    receiver = Receiver()
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url, **settings) as sink:
            for first in range(0, 90, 30):
                outcome = await sink.send(batch_of(30, first=first), now_s=NOW_S)
                assert outcome.verdict is Verdict.DELIVERED, outcome
        stats = receiver.stats()
    finally:
        await receiver.stop()
    assert (stats["events"], stats["unique_events"], stats["unique_uuids"]) == (90, 90, 90)
    assert (stats["missing_events"], stats["repeated_events"], stats["problems"]) == (0, 0, {})


@pytest.mark.parametrize("verify", [True, False])
async def test_a_part_in_too_many_ranges_for_a_header_is_taken_and_counted(*, verify: bool) -> None:
    receiver = Receiver(verify=verify)
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url) as sink:
            part = batch_of(3000).only(tuple((number, number + 1) for number in range(0, 3000, 2)))
            for _ in range(2):
                outcome = await sink.send(part, now_s=NOW_S)
                assert outcome.verdict is Verdict.DELIVERED, outcome
        stats = receiver.stats()
    finally:
        await receiver.stop()
    assert (stats["events"], stats["unique_events"], stats["duplicate_batches"]) == (3000, 1500, 1)
    assert (stats["missing_events"], stats["problems"]) == (0, {})


@pytest.mark.parametrize(
    ("path", "verdict", "status"),
    [
        ("fail/503", Verdict.RETRY, 503),
        ("fail/410", Verdict.REFUSED, 410),
        ("stall/9", Verdict.RETRY, None),
        ("never", Verdict.RETRY, None),
        ("reset", Verdict.RETRY, None),
        ("garbage", Verdict.RETRY, None),
        ("redirect", Verdict.REFUSED, 302),
        ("large/104857600", Verdict.DELIVERED, 200),
    ],
)
async def test_bad_manners_come_out_as_verdicts(path: str, verdict: Verdict, status: int | None) -> None:
    receiver = Receiver()
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url + path, timeout_s=0.3) as sink:
            outcome = await sink.send(batch_of(3), now_s=NOW_S)
    finally:
        await receiver.stop()
    assert (outcome.verdict, outcome.status) == (verdict, status)


async def test_a_throttle_says_when_to_come_back() -> None:
    receiver = Receiver()
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url + "throttle/1") as sink:
            outcomes = [await sink.send(batch_of(3, first=first), now_s=NOW_S) for first in range(0, 12, 3)]
    finally:
        await receiver.stop()
    assert (outcomes[-1].verdict, outcomes[-1].status, outcomes[-1].retry_after_s) == (Verdict.RETRY, 429, 1.0)


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NO_AUTHORIZATION = {"authorization": None}


@pytest.mark.parametrize(
    ("kind", "settings", "proof"),
    [
        ("http", {"signing": {"secrets": [SECRET]}}, {"secrets": [SECRET], "check_fields": True}),
        ("http", {"authorization": "Bearer x"}, {"authorization": "Bearer x"}),
        ("email", {}, {}),
        (
            "xtremepush",
            {"channels": "*", **NO_AUTHORIZATION, "auth": {"type": "signed", "secret": "new", "previous": "old"}},
            {"secrets": ["old"]},
        ),
        ("segment", {"write_key": "key", **NO_AUTHORIZATION}, {"write_key": "key"}),
    ],
    ids=["http signed", "http authorized", "email", "xtremepush", "segment"],
)
async def test_every_kind_is_verified_and_counted(kind: str, settings: dict[str, Any], proof: dict[str, Any]) -> None:
    receiver = Receiver(kind=kind, clock=StandingClock(), **proof)
    await receiver.start()
    try:
        async with sink_to(spec_of(kind), receiver.url, **settings) as sink:
            for first in (0, 30, 60, 0):
                outcome = await sink.send(whole_events(first, 30), now_s=NOW_S)
                assert outcome.verdict is Verdict.DELIVERED, outcome
            await sink.send(whole_events(0, 5, lane="crm~test"), now_s=NOW_S)
        stats = receiver.stats()
    finally:
        await receiver.stop()
    assert (stats["events"], stats["unique_events"], stats["missing_events"], stats["problems"]) == (120, 90, 0, {})
    assert stats["purposes"]["test"]["unique_events"] == 5


async def test_what_a_receiver_names_as_failed_is_all_that_is_left() -> None:
    receiver = Receiver(seed=2)
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url + "partial/0.5") as sink:
            left = batch_of(40)
            tries = 0
            while True:
                outcome = await sink.send(left, now_s=NOW_S)
                tries += 1
                rest = without(left.ranges, outcome.arrived)
                if outcome.verdict is Verdict.DELIVERED or not rest:
                    break
                left = left.only(rest)
        stats = receiver.stats()
    finally:
        await receiver.stop()
    assert tries > 2
    assert (stats["unique_events"], stats["repeated_events"], stats["missing_events"]) == (40, 0, 0)
    assert stats["failed_events"] > 10
    assert stats["problems"] == {}


class StandingClock(SystemClock):
    """Always the moment at which these tests sign."""

    def wall_s(self) -> float:
        return NOW_S


def whole_events(first: int, count: int, *, lane: str = "crm") -> Batch:
    """Events that have every field which some kind needs."""
    run = EventRun.of(
        [
            b'{"event_name":"Email Sent","message_code":"E682-E6D92B9A-53E24868","platform":"Email","application_code":'
            b'"32E5A-9B411","hwid":"a@b.example","user_id":"7","timestamp":1700000000,"uuid":"%s-%d"}'
            % (lane.encode(), number)
            for number in range(first, first + count)
        ]
    )
    return Batch(lane, first, first + count, SealReason.COUNT, NOW_S - 1, NOW_S, run.packed_ends(), run.block)
