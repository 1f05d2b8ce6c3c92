"""How long, and how much, the index of attempts remembers."""

from typing import Annotated, Final

from pydantic import Field

from pipeline.model.integration import Count
from pipeline.model.section import Section
from pipeline.model.units import Duration

_DAY_S: Final = 86_400.0


class Keep(Section):
    """What the view's index of attempts, batches, parked batches, dead letters and notices keeps, a worker."""

    max_age_s: Annotated[float, Duration(60.0, 365 * _DAY_S)] = Field(
        7 * _DAY_S,
        alias="max_age",
        description="What is older leaves the view. The topics themselves are kept for 7 days unless they are configured otherwise.",
    )
    max_attempts: Count = Field(
        5_000_000,
        ge=1000,
        le=1_000_000_000,
        description="How many attempts a worker remembers at most, and as many of each of the other kinds; the oldest leave first.",
    )
