"""A sink that sends a batch piece by piece, while its partition leaves the worker: what has arrived is told, the rest is left."""

from typing import Any

import pytest

from pipeline.model.attempt import Verdict
from pipeline.model.ranges import count_of
from pipeline.receiver.grpc_receiver import GrpcReceiver
from pipeline.sinks import email, grpc, http, xtremepush
from pipeline.sinks.base import Leaving, SinkSpec
from tests.contract.test_every_sink import NOW_S, batch_of, sink_to
from tests.support import grpc_batches
from tests.support.endpoint import Answering, reply, serving

PIECE_BY_PIECE = [
    pytest.param(http.SPEC, {"body": "object"}, id="http"),
    pytest.param(email.SPEC, {}, id="email"),
    pytest.param(xtremepush.SPEC, {}, id="xtremepush"),
]


def then_leave(leaving: Leaving, *, after: int) -> Answering:
    """Takes every request; partitions begin to leave while request number ``after`` is being answered."""
    taken = 0
    take = reply(200)

    async def answer(*request: Any) -> Any:
        nonlocal taken
        taken += 1
        leaving.is_on = leaving.is_on or taken >= after
        return await take(*request)

    return answer


@pytest.mark.parametrize(("spec", "settings"), PIECE_BY_PIECE)
@pytest.mark.parametrize("ordered", [True, False])
async def test_no_further_request_is_begun(spec: SinkSpec, settings: dict[str, Any], *, ordered: bool) -> None:
    leaving = Leaving()
    async with serving(then_leave(leaving, after=2)) as endpoint:
        async with sink_to(spec, endpoint.url(), leaving=leaving, ordered=ordered, **settings) as sink:
            outcome = await sink.send(batch_of(20), now_s=NOW_S)
        requests = len(endpoint.seen)
    assert outcome.verdict is Verdict.RETRY
    assert (outcome.is_cut_short, outcome.is_left) == (True, True)
    assert 2 <= requests < 20
    assert count_of(outcome.arrived) == requests
    assert outcome.detail.startswith(f"{requests} of 20 events have arrived, the others are left")


@pytest.mark.parametrize(("spec", "settings"), PIECE_BY_PIECE)
async def test_a_try_makes_at_least_one_step(spec: SinkSpec, settings: dict[str, Any]) -> None:
    leaving = Leaving()
    leaving.is_on = True
    async with serving(reply(200)) as endpoint, sink_to(spec, endpoint.url(), leaving=leaving, **settings) as sink:
        outcome = await sink.send(batch_of(9), now_s=NOW_S)
    assert count_of(outcome.arrived) == 1


async def test_no_further_message_is_written_and_those_that_were_are_answered() -> None:
    leaving = Leaving()
    leaving.is_on = True
    receiver = GrpcReceiver()
    await receiver.start()
    try:
        async with sink_to(grpc.SPEC, receiver.url, leaving=leaving, max_events_per_message=3) as sink:
            outcome = await sink.send(grpc_batches.batch_of(10), now_s=NOW_S)
            leaving.is_on = False
            rest = await sink.send(grpc_batches.batch_of(10).only(((3, 10),)), now_s=NOW_S)
    finally:
        await receiver.stop()
    assert (outcome.verdict, outcome.arrived, outcome.is_cut_short) == (Verdict.RETRY, ((0, 3),), True)
    assert outcome.detail == "3 of 10 events have arrived, others are left: their partition leaves this worker"
    assert (rest.verdict, rest.is_cut_short) == (Verdict.DELIVERED, False)
    assert receiver.stats()["repeated_events"] == 0
