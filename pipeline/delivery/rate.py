"""The rate of an integration: how many requests, or events, it may send a second. Local to a worker."""

from typing import Protocol

from pipeline.model.integration import RateSettings


class Rate(Protocol):
    """What all lanes of an integration on one worker ask before each try."""

    def try_take(self, events: int, now_s: float) -> float:
        """Take what a try with ``events`` events costs; ``now_s`` is monotonic seconds.

        Gives 0 where it was taken and the try may begin, else in how many seconds to ask again, and then nothing was
        taken. Never waits for anything.
        """
        ...


class TokenBucket:
    """``per_second`` tokens come in each second, up to ``burst``; a try takes its share of them.

    One that costs more than ``burst`` goes once the bucket is full, and the ones after it wait until that is made up for:
    the rate holds whatever the sizes. Raises ``ValueError`` where one of the two is not above 0.
    """

    __slots__ = ("_at_s", "_tokens", "burst", "per_second")

    def __init__(self, per_second: float, burst: float) -> None:
        if per_second <= 0 or burst <= 0:
            raise ValueError(f"a rate of {per_second} a second in bursts of {burst} lets nothing through")
        self.per_second = per_second
        self.burst = burst
        self._tokens = burst
        self._at_s: float | None = None

    def try_take(self, tokens: float, now_s: float) -> float:
        """Take ``tokens`` and give 0, or give in how many seconds there will be enough, and take nothing."""
        held = self.held(now_s)
        needed = min(tokens, self.burst)
        # A clock's rounding must not make anybody ask a second time.
        if held >= needed - 1e-9:
            self._tokens = held - tokens
            return 0.0
        return (needed - held) / self.per_second

    def held(self, now_s: float) -> float:
        """How many tokens are here; below 0 while a costly try is being made up for."""
        if self._at_s is not None and now_s > self._at_s:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_second)
        self._at_s = now_s if self._at_s is None else max(self._at_s, now_s)
        return self._tokens


class LocalRate:
    """A ``Rate`` that this worker keeps on its own."""

    def __init__(self, settings: RateSettings) -> None:
        self._counts_events = settings.unit == "events"
        self._bucket = TokenBucket(settings.per_second, settings.burst_or_default)

    def try_take(self, events: int, now_s: float) -> float:
        """See ``Rate``."""
        return self._bucket.try_take(cost_of(events, counts_events=self._counts_events), now_s)


def cost_of(events: int, *, counts_events: bool) -> int:
    """What a try costs."""
    return max(1, events) if counts_events else 1
