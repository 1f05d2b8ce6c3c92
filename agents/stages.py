"""What of a worker goes by the integrations, changed as one while events flow."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping

from agents.endpoints import Endpoints
from agents.notices import NoticeSender
from agents.window import Windows
from pipeline.config.schema import Worker
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.limits import DeliveryLimits
from pipeline.ingest.route import Router
from pipeline.metrics import Metrics
from pipeline.model.integration import Integration

SLICE_S = 0.005
"""How long a change is worked on before the event loop has its turn."""


class Stages:
    """The stages of a worker: they see all of a change or nothing of it, between two chunks."""

    def __init__(
        self,
        router: Router,
        windows: Windows,
        cores: Mapping[str, DeliveryCore],
        endpoints: Endpoints,
        *,
        notices: NoticeSender,
        metrics: Metrics,
        worker: Worker,
    ) -> None:
        self._router = router
        self._windows = windows
        self._cores = cores
        self._endpoints = endpoints
        self._notices = notices
        self._metrics = metrics
        self._worker = worker
        self._kinds: set[str] = set()

    async def change(self, changes: Mapping[str, Integration | None], take_effect: Callable[[], None]) -> None:
        """Put ``changes`` to work: by id, the integration in force from now on, ``None`` where one is removed.

        What takes time is done before; then all of it takes effect at once, ``take_effect`` first. One change at a time.
        """
        prepared = await self._endpoints.prepare(changes)
        await in_slices(self._router.revise(changes))
        # No await from here on, so no chunk is handled between one stage's change and the next one's.
        take_effect()
        self._metrics.name_integrations(name for name, integration in changes.items() if integration is not None)
        self._notices.integrations_changed(changes)
        self._windows.integrations_changed(changes)
        self._endpoints.use(prepared)
        self._share_limits()

    def _share_limits(self) -> None:
        """Give each kind of sink that is in use an equal share of what the worker has for deliveries."""
        kinds = self._endpoints.kinds()
        if kinds == self._kinds:
            return
        self._kinds = kinds
        for core in self._cores.values():
            core.use_limits(limits_for(self._worker, len(kinds)))


def limits_for(worker: Worker, kinds: int) -> DeliveryLimits:
    """What each of so many kinds of sinks may use."""
    kinds = max(1, kinds)
    return DeliveryLimits(
        slots=max(1, worker.delivery_slots // kinds), resident_bytes=worker.delivery_memory_bytes // kinds
    )


async def in_slices(steps: Iterator[None]) -> None:
    """Take all ``steps``, and let others have the event loop every few milliseconds."""
    began_s = time.monotonic()
    for _ in steps:
        if time.monotonic() - began_s > SLICE_S:
            await asyncio.sleep(0)
            began_s = time.monotonic()
