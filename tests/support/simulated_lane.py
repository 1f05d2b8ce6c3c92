"""A lane against an endpoint in simulated time: the rules at work together, without a core, a network or a clock.

The lane has more to send than the endpoint takes. Each batch follows the contract's schedule, first tries before retries.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pipeline.delivery.in_flight import InFlightCap
from pipeline.delivery.rows import Fate
from pipeline.delivery.schedule import decide
from pipeline.delivery.throttling import LanePause, counts_as_attempt
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.integration import Retry

OK = Outcome(Verdict.DELIVERED, "200 OK", status=200)
RETRY = Retry()


class Reply(NamedTuple):
    """What the endpoint answers, and how long it takes."""

    outcome: Outcome
    duration_s: float


Answer = Callable[[float], Reply]
"""Given the time of a request."""


def throttled(retry_after_s: float | None, status: int = 429) -> Outcome:
    return Outcome(Verdict.RETRY, "too many", status=status, retry_after_s=retry_after_s, hint=Hint.THROTTLED)


class TokenBucketEndpoint:
    """Allows ``per_second``, in bursts of ``burst``. Says how long to wait in whole seconds, as most do, or not at all."""

    def __init__(self, per_second: float, burst: float, *, says_when: bool = True, duration_s: float = 0.01) -> None:
        self.per_second, self.burst = per_second, burst
        self._says_when, self._duration_s = says_when, duration_s
        self._tokens, self._at_s = float(burst), 0.0

    def __call__(self, now_s: float) -> Reply:
        self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_second)
        self._at_s = now_s
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return Reply(OK, self._duration_s)
        when_s = max(1, math.ceil((1 - self._tokens) / self.per_second)) if self._says_when else None
        return Reply(throttled(when_s), self._duration_s)


class QuotaEndpoint:
    """Allows ``quota`` requests in each window of ``window_s``."""

    def __init__(self, quota: int, window_s: float, *, says_when: bool = True) -> None:
        self.per_second = quota / window_s
        self._quota, self._window_s, self._says_when = quota, window_s, says_when
        self._window, self._used = -1, 0

    def __call__(self, now_s: float) -> Reply:
        window = int(now_s // self._window_s)
        if window != self._window:
            self._window, self._used = window, 0
        if self._used < self._quota:
            self._used += 1
            return Reply(OK, 0.01)
        return Reply(throttled(math.ceil((window + 1) * self._window_s - now_s) if self._says_when else None), 0.01)


class QueueingEndpoint:
    """Works on ``capacity`` requests at once, each for about ``service_s``; the others wait in a queue."""

    def __init__(self, capacity: int, service_s: float, *, noise: float, seed: int) -> None:
        self.capacity, self.service_s = capacity, service_s
        self._noise, self._random = noise, random.Random(seed)
        self._free_at_s = [0.0] * capacity

    def __call__(self, now_s: float) -> Reply:
        free_at_s = heapq.heappop(self._free_at_s)
        # Mean 1, whatever the noise.
        took_s = self.service_s * self._random.lognormvariate(-(self._noise**2) / 2, self._noise)
        done_s = max(now_s, free_at_s) + took_s
        heapq.heappush(self._free_at_s, done_s)
        return Reply(OK, done_s - now_s)


class _Batch:
    def __init__(self) -> None:
        self.attempts = 0
        self.tried_before_s: float | None = None


class SimulatedLane:
    """Runs until ``until_s`` at a time; lists what happened, as times in seconds."""

    def __init__(self, answer: Answer, *, max_in_flight: int = 4) -> None:
        self.answer = answer
        self.pause = LanePause()
        self.cap = InFlightCap(max_in_flight)
        self.started_s: list[float] = []
        self.delivered_s: list[float] = []
        self.throttled_s: list[float] = []
        self.parked_s: list[float] = []
        self.caps: list[int] = []
        self._now_s = 0.0
        self._number = 0
        self._under_way: list[tuple[float, int, float, Outcome, _Batch]] = []
        self._due: list[tuple[float, int, _Batch]] = []
        self._retries: deque[_Batch] = deque()

    def run(self, until_s: float) -> None:
        while self._now_s < until_s:
            self._land()
            self._start()
            self._now_s = max(self._now_s, min(self._next_s(), until_s))

    def per_second(self, from_s: float, to_s: float) -> float:
        return sum(from_s <= at_s < to_s for at_s in self.delivered_s) / (to_s - from_s)

    def _next_s(self) -> float:
        times = [self._under_way[0][0]] if self._under_way else []
        if len(self._under_way) < self.cap.cap:
            times.append(self.pause.ready_at(self._now_s))
        return max(min(times), self._now_s + 1e-6)

    def _start(self) -> None:
        while self._due and self._due[0][0] <= self._now_s:
            self._retries.append(heapq.heappop(self._due)[2])
        while len(self._under_way) < self.cap.cap and self.pause.ready_at(self._now_s) <= self._now_s:
            self.pause.on_started(self._now_s)
            self.started_s.append(self._now_s)
            self._number += 1
            # First tries before retries, but never without a retry in the end: every other one.
            batch = self._retries.popleft() if self._retries and self._number % 2 else _Batch()
            outcome, duration_s = self.answer(self._now_s)
            heapq.heappush(self._under_way, (self._now_s + duration_s, self._number, self._now_s, outcome, batch))

    def _land(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._now_s:
            in_flight = len(self._under_way)
            at_s, number, started_s, outcome, batch = heapq.heappop(self._under_way)
            is_throttled = outcome.hint is Hint.THROTTLED
            self.pause.on_ended(outcome, started_s=started_s, now_s=at_s)
            self.cap.on_ended(
                delivered=outcome.verdict is Verdict.DELIVERED,
                throttled=is_throttled,
                duration_s=at_s - started_s,
                in_flight=in_flight,
                now_s=at_s,
            )
            self.caps.append(self.cap.cap)
            if outcome.verdict is Verdict.DELIVERED:
                self.delivered_s.append(at_s)
                continue
            if is_throttled:
                self.throttled_s.append(at_s)
            last_s = self.delivered_s[-1] if self.delivered_s else None
            batch.attempts += counts_as_attempt(
                outcome, last_delivered_at=last_s, tried_before_at=batch.tried_before_s, now=at_s
            )
            batch.tried_before_s = at_s
            decision = decide(outcome, attempts=batch.attempts, retry=RETRY, deadline=math.inf, now=at_s)
            if decision.fate is Fate.PARKED:
                self.parked_s.append(at_s)
            else:
                heapq.heappush(self._due, (decision.next_at, number, batch))
