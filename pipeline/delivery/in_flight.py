"""How many tries of a lane may be under way at once, adapted to what its endpoint bears.

A pure rule; times are seconds of any one clock that does not go back. Two things lower the cap. An answer that asks for
less lowers it by a fifth, once a round trip at most. And an endpoint that takes clearly longer than it used to has a
queue, which more requests only make longer: as in limiters of the gradient kind, the cap follows the ratio of the usual
duration to the present one. Each round trip that used the whole cap raises it by one.
"""

from typing import Final

_FIRST_CAP: Final = 4
_THROTTLED_FACTOR: Final = 0.8
_LEAST_FACTOR: Final = 0.5

_FEWEST_SAMPLES: Final = 50
_ROUNDS: Final = 4
"""Durations are compared as means of this many, and of so many times the cap: quick tries of a round end first."""
_GROWTH_A_MEAN: Final = 1.1
"""Above the first cap a mean is awaited before the cap grows by more than this, or by one."""
_SLOW_RATIO: Final = 1.2
_TOO_SLOW_RATIO: Final = 1.5
_QUEUE_ALLOWED: Final = 1.1
_HELPED_RATIO: Final = 0.9
"""Fewer requests at once must bring the duration down to this part, or it was not they that made it long."""
_LEAST_RISE_S: Final = 0.05
"""A rise by less than this is no queue, whatever the ratio."""
_STALE_AFTER: Final = 20
"""So many means later the usual duration is measured anew, with half as many requests where it seems to have risen."""
_RISEN_RATIO: Final = 1.05
_LOOK_FACTOR: Final = 0.5


class InFlightCap:
    """The cap of one lane: between 1 and ``maximum``, to begin with 4. A ``maximum`` of 0 or 1 stays what it is."""

    __slots__ = (
        "_age",
        "_cap",
        "_count",
        "_grow_to",
        "_is_looking",
        "_is_slow",
        "_lowered_from",
        "_lowered_s",
        "_maximum",
        "_since_s",
        "_sum_s",
        "_usual_s",
    )

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._cap = float(min(_FIRST_CAP, maximum))
        self._lowered_s = float("-inf")
        self._lowered_from: tuple[float, float] | None = None
        self._usual_s = 0.0
        self._age = 0
        self._is_slow = False
        self._is_looking = False
        # of the mean in the making
        self._since_s = float("-inf")
        self._count = 0
        self._sum_s = 0.0
        self._grow_to = self._cap

    @property
    def cap(self) -> int:
        """How many tries may be under way now."""
        if self._maximum <= 1:
            return self._maximum
        return max(1, int(self._cap * _LOOK_FACTOR if self._is_looking else self._cap))

    @property
    def maximum(self) -> int:
        """The highest that the cap may be."""
        return self._maximum

    @property
    def usual_s(self) -> float | None:
        """How long a try takes where nothing queues, in seconds; ``None`` before that was measured."""
        return self._usual_s or None

    def limit(self, maximum: int) -> None:
        """Set the highest that the cap may be; what was learned of the endpoint stays."""
        self._cap = float(min(_FIRST_CAP, maximum)) if self._maximum <= 1 else min(self._cap, float(maximum))
        self._grow_to = max(self._grow_to, self._cap)
        self._maximum = maximum

    def on_ended(self, *, delivered: bool, throttled: bool, duration_s: float, in_flight: int, now_s: float) -> None:
        """A try ended ``now_s`` after ``duration_s``; ``in_flight`` were under way until then, itself included."""
        if self._maximum <= 1:
            return
        started_s = now_s - duration_s
        if throttled:
            if started_s >= self._lowered_s:
                self._lower(_THROTTLED_FACTOR, now_s)
            return
        # A failure may be quick for its own reasons; a slow one tells of the endpoint.
        if delivered or (self._usual_s and duration_s > self._usual_s):
            self._sample(duration_s, started_s, now_s)
        # Requests that land together leave fewer and fewer behind, so half of the cap is full use too.
        if delivered and 2 * in_flight >= self.cap and not self._is_slow and started_s >= self._lowered_s:
            self._cap = max(self._cap, min(float(self._maximum), self._grow_to, self._cap + 1.0 / self._cap))

    def _lower(self, factor: float, now_s: float) -> None:
        self._cap = max(1.0, self._cap * max(factor, _LEAST_FACTOR))
        self._lowered_s = now_s
        self._restart_mean(now_s)

    def _sample(self, duration_s: float, started_s: float, now_s: float) -> None:
        if started_s < self._since_s:
            return  # began under another cap
        self._count += 1
        self._sum_s += duration_s
        if self._count >= max(_FEWEST_SAMPLES, _ROUNDS * self.cap):
            self._judge(self._sum_s / self._count, now_s)

    def _judge(self, mean_s: float, now_s: float) -> None:
        was_looking, self._is_looking = self._is_looking, False
        lowered_from, self._lowered_from = self._lowered_from, None
        self._restart_mean(now_s if was_looking else self._since_s)
        self._age += 1
        if lowered_from is not None and mean_s > _HELPED_RATIO * lowered_from[1]:
            self._cap = max(self._cap, lowered_from[0])
            self._take_for_usual(mean_s)
        elif was_looking or not self._usual_s or mean_s <= self._usual_s:
            self._take_for_usual(mean_s)
        else:
            self._compare(mean_s, now_s)

    def _compare(self, mean_s: float, now_s: float) -> None:
        ratio = mean_s / self._usual_s if mean_s - self._usual_s >= _LEAST_RISE_S else 1.0
        self._is_slow = ratio > _SLOW_RATIO
        if ratio > _TOO_SLOW_RATIO:
            self._lowered_from = self._cap, mean_s
            self._lower(_QUEUE_ALLOWED / ratio, now_s)
        elif self._age >= _STALE_AFTER and mean_s > _RISEN_RATIO * self._usual_s:
            self._is_looking = True
            self._restart_mean(now_s)
        elif self._age >= _STALE_AFTER:
            self._take_for_usual(mean_s)

    def _take_for_usual(self, mean_s: float) -> None:
        self._usual_s, self._age, self._is_slow = mean_s, 0, False

    def _restart_mean(self, since_s: float) -> None:
        self._since_s, self._count, self._sum_s = since_s, 0, 0.0
        self._grow_to = max(_FIRST_CAP, self._cap + 1.0, self._cap * _GROWTH_A_MEAN)
