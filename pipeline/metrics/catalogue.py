"""Every metric of a worker: name, kind, unit, labels, meaning. Documentation and Prometheus objects follow from it.

A label's values are bounded: ``integration`` by :data:`MAX_INTEGRATION_LABELS`, all others by what the worker consists of.
Never a user, a URL or a message code.
"""

import enum
from dataclasses import dataclass

PREFIX = "distributary_"
MAX_INTEGRATION_LABELS = 200
"""Integrations beyond this many share the label value :data:`OTHER_INTEGRATIONS`."""
OTHER_INTEGRATIONS = "other"


class Kind(enum.StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"  # read when it is scraped, see ``Metrics.watch``


class Unit(enum.StrEnum):
    """What a metric counts."""

    EVENTS = "events"
    BATCHES = "batches"
    RECORDS = "records"
    ATTEMPTS = "attempts"
    CHUNKS = "chunks"
    CHANGES = "changes"
    LANES = "lanes"
    SECONDS = "seconds"
    BYTES = "bytes"
    NOTICES = "notices"
    REQUESTS = "requests"
    CONNECTIONS = "connections"
    COUNT = "count"


class Merge(enum.StrEnum):
    """How a gauge's readings with the same labels become one: a worker has a stage for each partition."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``name`` has no prefix; a counter's ends in ``_total``. ``buckets`` are upper bounds, in ``unit``."""

    name: str
    kind: Kind
    unit: Unit
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM

    @property
    def full_name(self) -> str:
        """The name as scraped."""
        return PREFIX + self.name


_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_FIRST_BYTE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DURATION_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECORDS = (1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 25000.0)
_BYTES = tuple(1024.0 * 4**power for power in range(8))  # 1 KiB to 16 MiB
_DELIVERY = ("integration", "kind")


def _counter(name: str, unit: Unit, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, unit, meaning, labels)


def _gauge(name: str, unit: Unit, meaning: str, *labels: str, merge: Merge = Merge.SUM) -> Metric:
    return Metric(name, Kind.GAUGE, unit, meaning, labels, merge=merge)


def _histogram(name: str, unit: Unit, meaning: str, label: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Kind.HISTOGRAM, unit, meaning, (label,), buckets)


SOURCE_EVENTS = _counter(
    "source_events_total",
    Unit.EVENTS,
    "Records read from the source topic, and from `<app>-inbound` where that is routed: each is matched, unmatched or dead.",
)
MATCHED_EVENTS = _counter(
    "matched_events_total",
    Unit.EVENTS,
    "Events times the integrations that each matched; a chunk that is routed again after a crash counts again.",
)
UNMATCHED_EVENTS = _counter("unmatched_events_total", Unit.EVENTS, "Good events that no integration asked for.")
DEAD_LETTERS = _counter(
    "dead_letters_total",
    Unit.RECORDS,
    "Source records that cannot be used and went to the dead-letter topic.",
    "reason",
)
ROUTED_FRAMES = _counter(
    "routed_frames_total", Unit.RECORDS, "Records that the route stage handed to the window stage."
)
SOURCE_RESETS = _counter(
    "source_resets_total",
    Unit.COUNT,
    "Source partitions whose offsets were counted from the start again, because `source_epoch` was raised.",
)
LAG = _gauge(
    "lag_records",
    Unit.RECORDS,
    "Records of an owned partition that are not committed yet.",
    "topic",
    "partition",
)

OPEN_WINDOWS = _gauge("open_windows", Unit.COUNT, "Windows with at least one event.")
OPEN_EVENTS = _gauge("open_events", Unit.EVENTS, "Events in open windows.")
OLDEST_WINDOW_AGE = _gauge(
    "oldest_window_age_seconds",
    Unit.SECONDS,
    "Age of the oldest open window; grows past the longest `max_age` only where sealing is stuck.",
    merge=Merge.MAX,
)
RESIDENT_BYTES = _gauge("resident_bytes", Unit.BYTES, "Event bytes that a stage holds in memory.", "stage")
SEALED_BATCHES = _counter("sealed_batches_total", Unit.BATCHES, "Windows sealed, by what sealed them.", "reason")
SEALED_EVENTS = _counter("sealed_events_total", Unit.EVENTS, "Events in sealed windows.", "reason")
DUPLICATE_EVENTS = _counter(
    "duplicate_events_total",
    Unit.EVENTS,
    "Events that a stage had applied before and skipped; moves after a crash or a rebalance, else stands still.",
    "stage",
)

ATTEMPTS = _counter(
    "attempts_total",
    Unit.ATTEMPTS,
    "Tries to deliver a batch, by outcome: delivered, retry or refused.",
    *_DELIVERY,
    "outcome",
)
ATTEMPT_DURATION = _histogram(
    "attempt_duration_seconds", Unit.SECONDS, "How long a try took, whatever came of it.", "kind", _DURATION_S
)
FIRST_BYTE_LATENCY = _histogram(
    "first_byte_latency_seconds",
    Unit.SECONDS,
    "From the seal of a batch to the first byte of its first try: the pipeline's own share of the delay.",
    "kind",
    _FIRST_BYTE_S,
)
DELIVERY_LATENCY = _histogram(
    "delivery_latency_seconds",
    Unit.SECONDS,
    "From the seal of a batch to its delivery, retries included.",
    "kind",
    _LATENCY_S,
)
RECORDING_DELAY = _histogram(
    "recording_delay_seconds",
    Unit.SECONDS,
    "From the end of a try to the acknowledgement of what came of it: what ended more lately than that before a crash is sent again.",
    "kind",
    _DURATION_S,
)
IN_FLIGHT = _gauge("in_flight_batches", Unit.BATCHES, "Batches that an endpoint is being sent right now.", "kind")
WAITING_BATCHES = _gauge(
    "waiting_batches", Unit.BATCHES, "Sealed batches that are not done yet, in flight or not.", "kind"
)
WAITING_EVENTS = _gauge("waiting_events", Unit.EVENTS, "Events in waiting batches.", "kind")
OLDEST_WAITING_AGE = _gauge(
    "oldest_waiting_age_seconds",
    Unit.SECONDS,
    "Time since the seal of the oldest waiting batch; at `max_wait` it is parked.",
    "kind",
    merge=Merge.MAX,
)
RETRIES = _counter("retries_total", Unit.ATTEMPTS, "Tries after a batch's first one.", *_DELIVERY)
DELIVERED_BATCHES = _counter("delivered_batches_total", Unit.BATCHES, "Batches that an endpoint took.", *_DELIVERY)
DELIVERED_EVENTS = _counter("delivered_events_total", Unit.EVENTS, "Events in delivered batches.", *_DELIVERY)
BREAKER_CHANGES = _counter(
    "breaker_changes_total", Unit.CHANGES, "Changes of lanes' breakers, by what they became.", *_DELIVERY, "state"
)
HELD_LANES = _gauge(
    "held_lanes",
    Unit.LANES,
    "Lanes that send nothing, by reason: their breaker is open, or the endpoint said that it is gone.",
    "kind",
    "reason",
)
SHARED_RATES_ALONE = _gauge(
    "shared_rates_alone",
    Unit.COUNT,
    "1 while Redis does not answer, so that this worker keeps to its share of the rates that workers share.",
    merge=Merge.MAX,
)
PARKED_BATCHES = _counter("parked_batches_total", Unit.BATCHES, "Batches that gave up and wait for replay.", *_DELIVERY)
PARKED_EVENTS = _counter("parked_events_total", Unit.EVENTS, "Events in parked batches.", *_DELIVERY)
DISCARDED_BATCHES = _counter(
    "discarded_batches_total",
    Unit.BATCHES,
    "Batches that gave up and were dropped (`on_exhausted: discard`).",
    *_DELIVERY,
)
DISCARDED_EVENTS = _counter("discarded_events_total", Unit.EVENTS, "Events in discarded batches.", *_DELIVERY)

CHUNKS = _counter("chunks_total", Unit.CHUNKS, "Chunks handed to a stage, by the topic that they came from.", "topic")
CHUNK_RECORDS = _histogram(
    "chunk_records", Unit.RECORDS, "Records in a chunk: a worker that is behind gets larger ones.", "topic", _RECORDS
)
CHUNK_BYTES = _histogram("chunk_bytes", Unit.BYTES, "Bytes of a chunk's keys and values.", "topic", _BYTES)
REMOVED_RECORDS = _counter(
    "removed_records_total",
    Unit.RECORDS,
    "Records that were removed from a topic, by its retention or by hand, before they were read, and are lost. They count again "
    "where a worker ends before it has read on.",
    "topic",
)
UNCOMMITTED_CHUNKS = _gauge(
    "uncommitted_chunks",
    Unit.CHUNKS,
    "Chunks handed out and not finished, which a crash would repeat.",
    "topic",
    "partition",
)
COMMIT_AGE = _gauge(
    "commit_age_seconds",
    Unit.SECONDS,
    "How long a partition's first unfinished chunk has been so; grows where a broker or a stage is stuck.",
    "topic",
    "partition",
    merge=Merge.MAX,
)
CHANGELOG_BYTES = _counter(
    "changelog_bytes_total", Unit.BYTES, "Keys and values written to a table's changelog.", "table"
)
PRODUCED_BYTES = _counter(
    "produced_bytes_total", Unit.BYTES, "Keys and values sent to a topic, changelogs excepted.", "topic"
)
LEDGER_EVENTS = _gauge(
    "ledger_events",
    Unit.EVENTS,
    "The ledger of the lanes that this worker owns, by what became of the events: matched, open, waiting, delivered, parked or "
    "discarded. Over all workers, and at a quiet moment, matched is the sum of the other five, for each integration.",
    "integration",
    "state",
)
NOTICES = _counter("notices_total", Unit.NOTICES, "Notices that people were told, by cause.", "cause")
NOTICES_LOST = _counter(
    "notices_lost_total", Unit.NOTICES, "Notices that did not reach the operations webhook, or the topic in time."
)
INBOUND_REQUESTS = _counter(
    "inbound_requests_total",
    Unit.REQUESTS,
    "Requests that this worker's listener answered, by source (webhook or segment, empty where the path is neither's) and outcome: "
    "those of the activity log, and `unknown_path`, `no_http`, `gone` (the caller went away before its request was whole), `failed`.",
    "source",
    "outcome",
)
INBOUND_DURATION = _histogram(
    "inbound_request_duration_seconds",
    Unit.SECONDS,
    "From the head of an inbound request to its answer, the acknowledgement by Kafka included.",
    "source",
    _DURATION_S,
)
INBOUND_UNDER_WAY = _gauge("inbound_under_way", Unit.REQUESTS, "Inbound requests that are not answered yet.")
INBOUND_EVENTS = _counter(
    "inbound_events_total",
    Unit.EVENTS,
    "Events of inbound requests, by source and what became of them: `taken` into `<app>-inbound`, `repeated` (their key was "
    "known), or `disregarded` (of Segment's calls; their counts have the reasons).",
    "source",
    "result",
)
INBOUND_KEYS = _gauge(
    "inbound_keys",
    Unit.COUNT,
    "About how many rows table `inbound` has, nearly all of them keys of events of the last 24 hours.",
)
INBOUND_CONNECTIONS = _gauge("inbound_connections", Unit.CONNECTIONS, "Open connections to the listener.")
USER_UPDATES = _counter(
    "user_updates_total",
    Unit.RECORDS,
    "Updates to the directory of users, by what they were: `tracked` (somebody told of a user), `seen` (an event named one), "
    "`before deletion` (an event from before its user was deleted, left out), `moved` (an identifier went to another user), "
    "`joined` (an anonymous user turned out to be one with an id), `deleted`, `nobody to delete`.",
    "what",
)
USER_INDEX_WAITING = _gauge(
    "user_index_waiting", Unit.COUNT, "Entries of the users' index that are stored and not in Redis yet."
)
USER_INDEX_INCOMPLETE = _gauge(
    "user_index_incomplete",
    Unit.COUNT,
    "Partitions of this worker whose index in Redis is not complete: whom a request does not find there gets 503, not 404.",
)
WORKER_INFO = _gauge("worker_info", Unit.COUNT, "Always 1; its label says what runs.", "version", merge=Merge.MAX)

SECTIONS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    (
        "Source and route",
        (SOURCE_EVENTS, MATCHED_EVENTS, UNMATCHED_EVENTS, DEAD_LETTERS, ROUTED_FRAMES, SOURCE_RESETS, LAG),
    ),
    (
        "Windows",
        (
            OPEN_WINDOWS,
            OPEN_EVENTS,
            OLDEST_WINDOW_AGE,
            SEALED_BATCHES,
            SEALED_EVENTS,
            DUPLICATE_EVENTS,
            RESIDENT_BYTES,
        ),
    ),
    (
        "Delivery",
        (
            ATTEMPTS,
            ATTEMPT_DURATION,
            FIRST_BYTE_LATENCY,
            DELIVERY_LATENCY,
            RECORDING_DELAY,
            IN_FLIGHT,
            WAITING_BATCHES,
            WAITING_EVENTS,
            OLDEST_WAITING_AGE,
            BREAKER_CHANGES,
            HELD_LANES,
            SHARED_RATES_ALONE,
            RETRIES,
            DELIVERED_BATCHES,
            DELIVERED_EVENTS,
            PARKED_BATCHES,
            PARKED_EVENTS,
            DISCARDED_BATCHES,
            DISCARDED_EVENTS,
        ),
    ),
    (
        "Inbound",
        (INBOUND_REQUESTS, INBOUND_DURATION, INBOUND_UNDER_WAY, INBOUND_CONNECTIONS, INBOUND_EVENTS, INBOUND_KEYS),
    ),
    ("Users", (USER_UPDATES, USER_INDEX_WAITING, USER_INDEX_INCOMPLETE)),
    ("Ledger", (LEDGER_EVENTS,)),
    ("Notices", (NOTICES, NOTICES_LOST)),
    (
        "Chunk engine and worker",
        (
            CHUNKS,
            CHUNK_RECORDS,
            CHUNK_BYTES,
            REMOVED_RECORDS,
            UNCOMMITTED_CHUNKS,
            COMMIT_AGE,
            CHANGELOG_BYTES,
            PRODUCED_BYTES,
            WORKER_INFO,
        ),
    ),
)
"""The catalogue as people read it: in the order of the flow."""

CATALOGUE: tuple[Metric, ...] = tuple(metric for _, metrics in SECTIONS for metric in metrics)
