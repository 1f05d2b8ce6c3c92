"""What an examination found, as data."""

import enum
from typing import Any, Final

import msgspec

CONFIGURATION: Final = "configuration"
NAME: Final = "name"
CONNECTION: Final = "connection"
TLS: Final = "TLS"
TEST_EVENT: Final = "test event"

STEPS: Final = (CONFIGURATION, NAME, CONNECTION, TLS, TEST_EVENT)
"""The steps, in the order in which they are taken. Plain connections have no TLS."""


class State(enum.StrEnum):
    """How a step ended."""

    GOOD = "good"
    WARNING = "warning"  # deliveries work, but somebody should look at it
    BAD = "bad"  # deliveries fail
    SKIPPED = "skipped"  # not tried: a step before failed, or nobody wanted it


class Step(msgspec.Struct, frozen=True):
    """One step of an examination.

    ``text`` is one line on what was found, ``advice`` what to do about it (empty where there is nothing to do);
    ``facts`` are the same for machines, ready for JSON. Neither holds a secret.
    """

    name: str
    state: State
    text: str
    advice: str = ""
    duration_s: float = 0.0
    facts: dict[str, Any] = {}


class Examination(msgspec.Struct, frozen=True):
    """All steps that were taken for one integration. ``place`` is ``host:port``."""

    integration: str
    kind: str
    place: str
    steps: tuple[Step, ...]

    @property
    def state(self) -> State:
        """The worst that was found: ``BAD``, ``WARNING``, else ``GOOD``."""
        states = {step.state for step in self.steps}
        return next((state for state in (State.BAD, State.WARNING) if state in states), State.GOOD)

    @property
    def trouble(self) -> Step | None:
        """The first step that found something wrong, a failure before a warning."""
        return next(
            (step for state in (State.BAD, State.WARNING) for step in self.steps if step.state is state),
            None,
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"is_well": self.state is State.GOOD, **msgspec.to_builtins(self)}
