"""The rates of a worker's integrations: kept here, or shared over all workers through Redis."""

import asyncio
from collections.abc import Callable

import structlog

from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.delivery.endpoint import Endpoint
from pipeline.delivery.rate import LocalRate, Rate
from pipeline.delivery.shared_rate import SharedRate, SharedRates
from pipeline.model.integration import Integration, RateSettings

log = structlog.get_logger(__name__)

_NO_REDIS = "redis://none.invalid"


class Rates:
    """Gives each integration its rate. ``share`` is this worker's part of all work, for while Redis is away."""

    def __init__(self, app: str, redis_url: str, clock: Clock, share: Callable[[], float]) -> None:
        self._redis_url = redis_url
        # Where there is no Redis it is not opened, and then each worker keeps to its share.
        self._shared = SharedRates(redis_url or _NO_REDIS, clock, prefix=app, share=share)
        self._is_open = False
        self._rates: dict[str, tuple[RateSettings, Rate]] = {}
        self._forgetting: set[asyncio.Task[None]] = set()

    async def rate_of(self, integration: Integration) -> Rate | None:
        """The rate of an integration, where it has one: the one that it had, tokens and all, unless its settings changed."""
        wanted = integration.counted_rate
        known = self._rates.get(integration.id)
        if wanted is not None and known is not None and known[0] == wanted:
            return known[1]
        if wanted is None:
            return None
        if not wanted.shared:
            return LocalRate(wanted)
        await self._open()
        return self._shared.rate(integration.id, wanted)

    def use(self, name: str, endpoint: Endpoint | None) -> None:
        """The integration of this name has the rate of ``endpoint`` from now on; the one before is let go of."""
        before = self._rates.pop(name, None)
        wanted = None if endpoint is None else endpoint.integration.counted_rate
        rate = None if endpoint is None else endpoint.rate
        if wanted is not None and rate is not None:
            self._rates[name] = (wanted, rate)
        if before is not None and before[1] is not rate and isinstance(before[1], SharedRate):
            task = asyncio.get_running_loop().create_task(self._shared.forget(before[1]))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    def alone(self) -> list[tuple[tuple[()], float]]:
        """Whether shared rates are kept alone for now, as a gauge reads it; nothing where none is shared."""
        if not any(rate.shared for rate, _ in self._rates.values()):
            return []
        return [((), float(self._shared.is_away or not self._is_open))]

    async def _open(self) -> None:
        if self._is_open:
            return
        if not self._redis_url:
            log.warning(
                "a rate is to be shared and there is no redis, each worker keeps to its share of it; set redis in faust.yml"
            )
            return
        self._is_open = True
        await self._shared.open()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._forgetting:
            await asyncio.wait(self._forgetting)
        if self._is_open:
            await self._shared.close()


def needs_redis(settings: Settings) -> bool:
    """Whether something is kept in Redis: rates that workers share, or where users are looked up for what comes in."""
    shares_rates = any(each.rate is not None and each.rate.shared for each in settings.integrations)
    return shares_rates or settings.inbound is not None
