"""The rate of an integration over all workers together, counted in Redis.

Workers lease tokens in small lots, in the background: a try asks no network, it takes from the lot or learns when to ask
again. What is left of a lot is given up after a second, so that what one worker does not use is lost to the others for no
longer. Redis counts with its own clock. While it is away, each worker keeps to its share of the rate on its own.
"""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Final

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.delivery.rate import TokenBucket, cost_of
from pipeline.model.integration import RateSettings

log = structlog.get_logger(__name__)

_LOT_S: Final = 0.1
"""A lot is what the whole rate gives in this time."""
_LOT_LASTS_S: Final = 1.0
_ANSWER_S: Final = 1.0
_SOON_S: Final = 0.02
_LATER_S: Final = 0.25
_SHORTEST_REFUSAL_S: Final = 0.005
_LONGEST_REFUSAL_S: Final = 5.0
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0
_WINDOW_ERROR: Final = 0.01
_WINDOWS_TRIED: Final = 10
_PROBE: Final = RateLimitItemPerSecond(1, 1, "probe")
"""Counted like a rate, so that what answers a probe can answer a lease."""


class SharedRates:
    """A worker's connection to Redis for all its shared rates.

    ``prefix`` begins the keys, so that two deployments may use one Redis. ``share`` says which part of the work is this
    worker's (above 0, at most 1): what it keeps to while Redis is away. Opened on the event loop that the rates are asked
    on; before that, and once closed, its rates go on alone.
    """

    def __init__(self, redis_url: str, clock: Clock, *, prefix: str, share: Callable[[], float]) -> None:
        self._url = redis_url
        self._prefix = prefix
        self.clock = clock
        self.share = share
        self._storage: RedisStorage | None = None
        self._limiter: SlidingWindowCounterRateLimiter | None = None
        self._rates: list[SharedRate] = []
        self._is_away = False
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Whether Redis did not answer when it was asked last."""
        return self._is_away

    @property
    def may_ask(self) -> bool:
        """Whether Redis is asked for tokens. Once it did not answer it is only probed, until it does."""
        return self._limiter is not None and not self._is_away

    async def open(self) -> None:
        """Prepare; waits for no connection."""
        self._storage = RedisStorage(
            f"async+{self._url}",
            implementation="redispy",
            key_prefix=f"{self._prefix}-rate",
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def close(self) -> None:
        """Stop asking, and let go of the connections."""
        self._limiter = None
        if self._probing is not None:
            await cancelled([self._probing])
        for rate in self._rates:
            await rate.stop()
        if self._storage is not None:
            await self._storage.bridge.get_connection().aclose()  # type: ignore[attr-defined]
            self._storage = None

    def rate(self, integration: str, settings: RateSettings) -> "SharedRate":
        """The rate of one integration, which every worker must give the same ``settings``."""
        rate = SharedRate(self, integration, settings)
        self._rates.append(rate)
        return rate

    async def forget(self, rate: "SharedRate") -> None:
        """A rate that nobody asks any more."""
        if rate in self._rates:
            self._rates.remove(rate)
        await rate.stop()

    async def acquire(self, item: RateLimitItemPerSecond, integration: str, tokens: int) -> bool | None:
        """Whether Redis granted ``tokens``; ``None`` where it does not answer."""
        if self._limiter is None:
            return None
        try:
            async with asyncio.timeout(_ANSWER_S):
                granted = await self._limiter.hit(item, integration, cost=tokens)
        except (RedisError, OSError, TimeoutError) as error:
            self._tell_silence(error)
            self.hold_off()
            return None
        if self._is_away:
            self._is_away = False
            log.info("redis answers again, rates are shared again")
        return granted

    def hold_off(self) -> None:
        """Let rates go on alone until Redis answers a probe; to be called on the event loop."""
        self._is_away = True
        if self._limiter is not None and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        """Ask until Redis answers, also where nothing is to be sent: after a while, twice as long each time."""
        pause_s = _FIRST_RETRY_S
        while self._is_away:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_RETRY_S)
            try:
                await self.acquire(_PROBE, "answer", 1)
            except Exception:
                # Whatever it is: without a probe the rates would go on alone for good.
                log.exception("redis cannot be probed, it is tried again")

    def _tell_silence(self, error: Exception) -> None:
        if not self._is_away:
            log.warning(
                "redis does not answer, each worker keeps to its share of shared rates",
                share=round(self.share(), 3),
                error=str(error) or type(error).__name__,
            )


class SharedRate:
    """A ``Rate`` that all workers keep together. Made by ``SharedRates.rate``."""

    def __init__(self, rates: SharedRates, integration: str, settings: RateSettings) -> None:
        self._rates = rates
        self._integration = integration
        self._settings = settings
        self._item = item = window_of(settings)
        self._lot = max(1, min(item.amount, round(settings.per_second * _LOT_S)))
        self._ask = self._lot
        self._tokens = 0
        self._used_at_s = -math.inf
        self._wanted = 0
        self._ask_at_s = -math.inf
        self._alone: TokenBucket | None = None
        self._leasing: asyncio.Task[None] | None = None
        self._leasing_since_s = -math.inf

    def try_take(self, events: int, now_s: float) -> float:
        """See ``Rate``. Starts to lease tokens where they run short; to be called on the event loop."""
        cost = cost_of(events, counts_events=self._settings.unit == "events")
        if not self._rates.may_ask:
            self._used_at_s = now_s
            return self._bucket_alone(now_s).try_take(cost, now_s)
        self._alone = None
        if now_s - self._used_at_s > _LOT_LASTS_S:
            self._tokens = min(0, self._tokens)
        self._used_at_s = now_s
        # One that costs more than a whole window goes when that is here, and the ones after it make up for it.
        needed = min(cost, self._item.amount)
        if self._tokens >= needed:
            self._tokens -= cost
            self._wanted = 0
            if self._tokens < self._lot // 2:
                self._lease_soon()
            return 0.0
        self._wanted = max(self._wanted, needed)
        self._lease_soon()
        # A lease that takes its time is asked after less often, so that many lanes that wait for it cost little.
        asked_for_s = now_s - max(self._leasing_since_s, self._ask_at_s)
        return max(_SOON_S, self._ask_at_s - now_s, min(asked_for_s, _LATER_S))

    async def stop(self) -> None:
        """Stop leasing."""
        if self._leasing is not None:
            await cancelled([self._leasing])

    def _bucket_alone(self, now_s: float) -> TokenBucket:
        share = min(1.0, max(self._rates.share(), 1e-6))
        per_second, burst = self._settings.per_second * share, max(1.0, self._item.amount * share)
        if self._alone is None:
            self._tokens = 0
            self._alone = TokenBucket(per_second, burst)
            self._alone.try_take(burst, now_s)  # nobody knows what was taken just before
        self._alone.per_second, self._alone.burst = per_second, burst
        return self._alone

    def _lease_soon(self) -> None:
        if self._leasing is None and self._rates.may_ask:
            self._leasing_since_s = self._rates.clock.monotonic_s()
            self._leasing = asyncio.get_running_loop().create_task(self._lease())
            self._leasing.add_done_callback(self._on_leased)

    def _on_leased(self, task: "asyncio.Task[None]") -> None:
        self._leasing = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error(
                "tokens of a shared rate cannot be leased, the worker keeps to its share of it for a while",
                integration=self._integration,
                error=repr(error),
                exc_info=error,
            )
            self._rates.hold_off()

    async def _lease(self) -> None:
        """Ask until there is what is wanted, or a lot where nothing is."""
        clock = self._rates.clock
        while self._rates.may_ask:
            target = max(self._wanted, self._lot)
            if self._tokens >= target or clock.monotonic_s() - self._used_at_s > _LOT_LASTS_S:
                return
            await asyncio.sleep(max(0.0, self._ask_at_s - clock.monotonic_s()))
            asked = max(1, min(self._ask, target - self._tokens, self._item.amount))
            granted = await self._rates.acquire(self._item, self._integration, asked)
            if granted is None:
                return
            if granted:
                self._tokens += asked
                self._ask = min(self._item.amount, max(self._lot, self._wanted), 2 * self._ask)
            else:
                # Whoever asks for less gets it sooner; at random, so that workers do not ask in step.
                self._ask = max(1, asked // 2)
                pause_s = random.uniform(0.5, 1.0) * asked / self._settings.per_second  # noqa: S311 no secret
                self._ask_at_s = clock.monotonic_s() + min(max(pause_s, _SHORTEST_REFUSAL_S), _LONGEST_REFUSAL_S)


def window_of(settings: RateSettings) -> RateLimitItemPerSecond:
    """What Redis counts: so many tokens in so many whole seconds, which allow the burst and keep to the rate within 1 %.

    Never more than the rate. Where the rate is no whole number, a longer window, and burst, may be what comes close.
    """
    shortest_s = max(1, math.ceil(settings.burst_or_default / settings.per_second - 1e-9))
    best_s, best_error = shortest_s, math.inf
    for times in range(_WINDOWS_TRIED * 10):
        window_s = shortest_s + times
        exact = settings.per_second * window_s
        error = 1.0 - math.floor(exact + 1e-9) / exact
        if error < best_error - 1e-12:
            best_s, best_error = window_s, error
        if best_error <= _WINDOW_ERROR:
            break
    return RateLimitItemPerSecond(max(1, math.floor(settings.per_second * best_s + 1e-9)), best_s)
