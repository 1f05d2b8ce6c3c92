"""What a worker tells about itself: metrics of its stages, and whether it is alive and ready."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import structlog

from agents.deliver import Delivery
from agents.engine import ChunkApp
from agents.topology import Topology
from agents.window import Windows
from pipeline.clock import Clock
from pipeline.delivery.breaker import BreakerState, Change
from pipeline.delivery.rows import Fate
from pipeline.delivery.views import LaneView
from pipeline.metrics import CONTENT_TYPE, Metrics, catalogue
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import integration_of

log = structlog.get_logger(__name__)

TELL_PAUSE_S = 30.0
SNAPSHOT_S = 0.5
"""How long what was read of the lanes serves: the gauges of one scrape share it."""


class DeliveryMetrics:
    """Counts what one delivery core does, and logs what an operator should know of it."""

    def __init__(self, metrics: Metrics, kind: str, clock: Clock) -> None:
        self._metrics = metrics
        self._kind = kind
        self._clock = clock
        self._failing: set[str] = set()
        self._told_at_s: dict[tuple[str, str], float] = {}
        self._untold: Counter[tuple[str, str]] = Counter()

    def started(self, lane: str, attempt: int, waited_s: float) -> None:  # noqa: ARG002 the protocol's signature
        """A try begins, ``waited_s`` after the batch was sealed."""
        if attempt == 1:
            self._metrics.first_byte(self._kind, waited_s)

    def attempted(self, lane: str, attempt: int, outcome: Outcome, next_at: float | None) -> None:  # noqa: ARG002 the protocol's signature
        """A try ended."""
        integration = integration_of(lane)
        self._metrics.attempted(integration, self._kind, outcome.verdict, outcome.duration_s, attempt=attempt)
        if outcome.verdict is not Verdict.DELIVERED:
            self._failing.add(integration)
            self._tell(integration, "endpoint fails", detail=outcome.detail)
        elif integration in self._failing:
            self._failing.discard(integration)
            self._tell(integration, "endpoint takes batches again")

    def finished(self, lane: str, events: int, fate: Fate, waited_s: float, reason: str) -> None:
        """A batch is done."""
        integration = integration_of(lane)
        if fate is Fate.DELIVERED:
            self._metrics.delivered(integration, self._kind, events=events, latency_s=waited_s)
        elif fate is Fate.PARKED:
            self._metrics.parked(integration, self._kind, events=events)
            self._tell(integration, "batches are parked", reason=reason)
        else:
            self._metrics.discarded(integration, self._kind, events=events)
            self._tell(integration, "batches are discarded", reason=reason)

    def arrived(self, lane: str, events: int) -> None:
        """Some of a batch is delivered."""
        self._metrics.arrived(integration_of(lane), self._kind, events=events)

    def halted(self, lane: str, detail: str) -> None:
        """An endpoint is gone."""
        self._tell(integration_of(lane), "endpoint is gone, nothing more is sent to it", detail=detail)

    def breaker_changed(self, lane: str, change: Change) -> None:
        """A breaker opened, probes or closed."""
        self._metrics.breaker_changed(integration_of(lane), self._kind, change.state)
        if change.state is not BreakerState.PROBING:
            log.warning("breaker changed", lane=lane, state=change.state, reason=change.reason)

    def _tell(self, integration: str, what: str, **details: str) -> None:
        """Log what an operator should know, at most once in a while for each integration, with how often it was so."""
        key, now_s = (integration, what), self._clock.monotonic_s()
        self._untold[key] += 1
        if now_s - self._told_at_s.get(key, -TELL_PAUSE_S) >= TELL_PAUSE_S:
            self._told_at_s[key] = now_s
            log.warning(what, integration=integration, times=self._untold.pop(key), **details)

    def recorded(self, delay_s: float) -> None:
        """What came of tries is on the broker, ``delay_s`` after the first of them ended."""
        self._metrics.recorded(self._kind, delay_s)

    def repeated(self, lane: str, events: int) -> None:  # noqa: ARG002 the protocol's signature
        """Events of a batch record were known already."""
        self._metrics.duplicates_skipped("delivery", events)

    def spilled(self, lane: str, size_bytes: int) -> None:
        """A body will be read back: visible as resident bytes that stand still."""


class Gauges:
    """Reads the stages when somebody scrapes."""

    def __init__(
        self, app: ChunkApp, topology: Topology, windows: Windows, deliveries: list[Delivery], clock: Clock
    ) -> None:
        self._app = app
        self._topology = topology
        self._windows = windows
        self._deliveries = deliveries
        self._clock = clock
        self._lanes: dict[str, list[LaneView]] = {}
        self._lanes_at_s = -math.inf

    def watch(self, metrics: Metrics) -> None:
        """Register every gauge."""
        metrics.watch(catalogue.LAG, self._lag)
        metrics.watch(
            catalogue.UNCOMMITTED_CHUNKS,
            lambda: [(_labels(tp), float(n)) for tp, n, _ in self._app.consumer.uncommitted()],
        )
        metrics.watch(
            catalogue.COMMIT_AGE, lambda: [(_labels(tp), age_s) for tp, _, age_s in self._app.consumer.uncommitted()]
        )
        metrics.watch(catalogue.OPEN_WINDOWS, lambda: [((), float(s.snapshot().open_windows)) for s in self._stages()])
        metrics.watch(catalogue.OPEN_EVENTS, lambda: [((), float(s.snapshot().open_events)) for s in self._stages()])
        metrics.watch(catalogue.OLDEST_WINDOW_AGE, self._oldest_window_age)
        metrics.watch(catalogue.RESIDENT_BYTES, self._resident_bytes)
        metrics.watch(catalogue.IN_FLIGHT, lambda: [((d.kind,), float(d.core.in_flight)) for d in self._deliveries])
        metrics.watch(catalogue.WAITING_BATCHES, lambda: self._over_lanes("waiting_batches"))
        metrics.watch(catalogue.WAITING_EVENTS, lambda: self._over_lanes("waiting_events"))
        metrics.watch(catalogue.HELD_LANES, self._held_lanes)
        metrics.watch(catalogue.OLDEST_WAITING_AGE, self._oldest_waiting_age)
        metrics.watch(catalogue.LEDGER_EVENTS, lambda: self._ledger(metrics.label_of))

    def _stages(self) -> list[Any]:
        return list(self._windows.stages.values())

    def _lag(self) -> Iterator[tuple[tuple[str, str], float]]:
        for tp in self._app.assignment():
            topic = self._app.chunk_topics.get(tp.topic)
            if topic is None or topic.internal:
                continue
            end = self._app.monitor.tp_end_offsets.get(tp)
            committed = self._app.monitor.tp_committed_offsets.get(tp)
            if end is not None and committed is not None:
                yield _labels(tp), float(max(0, end - committed))

    def _oldest_window_age(self) -> Iterator[tuple[tuple[()], float]]:
        for stage in self._stages():
            opened_at = stage.snapshot().oldest_opened_at
            if opened_at is not None:
                yield (), max(0.0, self._clock.wall_s() - opened_at)

    def _resident_bytes(self) -> Iterator[tuple[tuple[str], float]]:
        yield ("window",), float(sum(stage.resident_bytes for stage in self._stages()))
        yield ("delivery",), float(sum(delivery.core.resident_bytes for delivery in self._deliveries))

    def _lanes_of(self) -> Iterable[tuple[str, list[LaneView]]]:
        """The lanes of each kind, read once for all gauges of a scrape: with thousands of lanes that takes its time."""
        now_s = self._clock.monotonic_s()
        if now_s - self._lanes_at_s > SNAPSHOT_S:
            self._lanes = {delivery.kind: delivery.core.lanes() for delivery in self._deliveries}
            self._lanes_at_s = now_s
        return self._lanes.items()

    def _over_lanes(self, name: str) -> Iterator[tuple[tuple[str], float]]:
        for kind, lanes in self._lanes_of():
            yield (kind,), float(sum(getattr(lane, name) for lane in lanes))

    def _held_lanes(self) -> Iterator[tuple[tuple[str, str], float]]:
        for kind, lanes in self._lanes_of():
            yield (kind, "breaker"), float(sum(lane.is_breaker_open for lane in lanes))
            yield (kind, "gone"), float(sum(lane.is_halted for lane in lanes))

    def _oldest_waiting_age(self) -> Iterator[tuple[tuple[str], float]]:
        for kind, lanes in self._lanes_of():
            sealed_at = min(
                (lane.oldest_sealed_at for lane in lanes if lane.oldest_sealed_at is not None), default=None
            )
            if sealed_at is not None:
                yield (kind,), max(0.0, self._clock.wall_s() - sealed_at)

    def _ledger(self, label_of: Callable[[str], str]) -> Iterator[tuple[tuple[str, str], float]]:
        unregistered: Counter[str] = Counter()
        for stage in self._stages():
            for lane in stage.lanes():
                integration = label_of(integration_of(lane.lane))
                yield (integration, "matched"), float(lane.next)
                yield (integration, "open"), float(lane.open_events)
                unregistered[integration] += lane.first
        for _, views in self._lanes_of():
            for view in views:
                integration = label_of(integration_of(view.lane))
                unregistered[integration] -= view.registered_events
                yield (integration, "waiting"), float(view.waiting_events)
                yield (integration, "delivered"), float(view.delivered_events)
                yield (integration, "parked"), float(view.parked_events)
                yield (integration, "discarded"), float(view.discarded_events)
        for integration, events in unregistered.items():
            yield (integration, "waiting"), float(max(0, events))


def _labels(tp: Any) -> tuple[str, str]:
    return tp.topic, str(tp.partition)


def attach(app: ChunkApp, metrics: Metrics, *, serves_metrics: bool) -> None:
    """Declare the pages for monitoring."""

    @app.page("/health/live")
    async def live(self: Any, request: Any) -> Any:  # noqa: ARG001 Faust's signature
        return self.json({"ok": True})

    @app.page("/health/ready")
    async def ready(self: Any, request: Any) -> Any:  # noqa: ARG001 Faust's signature
        reason = _why_not_ready(app)
        return self.json({"ok": reason is None, "reason": reason}, status=200 if reason is None else 503)

    if not serves_metrics:
        return
    counted: Counter[str] = Counter()

    @app.page("/metrics")
    async def scrape(self: Any, request: Any) -> Any:  # noqa: ARG001 Faust's signature
        for topic, sent_bytes in _growth(app.outbox.sent_bytes, counted).items():
            table = next((name for name, table in app.tables.items() if table.changelog_topic_name == topic), None)
            if table is None:
                metrics.produced(topic, sent_bytes)
            else:
                metrics.changelog_written(table, sent_bytes)
        return self.bytes(metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _growth(sent_bytes: Counter[str], counted: Counter[str]) -> Counter[str]:
    """What was sent since the last scrape, by topic; ``counted`` then holds what was told."""
    grown = sent_bytes - counted
    counted.update(grown)
    return grown


def _why_not_ready(app: ChunkApp) -> str | None:
    reasons = (
        (app.should_stop, "the worker is stopping"),
        (app.outbox.has_failed, "records could not be sent, the worker is stopping"),
        (not app.consumer.is_group_reachable, "the broker that coordinates the group does not answer"),
        (app.rebalancing, "partitions are being assigned"),
        (app.is_assignment_partial, "topics are missing from the assignment"),
        (not app.tables.actives_ready, "tables are being recovered"),
    )
    return next((reason for is_so, reason in reasons if is_so), None)
