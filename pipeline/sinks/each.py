"""Sending a batch one event at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.batch import Batch
from pipeline.model.ranges import ranges_of

_CONCERNS_ALL: Final = frozenset({Hint.GONE, Hint.UNAUTHORIZED})


async def send_each(
    batch: Batch,
    post: Callable[[int, bytes], Awaitable[Outcome]],
    *,
    requests_at_once: int,
) -> Outcome:
    """Send every event of ``batch`` by ``post(sequence, event)``; one outcome for all.

    An event that is refused is given up alone, and the others go on. What may pass with time (or concerns every event:
    refused credentials, an endpoint that is gone) ends the try: requests under way are waited for, nothing more is begun,
    and the outcome is that event's, with those that have arrived.
    """
    started_s = time.monotonic()
    waiting = batch.numbered()
    arrived: list[int] = []
    refused: list[Refusal] = []
    outcomes: list[Outcome] = []
    failures: list[tuple[int, Outcome]] = []

    async def work() -> None:
        for sequence, event in waiting:
            outcome = await post(sequence, event)
            outcomes.append(outcome)
            if outcome.verdict is Verdict.DELIVERED:
                arrived.append(sequence)
            elif outcome.verdict is Verdict.REFUSED and outcome.hint not in _CONCERNS_ALL:
                refused.append(Refusal(sequence, sequence + 1, outcome.detail))
            else:
                failures.append((sequence, outcome))
            if failures:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(requests_at_once):
            tasks.create_task(work())

    count = batch.event_count
    if failures:
        sequence, result = failures[0]
        detail = f"event {sequence}: {result.detail} ({len(arrived)} of {count} events have arrived)"
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
        arrived=ranges_of(arrived) if failures or refused else (),
        refused=tuple(sorted(refused, key=lambda refusal: refusal.first)),
        duration_s=time.monotonic() - started_s,
        request_bytes=sum(outcome.request_bytes for outcome in outcomes),
        answer_bytes=sum(outcome.answer_bytes for outcome in outcomes),
    )
