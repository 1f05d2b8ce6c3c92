"""How much is taken at once: requests under way on a worker, and requests a second of a webhook over all workers."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from pipeline.clock import Clock
from pipeline.delivery.rate import TokenBucket
from pipeline.delivery.shared_rate import SharedRates, window_of
from pipeline.inbound.settings import InboundRate
from pipeline.model.integration import RateSettings

_LOT_S: Final = 0.1
"""A lot is what the whole rate gives in this time."""
_LOT_LASTS_S: Final = 1.0
"""After this long what is left of a lot is given up, as other workers may need it."""
_REFUSAL_S: Final = 0.05
"""How long Redis is not asked again after it had nothing left: a flood must not reach it."""
_LEASE_WITHIN_S: Final = 0.25
_MOST_RATES: Final = 10_000


class Slots:
    """Requests under way on this worker, at most ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @property
    def is_full(self) -> bool:
        """Whether another request must come again later."""
        return self.taken >= self.most


class WebhookRates:
    """The rate that each webhook has over all workers, counted in Redis and leased from there in small lots.

    While Redis is away each worker keeps to its share, as it does with the rates of deliveries. ``settings`` of ``None``
    means no limit. Opened and asked on the worker's event loop.
    """

    def __init__(
        self, app: str, redis_url: str, clock: Clock, share: Callable[[], float], settings: InboundRate | None
    ) -> None:
        self._shared = SharedRates(redis_url, clock, prefix=f"{app}-inbound", share=share)
        self._clock = clock
        self._settings = settings
        self._rates: dict[str, _WebhookRate] = {}

    async def open(self) -> None:
        """Prepare; waits for no connection."""
        if self._settings is not None:
            await self._shared.open()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._settings is not None:
            for rate in self._rates.values():
                rate.stop()
            await self._shared.close()

    async def take(self, webhook_id: str) -> float:
        """Take one request: 0 where it may go on, else in how many seconds another one may."""
        if self._settings is None:
            return 0.0
        rate = self._rates.get(webhook_id)
        if rate is None:
            if len(self._rates) >= _MOST_RATES:
                self._rates.clear()
            rate = self._rates[webhook_id] = _WebhookRate(webhook_id, self._settings, self._shared, self._clock)
        return await rate.take()


class _WebhookRate:
    """One webhook's rate on this worker: a lot of tokens, and how to get the next one."""

    def __init__(self, webhook_id: str, settings: InboundRate, shared: SharedRates, clock: Clock) -> None:
        self._webhook_id = webhook_id
        self._settings = settings
        self._shared = shared
        self._clock = clock
        self._item = window_of(RateSettings(per_second=settings.per_second, burst=settings.burst_or_default))
        self._lot = max(1, min(self._item.amount, round(settings.per_second * _LOT_S)))
        self._tokens = 0
        self._waiting = 0
        self._leased_at_s = -math.inf
        self._refused_until_s = -math.inf
        self._alone: TokenBucket | None = None
        self._leasing: asyncio.Task[None] | None = None

    async def take(self) -> float:
        """Take one request: 0 where it may go on, else in how many seconds another one may."""
        now_s = self._clock.monotonic_s()
        if self._has_token(now_s):
            self._tokens -= 1
            if self._tokens < self._lot // 2:
                self._lease_soon()
            return 0.0
        self._waiting += 1
        try:
            return await self._wait_for_token(now_s)
        finally:
            self._waiting -= 1

    async def _wait_for_token(self, now_s: float) -> float:
        """As ``take``; one lease is for all that wait."""
        until_s = now_s + _LEASE_WITHIN_S
        while now_s < until_s and self._shared.may_ask:
            if now_s < self._refused_until_s:
                return 1.0 / self._settings.per_second
            self._lease_soon()
            assert self._leasing is not None
            await asyncio.wait([self._leasing], timeout=until_s - now_s)
            now_s = self._clock.monotonic_s()
            if self._has_token(now_s):
                self._tokens -= 1
                return 0.0
        return self._bucket_alone().try_take(1, now_s)

    def stop(self) -> None:
        """Lease nothing more."""
        if self._leasing is not None:
            self._leasing.cancel()

    def _has_token(self, now_s: float) -> bool:
        return self._tokens > 0 and now_s - self._leased_at_s <= _LOT_LASTS_S

    def _bucket_alone(self) -> TokenBucket:
        """This worker's share of the rate, for while Redis does not answer."""
        share = min(1.0, max(self._shared.share(), 1e-6))
        per_second, burst = self._settings.per_second * share, max(1.0, self._item.amount * share)
        if self._alone is None:
            self._alone = TokenBucket(per_second, burst)
        self._alone.per_second, self._alone.burst = per_second, burst
        return self._alone

    def _lease_soon(self) -> None:
        if self._leasing is None or self._leasing.done():
            self._leasing = asyncio.get_running_loop().create_task(self._lease())

    async def _lease(self) -> None:
        """Get a lot, or what is left of one."""
        asked = min(max(self._lot, self._waiting), self._item.amount)
        while asked:
            granted = await self._shared.acquire(self._item, self._webhook_id, asked)
            if granted is None:  # Redis is away
                return
            now_s = self._clock.monotonic_s()
            if granted:
                self._tokens = asked + (self._tokens if self._has_token(now_s) else 0)
                self._leased_at_s = now_s
                return
            asked //= 2
        self._refused_until_s = self._clock.monotonic_s() + _REFUSAL_S
