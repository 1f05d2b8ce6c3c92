"""A worker's metrics: what stages call as things happen, and what is scraped.

One call a chunk or a batch, never one an event. Methods are named for what happened.
"""

from collections.abc import Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from pipeline.metrics import catalogue
from pipeline.metrics.catalogue import CATALOGUE, MAX_INTEGRATION_LABELS, OTHER_INTEGRATIONS, Kind, Metric
from pipeline.metrics.snapshots import Read, Snapshots, Unwatch

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

# Each counter and histogram would bring a second series with the time of its first use. Process-wide, as the library has it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one worker, on a registry of their own.

    ``version`` is the program's. Not for use from other threads than that of the event loop: gauges are read from the
    stages' own state.
    """

    def __init__(self, version: str, *, max_integration_labels: int = MAX_INTEGRATION_LABELS) -> None:
        self.registry = CollectorRegistry()
        self._counters = {
            m: Counter(m.full_name, m.meaning, m.labels, registry=self.registry) for m in _of(Kind.COUNTER)
        }
        self._histograms = {
            m: Histogram(m.full_name, m.meaning, m.labels, buckets=m.buckets, registry=self.registry)
            for m in _of(Kind.HISTOGRAM)
        }
        self._counter_children: dict[tuple[str, ...], Counter] = {}
        self._histogram_children: dict[tuple[str, str], Histogram] = {}
        self._snapshots = Snapshots(_of(Kind.GAUGE))
        self.registry.register(self._snapshots)
        ProcessCollector(registry=self.registry)
        self._max_integration_labels = max_integration_labels
        self._named_integrations: set[str] = set()
        self.watch(catalogue.WORKER_INFO, lambda: [((version,), 1.0)])

    def render(self) -> bytes:
        """Everything in Prometheus' text format; to be served as :data:`CONTENT_TYPE`."""
        return prometheus_client.generate_latest(self.registry)

    def watch(self, metric: Metric, read: Read) -> Unwatch:
        """Read a gauge by calling ``read`` at every scrape, until the returned function is called.

        ``read`` gives label values, in the metric's order, and a value each; it must be quick and must not raise. Several
        may watch the same gauge: readings with the same labels are added, or the largest counts, as the catalogue says.
        """
        return self._snapshots.watch(metric, read)

    def name_integrations(self, ids: Iterable[str]) -> None:
        """Give these integrations a label value of their own, as long as there are some left.

        Called with all ids in configuration order, so that every worker names the same ones; an integration that was not
        named before its first count takes what is left.
        """
        for integration in ids:
            self.label_of(integration)

    # -- route ------------------------------------------------------------------------------------------------------

    def routed(self, *, events: int, matched: int, unmatched: int, frames: int) -> None:
        """Count a routed chunk: its records, its event-integration pairs, its events that matched none, its frames."""
        self._add(catalogue.SOURCE_EVENTS, events)
        self._add(catalogue.MATCHED_EVENTS, matched)
        self._add(catalogue.UNMATCHED_EVENTS, unmatched)
        self._add(catalogue.ROUTED_FRAMES, frames)

    def dead_letters(self, records_by_reason: Mapping[str, int]) -> None:
        """Count source records that went to the dead letters."""
        for reason, records in records_by_reason.items():
            self._add(catalogue.DEAD_LETTERS, records, reason)

    # -- users ------------------------------------------------------------------------------------------------------

    def users_updated(self, updates_by_what: Mapping[str, int]) -> None:
        """Count updates to the directory of users."""
        for what, updates in updates_by_what.items():
            self._add(catalogue.USER_UPDATES, updates, what)

    # -- windows ----------------------------------------------------------------------------------------------------

    def sealed(self, reason: str, *, events: int, batches: int = 1) -> None:
        """Count sealed windows and the events in all of them."""
        self._add(catalogue.SEALED_BATCHES, batches, reason)
        self._add(catalogue.SEALED_EVENTS, events, reason)

    def source_reset(self) -> None:
        """Count a source partition that is read as a new one."""
        self._add(catalogue.SOURCE_RESETS, 1)

    def duplicates_skipped(self, stage: str, events: int) -> None:
        """Count events that ``stage`` (``window`` or ``delivery``) knew already."""
        self._add(catalogue.DUPLICATE_EVENTS, events, stage)

    # -- delivery ---------------------------------------------------------------------------------------------------

    def attempted(self, integration: str, kind: str, outcome: str, duration_s: float, *, attempt: int = 1) -> None:
        """Count a try; ``attempt`` counts from 1, so that all after the first are retries."""
        label = self.label_of(integration)
        self._add(catalogue.ATTEMPTS, 1, label, kind, outcome)
        self._observe(catalogue.ATTEMPT_DURATION, duration_s, kind)
        if attempt > 1:
            self._add(catalogue.RETRIES, 1, label, kind)

    def first_byte(self, kind: str, latency_s: float) -> None:
        """Note how long after its seal a batch was first tried."""
        self._observe(catalogue.FIRST_BYTE_LATENCY, latency_s, kind)

    def recorded(self, kind: str, delay_s: float) -> None:
        """Note how long the oldest of what was recorded at once had waited for it."""
        self._observe(catalogue.RECORDING_DELAY, delay_s, kind)

    def delivered(self, integration: str, kind: str, *, events: int, latency_s: float) -> None:
        """Count a delivered batch; ``latency_s`` is the time since its seal."""
        label = self.label_of(integration)
        self._add(catalogue.DELIVERED_BATCHES, 1, label, kind)
        self._add(catalogue.DELIVERED_EVENTS, events, label, kind)
        self._observe(catalogue.DELIVERY_LATENCY, latency_s, kind)

    def arrived(self, integration: str, kind: str, *, events: int) -> None:
        """Count events of a batch that were delivered before the others."""
        self._add(catalogue.DELIVERED_EVENTS, events, self.label_of(integration), kind)

    def breaker_changed(self, integration: str, kind: str, state: str) -> None:
        """Count a breaker's change to ``state``."""
        self._add(catalogue.BREAKER_CHANGES, 1, self.label_of(integration), kind, state)

    def parked(self, integration: str, kind: str, *, events: int) -> None:
        """Count a parked batch."""
        label = self.label_of(integration)
        self._add(catalogue.PARKED_BATCHES, 1, label, kind)
        self._add(catalogue.PARKED_EVENTS, events, label, kind)

    def discarded(self, integration: str, kind: str, *, events: int) -> None:
        """Count a discarded batch."""
        label = self.label_of(integration)
        self._add(catalogue.DISCARDED_BATCHES, 1, label, kind)
        self._add(catalogue.DISCARDED_EVENTS, events, label, kind)

    # -- inbound ----------------------------------------------------------------------------------------------------

    def inbound(self, source: str, outcome: str, duration_s: float) -> None:
        """Count an inbound request that was answered."""
        self._add(catalogue.INBOUND_REQUESTS, 1, source, outcome)
        self._observe(catalogue.INBOUND_DURATION, duration_s, source)

    def inbound_events(self, events_by_result: Mapping[tuple[str, str], int]) -> None:
        """Count events of inbound requests, by source and what became of them."""
        for (source, result), events in events_by_result.items():
            self._add(catalogue.INBOUND_EVENTS, events, source, result)

    # -- notices ----------------------------------------------------------------------------------------------------

    def noticed(self, cause: str) -> None:
        """Count a notice."""
        self._add(catalogue.NOTICES, 1, cause)

    def notices_lost(self, count: int) -> None:
        """Count notices that did not reach anybody."""
        self._add(catalogue.NOTICES_LOST, count)

    # -- chunk engine -----------------------------------------------------------------------------------------------

    def chunk(self, topic: str, *, records: int, size_bytes: int) -> None:
        """Count a chunk that was handed to a stage."""
        self._add(catalogue.CHUNKS, 1, topic)
        self._observe(catalogue.CHUNK_RECORDS, records, topic)
        self._observe(catalogue.CHUNK_BYTES, size_bytes, topic)

    def removed(self, topic: str, *, records: int) -> None:
        """Count records that were removed from ``topic`` before a stage had read them."""
        self._add(catalogue.REMOVED_RECORDS, records, topic)

    def changelog_written(self, table: str, size_bytes: int) -> None:
        """Count row groups written to the changelog of ``table``."""
        self._add(catalogue.CHANGELOG_BYTES, size_bytes, table)

    def produced(self, topic: str, size_bytes: int) -> None:
        """Count records sent to ``topic``."""
        self._add(catalogue.PRODUCED_BYTES, size_bytes, topic)

    # -- the objects behind -----------------------------------------------------------------------------------------

    def label_of(self, integration: str) -> str:
        """The label value of an integration: its id, or :data:`OTHER_INTEGRATIONS` where too many have one already."""
        if integration in self._named_integrations:
            return integration
        if len(self._named_integrations) >= self._max_integration_labels:
            return OTHER_INTEGRATIONS
        self._named_integrations.add(integration)
        return integration

    def _add(self, metric: Metric, amount: float, *labels: str) -> None:
        key = (metric.name, *labels)
        child = self._counter_children.get(key)
        if child is None:
            counter = self._counters[metric]
            child = self._counter_children[key] = counter.labels(*labels) if labels else counter
        child.inc(amount)

    def _observe(self, metric: Metric, value: float, label: str) -> None:
        key = (metric.name, label)
        child = self._histogram_children.get(key)
        if child is None:
            child = self._histogram_children[key] = self._histograms[metric].labels(label)
        child.observe(value)


def _of(kind: Kind) -> list[Metric]:
    return [metric for metric in CATALOGUE if metric.kind is kind]
