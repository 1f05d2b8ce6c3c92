"""What the delivery core is given: the endpoints it delivers to, and somebody to tell."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.delivery.breaker import Change
from pipeline.delivery.rate import Rate
from pipeline.delivery.rows import Fate
from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.model.integration import Integration


class Sender(Protocol):
    """The side of a sink that delivers: one try for one batch."""

    def send(self, batch: Batch, *, now_s: float) -> Coroutine[Any, Any, Outcome]:
        """Try to deliver ``batch``; ``now_s`` is UNIX seconds. Raises nothing for what the endpoint does."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An integration, who sends for it, and the rate that all its lanes share, where one is set."""

    integration: Integration
    sink: Sender
    rate: Rate | None = None


_OURS: Final = frozenset(Integration.model_fields) - {"kind", "url", "authorization"}
"""Keys that say which events are sent and when, and nothing of where they go or how they are told."""


def is_other_address(old: Integration, new: Integration) -> bool:
    """Whether what was learned of the endpoint of ``old`` says nothing of that of ``new``: it is reached in another way."""
    return type(old) is not type(new) or old.model_dump(exclude={*_OURS}) != new.model_dump(exclude={*_OURS})


class DeliveryObserver(Protocol):
    """Told what happens, as it happens: for metrics. Must be quick and must not raise."""

    def started(self, lane: str, attempt: int, waited_s: float) -> None:
        """The ``attempt``-th try of a batch begins, ``waited_s`` after it was sealed."""
        ...

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:
        """The ``attempt``-th try of a batch ended; the next is due at ``next_at`` (UNIX seconds), ``None`` for never."""
        ...

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float, reason: str) -> None:
        """A batch of ``events`` is done, ``waited_s`` after it was sealed; ``reason`` says why it gave up, if it did."""
        ...

    def arrived(self, lane: str, events: int) -> None:
        """``events`` of a batch are delivered, which goes on with the others."""
        ...

    def halted(self, lane: str, detail: str) -> None:
        """The endpoint is gone for good, it says: nothing more is sent until somebody resumes the lane."""
        ...

    def breaker_changed(self, lane: str, change: Change) -> None:
        """The lane's breaker opened, probes or closed."""
        ...

    def recorded(self, delay_s: float) -> None:
        """What came of tries is recorded, ``delay_s`` after the first of them ended."""
        ...

    def repeated(self, lane: str, events: int) -> None:
        """``events`` of a record had been registered before and were dropped."""
        ...

    def spilled(self, lane: str, size_bytes: int) -> None:
        """A batch's body was let go of; it will be read back."""
        ...


class SilentObserver:
    """Tells nobody."""

    def started(self, lane: str, attempt: int, waited_s: float) -> None:
        """Do nothing."""

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:
        """Do nothing."""

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float, reason: str) -> None:
        """Do nothing."""

    def arrived(self, lane: str, events: int) -> None:
        """Do nothing."""

    def halted(self, lane: str, detail: str) -> None:
        """Do nothing."""

    def breaker_changed(self, lane: str, change: Change) -> None:
        """Do nothing."""

    def recorded(self, delay_s: float) -> None:
        """Do nothing."""

    def repeated(self, lane: str, events: int) -> None:
        """Do nothing."""

    def spilled(self, lane: str, size_bytes: int) -> None:
        """Do nothing."""
