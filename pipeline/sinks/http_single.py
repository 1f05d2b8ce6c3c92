"""Sending a batch one event at a time, and remembering which of its events have arrived."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch

_MOST_BATCHES_REMEMBERED = 256


class DeliveredEvents:
    """Which events of partly delivered batches have arrived, by batch id and sequence number.

    Best effort: it lives in memory, and beyond ``most_batches`` forgets the one that was touched longest ago.
    """

    def __init__(self, most_batches: int = _MOST_BATCHES_REMEMBERED) -> None:
        self._most_batches = most_batches
        self._by_batch: OrderedDict[str, set[int]] = OrderedDict()

    def of(self, batch_id: str) -> set[int]:
        """The sequence numbers of the batch that have arrived; the caller adds to them."""
        delivered = self._by_batch.setdefault(batch_id, set())
        self._by_batch.move_to_end(batch_id)
        while len(self._by_batch) > self._most_batches:
            self._by_batch.popitem(last=False)
        return delivered

    def forget(self, batch_id: str) -> None:
        """Drop what is known of a batch that needs no more tries."""
        self._by_batch.pop(batch_id, None)


async def send_each(
    batch: Batch,
    memory: DeliveredEvents,
    post: Callable[[int, bytes], Awaitable[Outcome]],
    *,
    requests_at_once: int,
) -> Outcome:
    """Send every event of ``batch`` that has not arrived yet by ``post(sequence, event)``; one outcome for all.

    Delivered only where all have arrived. The first event that is not ends the try: what is under way is waited for,
    nothing more is begun, and the outcome is that event's, with how far the batch has come.
    """
    started_s = time.monotonic()
    delivered = memory.of(batch.id)
    waiting = (
        (sequence, event)
        for sequence, event in enumerate(batch.run().events(), start=batch.first)
        if sequence not in delivered
    )
    outcomes: list[Outcome] = []
    failures: list[tuple[int, Outcome]] = []

    async def work() -> None:
        for sequence, event in waiting:
            outcome = await post(sequence, event)
            outcomes.append(outcome)
            if outcome.verdict is Verdict.DELIVERED:
                delivered.add(sequence)
            else:
                failures.append((sequence, outcome))
            if failures:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(requests_at_once):
            tasks.create_task(work())

    total = batch.end - batch.first
    if failures:
        sequence, result = failures[0]
        detail = f"event {sequence}: {result.detail} ({len(delivered)} of {total} events have arrived)"
    else:
        memory.forget(batch.id)
        result = outcomes[-1] if outcomes else Outcome(Verdict.DELIVERED, "")
        detail = f"{total} events have arrived, each in a request of its own"
    return msgspec.structs.replace(
        result,
        detail=detail,
        duration_s=time.monotonic() - started_s,
        request_bytes=sum(outcome.request_bytes for outcome in outcomes),
        answer_bytes=sum(outcome.answer_bytes for outcome in outcomes),
    )
