"""What of deliveries people are told."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.clock import Clock
from pipeline.delivery.breaker import BreakerState, Change
from pipeline.delivery.rows import Fate
from pipeline.delivery.views import LaneView
from pipeline.model.attempt import Hint, Outcome
from pipeline.model.batch import Purpose, integration_of, purpose_of
from pipeline.model.units import format_duration
from pipeline.notices.notice import Cause
from pipeline.notices.notices import Notices

REFUSED_IN_A_ROW: Final = 5
LONG_WAIT: Final = 2 / 3
"""A batch that has waited for this part of ``max_wait`` will soon be parked for it."""


class DeliveryNotices:
    """A ``DeliveryObserver`` that tells people; one for all delivery cores of a worker.

    Of test events nothing is told: whoever sends them looks at what comes of them.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._refused: Counter[str] = Counter()

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:  # noqa: ARG002 the protocol's signature
        """A try ended: five in a row that refuse the credentials are told."""
        integration = integration_of(lane)
        if outcome.hint is not Hint.UNAUTHORIZED:
            self._refused.pop(integration, None)
            return
        self._refused[integration] += 1
        count = self._refused[integration]
        if count >= REFUSED_IN_A_ROW:
            self._tell(lane, Cause.CREDENTIALS_REFUSED, f"{count} tries in a row were refused: {outcome.detail}")

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float) -> None:
        """A batch is done: parked ones are told."""
        if fate is Fate.PARKED:
            self._tell(
                lane,
                Cause.BATCHES_PARKED,
                f"a batch of lane {lane} with {events} events was parked after {format_duration(round(waited_s))}; "
                "`distributary replay` sends it again",
            )

    def halted(self, lane: str, detail: str) -> None:
        """An endpoint is gone."""
        self._tell(
            lane,
            Cause.ENDPOINT_GONE,
            f"it answered {detail}; lane {lane} keeps what waits. `distributary resume`, or another url, has it tried again",
        )

    def breaker_changed(self, lane: str, change: Change) -> None:
        """A breaker opened or closed; probes that fail are part of being open."""
        if change.state is BreakerState.OPEN and change.was is BreakerState.CLOSED:
            self._tell(lane, Cause.BREAKER_OPENED, f"lane {lane}: {change.reason}")
        elif change.state is BreakerState.CLOSED:
            self._tell(lane, Cause.BREAKER_CLOSED, f"lane {lane}: {change.reason}")

    def started(self, lane: str, attempt: int, waited_s: float) -> None:
        """Do nothing."""

    def arrived(self, lane: str, events: int) -> None:
        """Do nothing."""

    def repeated(self, lane: str, events: int) -> None:
        """Do nothing."""

    def spilled(self, lane: str, size_bytes: int) -> None:
        """Do nothing."""

    def _tell(self, lane: str, cause: Cause, detail: str) -> None:
        if purpose_of(lane) is not Purpose.TEST:
            self._notices.tell(cause, integration_of(lane), detail, subject=lane)


class WaitWatch:
    """Tells of batches that will soon be parked because they have waited for too long.

    ``max_wait_s`` is each integration's. Batches of integrations that it does not name are parked at once anyway.
    """

    def __init__(self, notices: Notices, clock: Clock, max_wait_s: Mapping[str, float]) -> None:
        self._notices = notices
        self._clock = clock
        self._max_wait_s = max_wait_s

    def check(self, lanes: Iterable[LaneView]) -> None:
        """Look at every lane; to be called once a minute or so."""
        now = self._clock.wall_s()
        for view in lanes:
            integration = integration_of(view.lane)
            most_s = self._max_wait_s.get(integration)
            if most_s is None or view.oldest_sealed_at is None or purpose_of(view.lane) is Purpose.TEST:
                continue
            waited_s = now - view.oldest_sealed_at
            if waited_s >= LONG_WAIT * most_s:
                self._notices.tell(
                    Cause.WAITING_LONG,
                    integration,
                    f"lane {view.lane}: {view.waiting_batches} batches with {view.waiting_events} events wait, the oldest for "
                    f"{format_duration(round(waited_s))}; after {format_duration(most_s)} it is parked",
                    subject=view.lane,
                )
