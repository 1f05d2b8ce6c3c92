"""The HTTP sink against the project's own receiver: what is sent is what is taken."""

from typing import Any

import pytest

from pipeline.model.attempt import Verdict
from pipeline.receiver.receiver import Receiver
from pipeline.sinks.http import SPEC
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
