"""The examination: one step after the other, each begun only where the ones before it allow."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from pipeline.clock import Clock, SystemClock
from pipeline.doctor.certificate import RENEWAL_DAYS, days_left_of
from pipeline.doctor.describe import connection_step, event_step, name_step, proxy_step
from pipeline.doctor.describe_tls import tls_step
from pipeline.doctor.probe import connect_to_each, look_up, shake_hands
from pipeline.doctor.sample import sample_batch
from pipeline.doctor.step import CONFIGURATION, CONNECTION, TEST_EVENT, TLS, Examination, State, Step
from pipeline.doctor.target import Target, other_targets_of, target_of
from pipeline.errors import ConfigError
from pipeline.model.integration import EVERYTHING, Integration
from pipeline.net.client import CONNECT_TIMEOUT_S, HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.net.proxy import Proxy
from pipeline.sinks.base import Sink, SinkContext
from pipeline.sinks.registry import spec_of

_MOST_ADDRESSES: Final = 8
_ANYWHERE: Final = AddressGuard(("0.0.0.0/0", "::/0"))
"""For the proxy, which the operator has named."""


class Doctor:
    """Examines integrations, as many at once as are asked for. ``open`` it before, ``close`` it after.

    ``client`` is one as workers have it, not opened yet: its guard decides on every address here too. ``timeout_s`` bounds
    each look-up, connection and handshake.
    """

    def __init__(self, client: HttpClient, *, timeout_s: float = CONNECT_TIMEOUT_S, clock: Clock | None = None) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()

    async def open(self) -> None:
        """Prepare; opens no connection."""
        await self._client.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def examine(
        self, integration: Integration, *, sends: bool = True, on_step: Callable[[Step], None] = lambda _: None
    ) -> Examination:
        """Take all steps; ``on_step`` hears of each as it is done. With ``sends`` a test event goes to the endpoint.

        Raises nothing for what the endpoint or the network does.
        """
        target = target_of(integration)
        steps: list[Step] = []

        def take(step: Step) -> Step:
            steps.append(step)
            on_step(step)
            return step

        sink = spec_of(integration.kind).make(integration, SinkContext(self._client))
        configuration, proxy = await self._configuration(integration, target, sink)
        take(configuration)
        is_reachable = configuration.state is not State.BAD
        try:
            if is_reachable:
                way = self._straight(target) if proxy is None else self._by_proxy(target, proxy)
                is_reachable = all([take(step).state is not State.BAD async for step in way])
                for setting, other in other_targets_of(integration).items():
                    steps_there = [take(_of(setting, step)) async for step in self._way(other)]
                    is_reachable &= all(step.state is not State.BAD for step in steps_there)
            if not sends:
                take(Step(TEST_EVENT, State.SKIPPED, "not sent, as was asked for"))
            elif not is_reachable:
                take(Step(TEST_EVENT, State.SKIPPED, "not sent, because it could not arrive"))
            else:
                take(await self._test_event(integration, sink, is_by_proxy=proxy is not None))
        finally:
            if configuration.state is not State.BAD:
                await sink.close()
        return Examination(integration.id, integration.kind, target.place, tuple(steps))

    async def _configuration(self, integration: Integration, target: Target, sink: Sink) -> tuple[Step, Proxy | None]:
        started_s = time.monotonic()
        try:
            await sink.open()
            # gRPC and whatever else speaks no HTTP/1.1 connects by itself, and never by way of a proxy.
            proxy = None if target.is_grpc else self._client.proxy_for(target.url)
            days = None if target.cert is None else days_left_of(target.cert, now_s=self._clock.wall_s())
        except (ConfigError, OSError, ValueError) as error:
            duration_s = time.monotonic() - started_s
            return Step(CONFIGURATION, State.BAD, str(error), "correct the configuration file", duration_s), None
        duration_s = time.monotonic() - started_s
        if days is not None and days < RENEWAL_DAYS:
            text = f"the certificate in tls.cert {f'ends in {days} days' if days >= 0 else 'has expired'}"
            advice = "have a new one made, and restart the workers"
            return Step(CONFIGURATION, State.WARNING, text, advice, duration_s), proxy
        return Step(CONFIGURATION, State.GOOD, _summary(integration), "", duration_s), proxy

    def _way(self, target: Target) -> AsyncIterator[Step]:
        proxy = self._client.proxy_for(target.url)
        return self._straight(target) if proxy is None else self._by_proxy(target, proxy)

    async def _straight(self, target: Target) -> AsyncIterator[Step]:
        guard = self._client.guard
        lookup = await look_up(target.host, target.port, self._client, guard, timeout_s=self._timeout_s)
        step = name_step(target, lookup)
        yield step
        if step.state is State.BAD:
            return
        addresses = lookup.addresses[:_MOST_ADDRESSES]
        connections = await connect_to_each(addresses, target.port, guard, timeout_s=self._timeout_s)
        step = connection_step(target, connections)
        yield step
        if step.state is State.BAD or not target.has_tls:
            return
        address = next(each.address for each in connections if each.error is None)
        handshake = await shake_hands(target, address, guard, timeout_s=self._timeout_s)
        yield tls_step(target, handshake, now_s=self._clock.wall_s())

    async def _by_proxy(self, target: Target, proxy: Proxy) -> AsyncIterator[Step]:
        yield proxy_step(target, proxy)
        host, port = proxy.url.host or "", proxy.url.port or 0
        lookup = await look_up(host, port, self._client, _ANYWHERE, timeout_s=self._timeout_s)
        if not lookup.addresses:
            step = name_step(target, lookup)
            text = f"the proxy {proxy.place} cannot be reached: {step.text}"
            yield Step(CONNECTION, State.BAD, text, "check the environment's HTTPS_PROXY", lookup.duration_s)
            return
        addresses = lookup.addresses[:_MOST_ADDRESSES]
        connections = await connect_to_each(addresses, port, _ANYWHERE, timeout_s=self._timeout_s)
        yield connection_step(target, connections, proxy)
        if target.has_tls:
            yield Step(TLS, State.SKIPPED, "inside the proxy's connection: only the test event shows it")

    async def _test_event(self, integration: Integration, sink: Sink, *, is_by_proxy: bool) -> Step:
        now_s = self._clock.wall_s()
        batch = sample_batch(integration, now_s=now_s)
        outcome = await sink.send(batch, now_s=now_s)
        return event_step(integration, batch, outcome, is_by_proxy=is_by_proxy)


def _of(setting: str, step: Step) -> Step:
    """The same step, told of the host that ``setting`` names."""
    return msgspec.structs.replace(step, text=f"{setting}: {step.text}", facts={**step.facts, "setting": setting})


def _summary(integration: Integration) -> str:
    events = "all events" if EVERYTHING in integration.events else f"{len(integration.events)} kinds of events"
    limits = integration.batch
    words = f"{integration.kind}, {events}, up to {limits.max_events} a batch"
    if getattr(integration, "signing", None) is not None:
        words += ", signed"
    return words if integration.enabled else f"{words}; not enabled"
