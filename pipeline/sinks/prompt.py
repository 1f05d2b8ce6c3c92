"""Integrations whose events go out at once, each in a request of its own."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.model.integration import BatchLimits
from pipeline.model.units import DAY_S, Duration
from pipeline.sinks.posting import PostedIntegration


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

    @property
    def sends_each(self) -> bool:
        """Each event is a request of its own."""
        return True
