"""The sinks of a worker: opened before they are used, closed when their last try has ended."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import structlog

from agents.rates import Rates
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.endpoint import Endpoint
from pipeline.errors import ConfigError
from pipeline.model.integration import Integration
from pipeline.sinks.base import Sink, SinkContext
from pipeline.sinks.late import LateSink
from pipeline.sinks.registry import spec_of

log = structlog.get_logger(__name__)


class _Opened(NamedTuple):
    kind: str
    sink: Sink
    endpoint: Endpoint


class Endpoints:
    """What the delivery cores of a worker deliver to. ``cores`` are by kind of sink."""

    def __init__(self, cores: Mapping[str, DeliveryCore], rates: Rates, context: SinkContext) -> None:
        self._cores = cores
        self._rates = rates
        self._context = context
        self._in_use: dict[str, _Opened] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def prepare(self, changes: Mapping[str, Integration | None]) -> dict[str, _Opened | None]:
        """Open a sink for each integration; one that cannot be opened now is opened when it has something to send."""
        prepared: dict[str, _Opened | None] = {}
        for name, integration in changes.items():
            if integration is None:
                prepared[name] = None
                continue
            make = partial(spec_of(integration.kind).make, integration, self._context)
            sink = make()
            try:
                await sink.open()
            except ConfigError as error:
                log.warning("an endpoint cannot be opened, its batches are retried", integration=name, error=str(error))
                sink = LateSink(make)
            rate = await self._rates.rate_of(integration)
            prepared[name] = _Opened(integration.kind, sink, Endpoint(integration, sink, rate))
        return prepared

    def use(self, prepared: Mapping[str, _Opened | None]) -> None:
        """Deliver to what was prepared from now on."""
        by_kind: dict[str, dict[str, Endpoint | None]] = {kind: {} for kind in self._cores}
        for name, opened in prepared.items():
            before = self._in_use.pop(name, None)
            if before is not None:
                by_kind[before.kind][name] = None
                self._keep(asyncio.get_running_loop().create_task(self._close(before)))
            if opened is not None:
                by_kind[opened.kind][name] = opened.endpoint
                self._in_use[name] = opened
            self._rates.use(name, opened.endpoint if opened else None)
        for kind, endpoints in by_kind.items():
            if endpoints:
                self._cores[kind].change(endpoints)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, opened: _Opened) -> None:
        await self._cores[opened.kind].ended(opened.endpoint)
        await opened.sink.close()

    def kinds(self) -> set[str]:
        """Which kinds of sinks are in use."""
        return {opened.kind for opened in self._in_use.values()}

    async def close(self) -> None:
        """Close all, once the cores have stopped."""
        if self._closing:
            await asyncio.wait(self._closing)
        for opened in self._in_use.values():
            await opened.sink.close()
        self._in_use.clear()
