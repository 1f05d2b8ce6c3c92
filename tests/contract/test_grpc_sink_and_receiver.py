"""The gRPC sink against the project's own receiver: what is sent is what is taken."""

import json
import urllib.request
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.attempt import Verdict
from pipeline.model.ranges import without
from pipeline.receiver.grpc_receiver import GrpcReceiver
from pipeline.receiver.manners import Manners
from pipeline.sinks.grpc import SPEC
from tests.contract.test_every_sink import NOW_S, SECRET, sink_to
from tests.support.grpc_batches import batch_of, batch_of_events, event_of


@asynccontextmanager
async def receiving(**options: Any) -> AsyncIterator[GrpcReceiver]:
    receiver = GrpcReceiver(**options)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


@pytest.mark.parametrize("settings", [{}, {"max_events_per_message": 7}, {"fields": "known"}], ids=str)
async def test_every_event_is_verified_and_counted(settings: dict[str, Any]) -> None:
    async with receiving(authorization=SECRET) as receiver, sink_to(SPEC, receiver.url, **settings) as sink:
        for first in range(0, 90, 30):
            outcome = await sink.send(batch_of(30, first=first), now_s=NOW_S)
            assert outcome.verdict is Verdict.DELIVERED, outcome
        stats = receiver.stats()
    assert (stats["events"], stats["unique_events"], stats["unique_uuids"], stats["batches"]) == (90, 90, 90, 3)
    assert (stats["missing_events"], stats["repeated_events"], stats["problems"]) == (0, 0, {})


@pytest.mark.parametrize(
    ("manners", "verdict", "status"),
    [
        (Manners(fail_share=1), Verdict.RETRY, 14),
        (Manners(fail_share=1, fail_status=401), Verdict.REFUSED, 16),
        (Manners(fail_share=1, fail_status=422), Verdict.REFUSED, 3),
        (Manners(fail_share=1, fail_status=502), Verdict.RETRY, 2),
        (Manners(stall_s=9), Verdict.RETRY, 4),
        (Manners(ending="never"), Verdict.RETRY, 4),
        (Manners(ending="drip"), Verdict.RETRY, 4),
        (Manners(ending="reset"), Verdict.RETRY, 14),
        (Manners(ending="garbage"), Verdict.RETRY, None),
    ],
    ids=str,
)
async def test_bad_manners_come_out_as_verdicts(manners: Manners, verdict: Verdict, status: int | None) -> None:
    async with receiving(manners=manners) as receiver, sink_to(SPEC, receiver.url, timeout_s=0.4) as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
    assert (outcome.verdict, outcome.status) == (verdict, status)


async def test_a_redirect_is_no_way_for_a_stream_to_end() -> None:
    with pytest.raises(ValueError, match="cannot end in redirect"):
        GrpcReceiver(manners=Manners(ending="redirect"))


async def test_a_throttle_says_when_to_come_back() -> None:
    async with receiving(manners=Manners(throttle_per_s=1)) as receiver, sink_to(SPEC, receiver.url) as sink:
        outcomes = [await sink.send(batch_of(3, first=first), now_s=NOW_S) for first in range(0, 12, 3)]
    assert (outcomes[-1].verdict, outcomes[-1].status, outcomes[-1].retry_after_s) == (Verdict.RETRY, 8, 1.0)


@pytest.mark.parametrize(
    "shares", [{"manners": Manners(partial_share=0.3)}, {"silent_share": 0.3}], ids=["fail", "none"]
)
async def test_what_is_left_over_again_and_again_arrives_once(shares: dict[str, Any]) -> None:
    batch = batch_of(200)
    async with receiving(seed=4, **shares) as receiver, sink_to(SPEC, receiver.url) as sink:
        tries = 0
        while True:
            tries += 1
            outcome = await sink.send(batch, now_s=NOW_S)
            if outcome.verdict is Verdict.DELIVERED:
                break
            batch = batch.only(without(batch.ranges, outcome.arrived))
        stats = receiver.stats()
    assert 2 < tries < 20
    assert (stats["events"], stats["unique_events"], stats["repeated_events"], stats["missing_events"]) == (
        200,
        200,
        0,
        0,
    )
    assert stats["problems"] == {}


async def test_the_wrong_authorization_is_not_let_in() -> None:
    async with receiving(authorization="Bearer other") as receiver, sink_to(SPEC, receiver.url) as sink:
        outcome = await sink.send(batch_of(3), now_s=NOW_S)
        stats = receiver.stats()
    assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, 16)
    assert (stats["problems"], stats["statuses"]) == ({"authorization": 1}, {"16": 1})


async def test_an_event_without_what_every_event_has_is_noticed() -> None:
    async with receiving() as receiver, sink_to(SPEC, receiver.url) as sink:
        outcome = await sink.send(batch_of_events([event_of(0, platform="")]), now_s=NOW_S)
        assert (outcome.status, receiver.stats()["problems"]) == (3, {"fields": 1})


async def test_each_message_is_recorded_before_it_is_answered_and_the_stream_when_it_is_over(tmp_path: Path) -> None:
    file = tmp_path / "record"
    async with receiving(record=file) as receiver, sink_to(SPEC, receiver.url, max_events_per_message=2) as sink:
        await sink.send(batch_of(3), now_s=NOW_S)
        await sink.send(batch_of(8).only(((4, 5), (6, 7))), now_s=NOW_S)
    assert file.read_text().splitlines() == [
        "crm:0-2\tu-0\tu-1",
        "crm:2-3\tu-2",
        "ended\tcrm:0-3",
        "crm:4-5\tu-4",
        "crm:6-7\tu-6",
        "ended\tcrm:4-5\tcrm:6-7",
    ]


async def test_the_counts_are_told_over_http() -> None:
    async with receiving(stats_port=0) as receiver, sink_to(SPEC, receiver.url) as sink:
        await sink.send(batch_of(3), now_s=NOW_S)
        url = receiver.stats_url
        assert url is not None
        with await to_thread(urllib.request.urlopen, url) as answer:
            assert json.load(answer)["events"] == 3


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with receiving() as receiver:
        with pytest.raises(OSError, match="Address already in use"):
            await GrpcReceiver(port=receiver.port).start()
