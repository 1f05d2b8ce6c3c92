"""The rates of a worker's integrations: kept here, or shared over all workers through Redis."""

from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.delivery.rate import LocalRate, Rate
from pipeline.delivery.shared_rate import SharedRates


class Rates:
    """Gives each integration its rate. ``share`` is this worker's part of all work, for while Redis is away."""

    def __init__(self, settings: Settings, redis_url: str, clock: Clock, share: Callable[[], float]) -> None:
        self.shared = (
            SharedRates(redis_url, clock, prefix=settings.app, share=share) if shares_rates(settings) else None
        )
        self._rates: dict[str, Rate] = {}
        for integration in settings.integrations:
            rate = integration.counted_rate
            if rate is None:
                continue
            if rate.shared and self.shared is not None:
                self._rates[integration.id] = self.shared.rate(integration.id, rate)
            else:
                self._rates[integration.id] = LocalRate(rate)

    def of(self, integration_id: str) -> Rate | None:
        """The rate of an integration, where it has one."""
        return self._rates.get(integration_id)

    def alone(self) -> list[tuple[tuple[()], float]]:
        """Whether shared rates are kept alone for now, as a gauge reads it; nothing where none is shared."""
        return [] if self.shared is None else [((), float(self.shared.is_away))]

    async def open(self) -> None:
        """Connect where a rate is shared."""
        if self.shared is not None:
            await self.shared.open()

    async def close(self) -> None:
        """Let go of the connection."""
        if self.shared is not None:
            await self.shared.close()


def shares_rates(settings: Settings) -> bool:
    """Whether an integration's rate is kept over all workers, which needs Redis."""
    return any(integration.rate is not None and integration.rate.shared for integration in settings.integrations)
