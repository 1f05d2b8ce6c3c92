"""Letting only so many requests a second pass."""


class Throttle:
    """Lets a number of requests a second pass, after a burst of as many."""

    def __init__(self) -> None:
        self._next_s: dict[float, float] = {}

    def pause_s(self, per_s: float, now_s: float) -> float:
        """0 where a request may pass now, otherwise the seconds until one may."""
        earliest_s = max(self._next_s.get(per_s, 0.0), now_s - 1.0)
        if earliest_s > now_s:
            return earliest_s - now_s
        self._next_s[per_s] = earliest_s + 1.0 / per_s
        return 0.0
