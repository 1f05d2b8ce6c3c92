"""What holds a lane back, all in one place: its breaker, what the endpoint asks for, its rate, how much is under way."""

import hashlib
from typing import TYPE_CHECKING

from pipeline.delivery.breaker import Breaker, Change, endpoint_works
from pipeline.delivery.endpoint import Endpoint, is_other_address
from pipeline.delivery.in_flight import InFlightCap
from pipeline.delivery.pending import PendingBatch, PendingLane
from pipeline.delivery.throttling import LanePause, asks_for_less, counts_as_attempt
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch

if TYPE_CHECKING:
    from pipeline.delivery.lane import Flight

_FINGERPRINT_CHARS = 16


class Gate:
    """Decides whether a lane may begin a try. ``now`` is UNIX seconds, ``now_s`` monotonic ones.

    What must outlive the process, whether the endpoint is gone and the breaker while it is not closed, it keeps in the
    lane's row. A lane whose endpoint was gone is let through again when the integration names another address.
    """

    def __init__(self, pending: PendingLane, endpoint: Endpoint | None) -> None:
        self._pending = pending
        self._endpoint = endpoint
        self._breaker: Breaker | None = None
        self._cap = InFlightCap(0)
        self._pause = LanePause()
        self._last_delivered_at: float | None = None
        self.answers = False
        """Whether the endpoint answered the last try that ended, whatever it said."""
        if endpoint is not None:
            integration = endpoint.integration
            self._breaker = Breaker(pending.name, integration.breaker, pending.breaker)
            self._cap = InFlightCap(integration.in_flight_cap if integration.enabled else 0)
            if pending.halted_for != _fingerprint(integration.url):
                pending.halted_for = ""

    def replace(self, endpoint: Endpoint | None) -> None:
        """The integration was changed, or removed. What is known of an endpoint at the same address stays."""
        before, self._endpoint = self._endpoint, endpoint
        if endpoint is None:
            self._breaker, self._cap = None, InFlightCap(0)
            return
        integration = endpoint.integration
        maximum = integration.in_flight_cap if integration.enabled else 0
        is_other = before is None or is_other_address(before.integration, integration)
        if self._breaker is None:
            self._breaker = Breaker(self._pending.name, integration.breaker, self._pending.breaker)
        self._breaker.use(integration.breaker)
        if is_other:
            self._breaker.try_anew()
            self._cap, self._pause = InFlightCap(maximum), LanePause()
        else:
            self._cap.limit(maximum)
        if self._pending.halted_for and self._pending.halted_for != _fingerprint(integration.url):
            self._pending.halted_for = ""
        self._keep()

    @property
    def cap(self) -> int:
        """How many tries may be under way at once; 0 where the integration is disabled, gone or removed."""
        return 0 if self.is_halted else self._cap.cap

    @property
    def is_breaker_open(self) -> bool:
        """Whether the breaker holds the lane back."""
        return self._breaker is not None and self._breaker.is_open

    def pause_s(self, now_s: float) -> float:
        """How long the endpoint is to be left alone since it asked for that; 0 where it has not."""
        return max(0.0, (self._pause.paused_until_s or now_s) - now_s)

    def pace_per_s(self, now_s: float) -> float | None:
        """How many tries a second may begin since the endpoint took no more; ``None`` where that is not bounded."""
        return self._pause.pace_per_s(now_s)

    def wait_s(self, body: Batch, *, now: float, now_s: float) -> float:
        """How long a try of ``body`` must wait; 0 where it may begin now, and then it has taken its share of the rate.

        Infinite while the one try that a pause lets go is under way: to be asked again when that ends.
        """
        assert self._breaker is not None, "a lane without an endpoint offers nothing"
        assert self._endpoint is not None, "a lane without an endpoint offers nothing"
        if not self._breaker.may_try(now):
            return max(0.001, (self._breaker.next_probe_at or now) - now)
        wait_s = self._pause.ready_at(now_s) - now_s
        if wait_s > 0:
            return wait_s
        rate = self._endpoint.rate
        return 0.0 if rate is None else rate.try_take(body.event_count, now_s)

    def on_started(self, *, now: float, now_s: float) -> Change | None:
        """A try begins."""
        assert self._breaker is not None, "a lane without an endpoint offers nothing"
        self._pause.on_started(now_s)
        change = self._breaker.on_probe_started(now)
        self._keep()
        return change

    def on_abandoned(self, flight: "Flight") -> None:
        """A try was called off."""
        if self._breaker is not None:
            self._breaker.on_try_abandoned(started_at=flight.started_at)
            self._keep()

    def on_ended(
        self, outcome: Outcome, flight: "Flight", *, now: float, now_s: float, is_exhausted: bool
    ) -> Change | None:
        """A try ended; ``is_exhausted`` says that its batch gives up."""
        assert self._breaker is not None, "it was tried"
        flight.pending.tried_at = now
        self.answers = not outcome.is_unanswered
        self._pause.on_ended(outcome, started_s=flight.started_s, now_s=now_s)
        self._cap.on_ended(
            delivered=outcome.verdict is Verdict.DELIVERED,
            throttled=outcome.hint is Hint.THROTTLED,
            duration_s=now_s - flight.started_s,
            in_flight=flight.lane.in_flight + 1,
            now_s=now_s,
        )
        works = endpoint_works(outcome)
        if works:
            self._last_delivered_at = now
        if asks_for_less(outcome):
            self._breaker.on_try_abandoned(started_at=flight.started_at)  # it answers: the pause is what it needs
            change = None
        else:
            change = self._breaker.on_try_ended(
                works, now, started_at=flight.started_at, is_exhausted=is_exhausted, detail=outcome.detail
            )
        self._keep()
        return change

    def counts_as_attempt(self, outcome: Outcome, pending: PendingBatch, *, now: float) -> bool:
        """Whether the try that ended uses up one of its batch's tries."""
        return counts_as_attempt(
            outcome, last_delivered_at=self._last_delivered_at, tried_before_at=pending.tried_at, now=now
        )

    @property
    def is_halted(self) -> bool:
        """Whether the endpoint said that it is gone."""
        return bool(self._pending.halted_for)

    @property
    def address(self) -> str:
        """What stands for the endpoint's address in the rows of lanes that are halted for it."""
        assert self._endpoint is not None, "it was tried"
        return _fingerprint(self._endpoint.integration.url)

    def resume(self) -> Change | None:
        """Somebody says that the endpoint is to be tried again."""
        self._pending.halted_for = ""
        self._pause = LanePause()
        change = self._breaker.close() if self._breaker is not None else None
        self._keep()
        return change

    def _keep(self) -> None:
        breaker = self._breaker
        self._pending.breaker = breaker.row if breaker is not None and breaker.is_open else None


def _fingerprint(url: str) -> str:
    # Not the address itself: its path may hold a customer's secret.
    return hashlib.sha256(url.encode()).hexdigest()[:_FINGERPRINT_CHARS]
