"""Several observers as one."""

from pipeline.delivery.breaker import Change
from pipeline.delivery.endpoint import DeliveryObserver
from pipeline.delivery.rows import Fate
from pipeline.model.attempt import Outcome


class DeliveryObservers:
    """Tells each of ``observers``, in order, whatever it is told."""

    def __init__(self, *observers: DeliveryObserver) -> None:
        self._observers = observers

    def started(self, lane: str, attempt: int, waited_s: float) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.started(lane, attempt, waited_s)

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.attempted(lane, attempt, outcome, next_at)

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float, reason: str) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.finished(lane, events, fate, waited_s, reason)

    def arrived(self, lane: str, events: int) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.arrived(lane, events)

    def halted(self, lane: str, detail: str) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.halted(lane, detail)

    def breaker_changed(self, lane: str, change: Change) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.breaker_changed(lane, change)

    def recorded(self, delay_s: float) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.recorded(delay_s)

    def repeated(self, lane: str, events: int) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.repeated(lane, events)

    def spilled(self, lane: str, size_bytes: int) -> None:
        """See ``DeliveryObserver``."""
        for each in self._observers:
            each.spilled(lane, size_bytes)
