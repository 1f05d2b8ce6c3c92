"""Integrations whose events go out at once, each in a request of its own."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

from pydantic import Field

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.model.integration import BatchLimits
from pipeline.model.units import DAY_S, Duration
from pipeline.sinks.each import send_each
from pipeline.sinks.posting import Events, PostedIntegration

_REQUESTS_AT_ONCE: Final = 4


class PromptBatchLimits(BatchLimits):
    """Windows that do not wait: what one chunk brought is sealed with it."""

    max_age_s: Annotated[float, Duration(0.0, 7 * DAY_S)] = Field(
        0.0,
        alias="max_age",
        description="Seal when this long has passed since the first event after the last transmission. "
        "`0s` lets no event wait.",
    )


class PromptIntegration(PostedIntegration):
    """An integration whose events are POSTed one by one, as soon as they are there."""

    batch: PromptBatchLimits = Field(
        PromptBatchLimits(),
        description="When a window is sealed: at whichever limit comes first. "
        "Its events still travel one by one; a window is what is retried and recorded together.",
    )
    fields: Literal["known"] = Field(
        "known", description="The endpoint's own format is made from all fields that are known."
    )


async def send_promptly(
    batch: Batch,
    settings: PromptIntegration,
    post: Callable[[Events, bytes, float], Awaitable[Outcome]],
    *,
    now_s: float,
) -> Outcome:
    """Send the events of ``batch`` by ``post(events, event, now_s)``, one after the other where they are ``ordered``.

    ``now_s`` of a request is UNIX seconds of that request: the last event of a batch may have its turn minutes after the
    first one, and signatures of long ago are refused.
    """
    started_s = time.monotonic()

    async def post_one(sequence: int, event: bytes) -> Outcome:
        passed_s = int(time.monotonic() - started_s)  # headers carry whole seconds
        return await post(Events.single(batch.lane, sequence), event, now_s + passed_s)

    return await send_each(batch, post_one, requests_at_once=1 if settings.ordered else _REQUESTS_AT_ONCE)
