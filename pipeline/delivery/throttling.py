"""What follows where an endpoint asks for less: the whole lane waits, goes on slowly, and no batch gives up over it.

Pure rules. Times are seconds of any one clock that does not go back.
"""

import math
from typing import Final

from pipeline.model.attempt import Hint, Outcome, Verdict

_SERVICE_UNAVAILABLE: Final = 503
TAKES_OTHERS_S: Final = 300.0
"""An endpoint that took a batch within this long takes others."""
LONGEST_ASKED_S: Final = 86_400.0
"""An endpoint may ask for a longer pause than this, and does not get it."""

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_OWN_PAUSE_S: Final = 30.0
_CATCH_UP_S: Final = 0.01

_STRETCH_S: Final = 60.0
_MOST_OF_TOO_FAST: Final = 0.95
_LEAST_OF_TOO_FAST: Final = 0.25
_TAKEN_OVER_S: Final = 5.0
_SLOWEST_PER_S: Final = 0.02
_SPARSE_S: Final = 1.0
_UNPACED_PER_S: Final = 1_000.0
_NO_TIME_S: Final = 1e-6  # a rate over less would have no meaning
_LONG_AGO_S: Final = -math.inf


def asks_for_less(outcome: Outcome) -> bool:
    """Whether the answer asks for fewer requests: 429, RESOURCE_EXHAUSTED, or 503 with a ``Retry-After``.

    A 503 without one is also what stands in front of an endpoint that is down, so it is a failure like any other 5xx.
    """
    if outcome.hint is not Hint.THROTTLED:
        return False
    return outcome.status != _SERVICE_UNAVAILABLE or outcome.retry_after_s is not None


def counts_as_attempt(
    outcome: Outcome, *, last_delivered_at: float | None, tried_before_at: float | None, now: float
) -> bool:
    """Whether a try that failed uses up one of its batch's tries.

    It does not where the endpoint asked for less and named a time: it says itself when to come again. Nor where it is
    throttled and takes others: it asked for less without a time and the lane had a delivery within the last five minutes,
    or it answered 503 without saying more and the lane had a delivery since this batch was tried before. Such a batch goes
    on waiting, until ``max_wait`` at the longest. ``last_delivered_at`` is the lane's last delivery, ``tried_before_at``
    when the batch's previous try ended; ``None`` where there was none or nobody knows.
    """
    if outcome.hint is not Hint.THROTTLED:
        return True
    asks = asks_for_less(outcome)
    if asks and outcome.retry_after_s is not None:
        return False
    if last_delivered_at is None:
        return True
    if asks and now - last_delivered_at <= TAKES_OTHERS_S:
        return False
    return tried_before_at is None or last_delivered_at <= tried_before_at


