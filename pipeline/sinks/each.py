"""Sending a batch one event at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.batch import Batch
from pipeline.model.ranges import ranges_of
from pipeline.sinks.base import Leaving
from pipeline.sinks.posting import Events

_CONCERNS_ALL: Final = frozenset({Hint.GONE, Hint.UNAUTHORIZED})
_ENDS_THE_TRY: Final = _CONCERNS_ALL | {Hint.THROTTLED}
_MOST_FAILURES_IN_A_ROW: Final = 4
_REQUESTS_AT_ONCE: Final = 4


async def send_each(
    batch: Batch,
    post: Callable[[Events, bytes, float], Awaitable[Outcome]],
    *,
    now_s: float,
    is_ordered: bool,
    leaving: Leaving,
) -> Outcome:
    """Send every event of ``batch`` by ``post(events, event, now_s)``, four at once unless ordered; one outcome for all.

    ``now_s`` is UNIX seconds of the try, and what a request gets is that of the request: the last event of a batch may have
    its turn minutes after the first one, and signatures of long ago are refused.

    An event that is refused is given up alone, and the others go on; so they do after one that may be tried again later. A 401
    or 403 is about the event where the one before it has arrived with the same credentials, and about the credentials otherwise.
    The try is cut short where it makes no sense to go on: a failure before anything arrived, several in a row, an endpoint
    that asks for less, refused credentials, an endpoint that is gone, or, in order, any failure, since what comes after
    it must wait for it. So it is after a first request where partitions are ``leaving``. Then requests under way are waited for
    and nothing more is begun. The outcome is that of the first failure, with the events that have arrived; it is unanswered
    where that failure is.
    """
    started_s = time.monotonic()
    waiting = batch.numbered()
    most_in_a_row = 1 if is_ordered else _MOST_FAILURES_IN_A_ROW
    arrived: list[int] = []
    refused: list[Refusal] = []
    outcomes: list[Outcome] = []
    failures: list[tuple[int, Outcome]] = []
    in_a_row = begun = 0
    is_over = are_credentials_good = False

    def goes_on() -> bool:
        may_begin = not is_over and in_a_row < most_in_a_row and (not failures or bool(arrived))
        return may_begin and not (leaving.is_on and begun)

    async def work() -> None:
        nonlocal in_a_row, is_over, begun, are_credentials_good
        while goes_on() and (following := next(waiting, None)) is not None:
            sequence, event = following
            begun += 1
            passed_s = int(time.monotonic() - started_s)  # headers carry whole seconds
            outcome = await post(Events.single(batch.lane, sequence), event, now_s + passed_s)
            outcomes.append(outcome)
            is_stranger = outcome.hint is Hint.UNAUTHORIZED
            concerns_all = outcome.hint in _CONCERNS_ALL and not (is_stranger and are_credentials_good)
            if outcome.verdict is Verdict.DELIVERED:
                arrived.append(sequence)
                in_a_row = 0
                are_credentials_good = True
            elif outcome.verdict is Verdict.REFUSED and not concerns_all:
                refused.append(Refusal(sequence, sequence + 1, outcome.detail))
                are_credentials_good = are_credentials_good and not is_stranger
            else:
                failures.append((sequence, outcome))
                in_a_row += 1
                is_over = is_over or outcome.hint in _ENDS_THE_TRY

    async with asyncio.TaskGroup() as tasks:
        for _ in range(1 if is_ordered else _REQUESTS_AT_ONCE):
            tasks.create_task(work())

    summed = _sum(batch.event_count, outcomes, arrived, refused, failures)
    return msgspec.structs.replace(summed, duration_s=time.monotonic() - started_s)


def _sum(
    count: int, outcomes: list[Outcome], arrived: list[int], refused: list[Refusal], failures: list[tuple[int, Outcome]]
) -> Outcome:
    """The outcome of a try to send ``count`` events whose requests, as many as were made, had ``outcomes``."""
    if count == 1:
        result = outcomes[0]
        detail = result.detail
    elif failures:
        sequence, result = next((each for each in failures if each[1].hint in _ENDS_THE_TRY), failures[0])
        detail = f"event {sequence}: {result.detail} ({len(arrived)} of {count} events have arrived)"
    elif len(outcomes) < count:
        result = msgspec.structs.replace(outcomes[-1], verdict=Verdict.RETRY, hint=None)
        detail = (
            f"{len(arrived)} of {count} events have arrived, the others are left: their partition leaves this worker"
        )
    elif refused:
        result = next(outcome for outcome in outcomes if outcome.verdict is Verdict.REFUSED)
        detail = (
            f"{len(refused)} of {count} events were refused, the first: event {refused[0].first}: {refused[0].detail}"
        )
    else:
        result = outcomes[-1]
        detail = f"{count} events have arrived, each in a request of its own"
    return msgspec.structs.replace(
        result,
        detail=detail,
        is_left=len(outcomes) < count and not failures,
        arrived=() if result.verdict is Verdict.DELIVERED else ranges_of(arrived),
        is_cut_short=len(outcomes) < count,
        refused=() if count == 1 else tuple(sorted(refused, key=lambda refusal: refusal.first)),
        request_bytes=sum(outcome.request_bytes for outcome in outcomes),
        answer_bytes=sum(outcome.answer_bytes for outcome in outcomes),
    )
