"""What of deliveries people are told."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.clock import Clock
from pipeline.delivery.breaker import BreakerState, Change, endpoint_works
from pipeline.delivery.pending import PARKED_KEPT_S
from pipeline.delivery.rows import Fate
from pipeline.delivery.views import LaneView
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Purpose, integration_of, purpose_of
from pipeline.model.units import format_duration
from pipeline.notices.notice import Cause
from pipeline.notices.notices import Notices

REFUSED_IN_A_ROW: Final = 5
LONG_WAIT: Final = 2 / 3
"""A batch that has waited for this part of ``max_wait`` will soon be parked for it."""

EXPIRY_WARNING_S: Final = 86_400.0
"""How long before its end the time is told in which a parked batch can be replayed."""


LOOK_EVERY_S: Final = 60.0
SHORTEST_LOOK_S: Final = 1.0


def look_every_s(max_wait_s: Iterable[float]) -> float:
    """How often to look for batches that have waited for long: twice at least before the shortest ``max_wait`` is over.

    But not more than once a second: of a ``max_wait`` of a few seconds nothing may be told before it is over.
    """
    return max(SHORTEST_LOOK_S, min(LOOK_EVERY_S, (1 - LONG_WAIT) / 2 * min(max_wait_s, default=LOOK_EVERY_S * 6)))


class DeliveryNotices:
    """A ``DeliveryObserver`` that tells people; one for all delivery cores of a worker.

    Of test events nothing is told: whoever sends them looks at what comes of them.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._refused: Counter[str] = Counter()
        self._hoped_for: set[str] = set()
        """Lanes whose breaker was closed by hand, and which have not been seen at work since."""

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:  # noqa: ARG002 the protocol's signature
        """A try ended: five in a row that refuse the credentials are told, and a lane at work that was only hoped to be."""
        if lane in self._hoped_for and endpoint_works(outcome):
            self._hoped_for.discard(lane)
            self._tell(lane, Cause.BREAKER_CLOSED, f"lane {lane}: it was resumed by hand")
        integration = integration_of(lane)
        if outcome.hint is not Hint.UNAUTHORIZED:
            self._refused.pop(integration, None)
            if outcome.verdict is Verdict.DELIVERED or outcome.arrived:
                self._notices.clear(Cause.CREDENTIALS_REFUSED, integration)
            return
        self._refused[integration] += 1
        count = self._refused[integration]
        if count >= REFUSED_IN_A_ROW:
            # All lanes share the credentials, so there is one subject.
            detail = f"{count} tries in a row were refused: {outcome.detail}"
            self._tell(lane, Cause.CREDENTIALS_REFUSED, detail, subject="")

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float, reason: str) -> None:
        """A batch is done: parked ones are told, and why."""
        if fate is Fate.PARKED:
            self._tell(
                lane,
                Cause.BATCHES_PARKED,
                f"a batch of lane {lane} with {_counted(events, 'event')} was parked after {format_duration(round(waited_s))}"
                f"{reason and f', {reason}'}; `distributary replay` sends it again",
            )

    def halted(self, lane: str, detail: str) -> None:
        """An endpoint is gone."""
        self._tell(
            lane,
            Cause.ENDPOINT_GONE,
            f"lane {lane}: {detail}; what waits is kept. `distributary resume`, or another url, has it tried again",
        )

    def breaker_changed(self, lane: str, change: Change) -> None:
        """A breaker opened or closed; probes that fail are part of being open, and so is what is closed by hand and fails again."""
        self._hoped_for.discard(lane)
        if change.state is BreakerState.OPEN and change.was is BreakerState.CLOSED:
            self._tell(lane, Cause.BREAKER_OPENED, f"lane {lane}: {change.reason}")
        elif change.is_hoped_for:
            self._hoped_for.add(lane)
        elif change.state is BreakerState.CLOSED:
            self._tell(lane, Cause.BREAKER_CLOSED, f"lane {lane}: {change.reason}")

    def started(self, lane: str, attempt: int, waited_s: float) -> None:  # noqa: ARG002 the protocol's signature
        """A try begins: what is tried again is not given up as gone."""
        self._notices.clear(Cause.ENDPOINT_GONE, integration_of(lane), subject=lane)

    def arrived(self, lane: str, events: int) -> None:
        """Do nothing."""

    def repeated(self, lane: str, events: int) -> None:
        """Do nothing."""

    def recorded(self, delay_s: float) -> None:
        """Do nothing."""

    def spilled(self, lane: str, size_bytes: int) -> None:
        """Do nothing."""

    def _tell(self, lane: str, cause: Cause, detail: str, *, subject: str | None = None) -> None:
        if purpose_of(lane) is not Purpose.TEST:
            self._notices.tell(cause, integration_of(lane), detail, subject=lane if subject is None else subject)


class WaitWatch:
    """Tells of batches that have waited for long: those that will soon be parked for it, and parked ones that will soon be gone.

    ``max_wait_s`` is each integration's. Batches of integrations that it does not name are parked at once anyway.
    """

    def __init__(self, notices: Notices, clock: Clock, max_wait_s: Mapping[str, float]) -> None:
        self._notices = notices
        self._clock = clock
        self._max_wait_s = max_wait_s
        self._found: set[tuple[Cause, str]] = set()

    def check(self, lanes: Iterable[LaneView]) -> None:
        """Look at every lane; to be called as often as ``look_every_s`` says."""
        now = self._clock.wall_s()
        found: set[tuple[Cause, str]] = set()
        for view in lanes:
            if purpose_of(view.lane) is Purpose.TEST:
                continue
            for cause, detail in (
                (Cause.WAITING_LONG, self._waits_long(view, now)),
                (Cause.PARKED_EXPIRING, _expires(view, now)),
            ):
                if detail is not None:
                    found.add((cause, view.lane))
                    self._notices.tell(cause, integration_of(view.lane), detail, subject=view.lane)
        for cause, lane in self._found - found:
            self._notices.clear(cause, integration_of(lane), subject=lane)
        self._found = found

    def _waits_long(self, view: LaneView, now: float) -> str | None:
        most_s = self._max_wait_s.get(integration_of(view.lane))
        if most_s is None or view.oldest_sealed_at is None:
            return None
        waited_s = now - view.oldest_sealed_at
        if waited_s < LONG_WAIT * most_s:
            return None
        return (
            f"lane {view.lane}: {_counted(view.waiting_batches, 'batch', 'batches')} with "
            f"{_counted(view.waiting_events, 'event')} {'waits' if view.waiting_batches == 1 else 'wait'}, the oldest for "
            f"{format_duration(round(waited_s))}; after {format_duration(most_s)} it is parked"
        )


def _expires(view: LaneView, now: float) -> str | None:
    if view.oldest_parked_at is None:
        return None
    left_s = view.oldest_parked_at + PARKED_KEPT_S - now
    if not 0 < left_s <= EXPIRY_WARNING_S:
        return None
    return (
        f"lane {view.lane}: the oldest of {_counted(view.replayable_batches, 'parked batch', 'parked batches')} can be replayed "
        f"for {format_duration(max(1, round(left_s)))} more; `distributary replay` sends it again"
    )


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"