class LanePause:
    """When a lane may begin its next try, learned from what the endpoint says.

    An answer that asks for less holds back the whole lane: for as long as it asks, or, where it names no time, for 0.5 s,
    1 s, 2 s and so on up to 30 s. After the pause one try goes alone, the scout. Once that got through, the lane goes on at
    a pace between what the endpoint took lately and what was too fast. The pace rises quickly towards that, slowly around
    it and ever faster beyond, until the endpoint asks for less again or nothing bounds the lane any more.
    """

    __slots__ = (
        "_began_s",
        "_gap_s",
        "_next_start_s",
        "_own_pause_s",
        "_paused_until_s",
        "_plateau_after_s",
        "_scout_s",
        "_started_s",
        "_throttled_s",
        "_too_fast_per_s",
        "_took",
    )

    def __init__(self) -> None:
        self._began_s = _LONG_AGO_S
        self._paused_until_s = _LONG_AGO_S
        self._own_pause_s = 0.0
        self._scout_s: float | None = None
        self._started_s = _LONG_AGO_S
        self._gap_s = math.inf
        self._next_start_s = _LONG_AGO_S
        self._too_fast_per_s = 0.0
        self._throttled_s = 0.0
        self._plateau_after_s = 0.0
        self._took = _Rate()

    @property
    def paused_until_s(self) -> float | None:
        """When the last pause ends or ended; ``None`` where there was none."""
        return None if self._paused_until_s == _LONG_AGO_S else self._paused_until_s

    def pace_per_s(self, now_s: float) -> float | None:
        """How many tries a second may begin now; ``None`` where that is not bounded."""
        if not self._too_fast_per_s:
            return None
        off_plateau = (now_s - self._throttled_s - self._plateau_after_s) / _STRETCH_S
        pace = self._too_fast_per_s * (1.0 + off_plateau**3)
        return pace if pace < _UNPACED_PER_S else None

    def ready_at(self, now_s: float) -> float:
        """When the next try may begin; at ``now_s`` or before means now.

        Infinite while the scout is under way, however long that takes.
        """
        if self._scout_s is not None:
            return math.inf
        if self.pace_per_s(now_s) is None:
            return self._paused_until_s
        return max(self._paused_until_s, self._next_start_s)

    def on_started(self, now_s: float) -> None:
        """A try begins; ``ready_at`` let it."""
        if self._own_pause_s:
            self._scout_s = now_s
        pace = self.pace_per_s(now_s)
        if pace is not None:
            # A timer that came late is caught up with, so that it does not slow the lane down.
            caught_up_s = now_s - _CATCH_UP_S if self._scout_s is None else now_s
            self._next_start_s = max(self._next_start_s, caught_up_s) + 1.0 / pace
        self._gap_s, self._started_s = now_s - self._started_s, now_s

    def on_ended(self, outcome: Outcome, *, started_s: float, now_s: float) -> None:
        """A try that began at ``started_s`` ended, whatever came of it."""
        is_scout = started_s == self._scout_s
        if is_scout:
            self._scout_s = None
        if asks_for_less(outcome):
            self._hold(outcome.retry_after_s, started_s, now_s, was_scout=is_scout)
            return
        if outcome.verdict is Verdict.DELIVERED:
            self._took.add(now_s)
        if started_s >= self._began_s:
            self._own_pause_s = 0.0

    def _hold(self, asked_s: float | None, started_s: float, now_s: float, *, was_scout: bool) -> None:
        # What had begun before this pause tells nothing new; it may only ask for a longer one.
        if started_s >= self._began_s:
            if not was_scout:
                self._learn(now_s)
            self._began_s = now_s
            self._own_pause_s = min(max(_FIRST_PAUSE_S, 2 * self._own_pause_s), _LONGEST_OWN_PAUSE_S)
        pause_s = min(asked_s, LONGEST_ASKED_S) if asked_s else self._own_pause_s
        self._paused_until_s = max(self._paused_until_s, now_s + pause_s)

    def _learn(self, now_s: float) -> None:
        took = self._took.per_s(now_s)
        pace = self.pace_per_s(now_s)
        if pace is None:
            if not took or self._gap_s > _SPARSE_S:
                return  # nothing is known of what it takes, or it was not for this lane's pace
            pace = max(took, min(1.0 / max(self._gap_s, 1e-9), _UNPACED_PER_S))
        self._too_fast_per_s = max(pace, _SLOWEST_PER_S)
        start = min(max(took / pace, _LEAST_OF_TOO_FAST), _MOST_OF_TOO_FAST)
        self._plateau_after_s = _STRETCH_S * (1.0 - start) ** (1 / 3)
        self._throttled_s = now_s


class _Rate:
    """How often something happened lately, of which each second counts for less the longer it is ago."""

    __slots__ = ("_at_s", "_since_s", "_weight")

    def __init__(self) -> None:
        self._weight = 0.0
        self._at_s = 0.0
        self._since_s: float | None = None

    def add(self, now_s: float) -> None:
        """It happened."""
        if self._since_s is None:
            self._since_s = self._at_s = now_s
        self._weight = 1.0 + self._weight * math.exp((self._at_s - now_s) / _TAKEN_OVER_S)
        self._at_s = now_s

    def per_s(self, now_s: float) -> float:
        """How often a second; 0 where it never did or not over any time."""
        if self._since_s is None or now_s - self._since_s < _NO_TIME_S:
            return 0.0
        seen = 1.0 - math.exp((self._since_s - now_s) / _TAKEN_OVER_S)
        return self._weight * math.exp((self._at_s - now_s) / _TAKEN_OVER_S) / (_TAKEN_OVER_S * seen)
