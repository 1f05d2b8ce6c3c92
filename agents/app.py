"""The Faust app of a worker: settings in, wired stages out.

``make_app`` builds it; ``agents.app:app`` is the one of the configuration at hand, so ``faust -A agents.app worker`` works.
"""

import gc
import os
import signal
import socket
from importlib.metadata import version
from typing import Any

import faust
import structlog

from agents import data_directory, deliver, observe, route, window
from agents.endpoints import Endpoints
from agents.engine import Chunk, ChunkApp
from agents.inbound import stage as inbound_stage
from agents.inbound.listening import Listening
from agents.integrations import Integrations
from agents.notices import NoticeSender
from agents.own_topics import ensure_own_topics
from agents.rates import Rates, needs_redis
from agents.readback import BatchReader
from agents.settings import current
from agents.stages import Stages
from agents.topology import MAX_RECORD_BYTES, Topology
from agents.users.attach import Learning
from agents.users.attach import attach as attach_users
from agents.users.lookup import Users
from agents.view.attach import Viewing
from agents.view.attach import attach as attach_view
from agents.view.web import ViewWeb
from pipeline import logs
from pipeline.clock import SystemClock
from pipeline.config.schema import Settings
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.observers import DeliveryObservers
from pipeline.errors import ConfigError
from pipeline.ingest.route import Router
from pipeline.local.servers import LocalServers
from pipeline.metrics import Metrics, catalogue
from pipeline.net.client import HttpClient
from pipeline.sinks.base import SinkContext
from pipeline.sinks.registry import SINKS

log = structlog.get_logger(__name__)

STOP_S = 1.0
COLLECT_AFTER_OBJECTS = 50_000
FETCH_BYTES = 2 << 20


class LoggingWorker(faust.Worker):
    """Faust's worker process with the project's log lines instead of Faust's."""

    def __init__(self, app: Any, *services: Any, **options: Any) -> None:
        super().__init__(app, *services, **{**options, "override_logging": False})
        self.spinner = None
        logs.configure(str(self.loglevel))

    async def start(self) -> None:
        """Start. Mistakes of the configuration that only now come to light are told a line each, and end the process."""
        try:
            return await super().start()
        except ConfigError as error:
            problems = error.problems
        for problem in problems:
            log.error("the worker cannot start", problem=problem)
        raise SystemExit(1)

    def _on_sigint(self) -> None:  # without the line of marks that Faust prints
        self._schedule_shutdown(signal.SIGINT)


class WorkerApp(ChunkApp):
    """A worker: the chunk engine, and what its stages need opened before and closed after them."""

    brokers: str
    client: HttpClient
    integrations: Integrations
    stages: Stages
    endpoints: Endpoints
    cores: list[DeliveryCore]
    readers: list[BatchReader]
    rates: Rates
    notices: NoticeSender
    topology: Topology
    inbound: inbound_stage.Inbound | None
    users: Users | None
    listening: Listening | None
    viewing: Viewing

    def _new_web(self) -> ViewWeb:
        return ViewWeb(self)

    async def on_start(self) -> None:
        """Create topics, open connections."""
        log.info(
            "worker starting",
            app=self.conf.id,
            topic=self.topology.source.get_topic_name(),
            integrations=self.integrations.in_file,
        )
        self.on_rebalance_complete.connect(self._tell_partitions)
        await super().on_start()
        await ensure_own_topics(self, self.topology, self.brokers)
        await self.client.open()
        await self.notices.open()
        for core in self.cores:
            await core.start()
            core.failure.add_done_callback(self._on_core_failed)
        await self.integrations.open(self.stages.change)
        await self.viewing.open()
        if self.users is not None:
            await self.users.open()
        if self.listening is not None:
            await self.listening.open()
        # What is here by now stays: a collection need not walk through it each time (a tenth of the CPU at full load).
        gc.collect()
        gc.freeze()
        # Records come and go by the thousand; with Python's own threshold of 700 objects that is a collection each time.
        gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)

    async def _tell_partitions(self, *_args: Any, **_options: Any) -> None:
        if self.is_assignment_partial:
            return
        names = {self.topology.source.get_topic_name(), self.topology.routed.get_topic_name()}
        owned = {name: sorted(tp.partition for tp in self.assignment() if tp.topic == name) for name in sorted(names)}
        log.info("worker ready", partitions=owned)

    def _on_core_failed(self, failure: Any) -> None:
        if not failure.cancelled() and failure.exception() is not None:
            self.add_future(self.crash(failure.exception()))

    async def on_stop(self) -> None:
        """Answer who has called, let the stages finish, then close."""
        if self.listening is not None:
            await self.listening.drain()
        await super().on_stop()
        for core in self.cores:
            await core.stop(STOP_S)
        for closing in (
            *([self.listening] if self.listening is not None else []),
            *([self.users] if self.users is not None else []),
            self.viewing,
            self.integrations,
            self.endpoints,
            *self.readers,
            self.rates,
            self.notices,
            self.client,
        ):
            await closing.close()
        gc.unfreeze()  # what is never collected, libraries report as leaked when the process ends

    def share_of_work(self) -> float:
        """Which part of all partitions is this worker's, above 0 and at most 1."""
        routed = self.topology.routed.get_topic_name()
        owned = sum(tp.topic == routed for tp in self.assignment())
        return max(1, owned) / self.conf.topic_partitions


def make_app(settings: Settings, brokers: str, redis_url: str = "") -> WorkerApp:
    """Wire a worker for ``brokers`` (``host:port,...``) and, where a rate is shared, the Redis at ``redis_url``."""
    metrics = Metrics(version("distributary"))
    clock = SystemClock()

    def on_chunk(chunk: Chunk, records: int) -> None:
        metrics.chunk(chunk.topic, records=records, size_bytes=chunk.size_bytes)

    app = WorkerApp(
        settings.app,
        on_chunk=on_chunk,
        on_removed=lambda tp, records: metrics.removed(tp.topic, records=records),
        broker=";".join(f"kafka://{broker}" for broker in brokers.split(",")),
        store=settings.store,
        datadir=data_directory.chosen(),
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=settings.worker.commit_interval_s,
        broker_session_timeout=settings.worker.session_timeout_s,
        broker_heartbeat_interval=settings.worker.session_timeout_s / 4,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        producer_max_batch_size=MAX_RECORD_BYTES,
        producer_max_request_size=2 * MAX_RECORD_BYTES,
        producer_request_timeout=60.0,
        web_bind=settings.view.host,
        web_host=settings.view.advertised(settings.view.host, socket.gethostname()),
        Worker=LoggingWorker,
    )
    app.brokers = brokers
    app.topology = topology = Topology.declare(app, settings)
    app.client = settings.outbound.client()
    context = SinkContext(client=app.client)
    app.notices = notices = NoticeSender(app, settings, client=app.client, clock=clock, metrics=metrics)
    app.rates = rates = Rates(settings.app, redis_url, clock, app.share_of_work)
    app.integrations = integrations = Integrations(
        app, topology, settings, brokers=brokers, clock=clock, client=app.client
    )
    app.cores, app.readers = [], []
    # The stages begin with no integrations at all: what is in force is put to work when the worker starts.
    router = Router((), settings.partitions, settings.source_epoch)
    routes_inbound = settings.inbound is not None and settings.inbound.route_inbound
    app.users, learning = None, None
    if settings.inbound is not None:
        app.users = attach_users(app, settings, clock, metrics, redis_url=redis_url, integrations=integrations)
        if settings.users.from_events:
            learning = Learning(router, app.users, clock)
    route.attach(
        app,
        topology,
        router,
        metrics,
        settings.partitions,
        routes_inbound=routes_inbound,
        learning=learning,
    )
    app.inbound = None
    if topology.inbound is not None:
        app.inbound = inbound_stage.attach(
            app,
            topology.inbound,
            settings,
            clock,
            metrics,
            integrations=integrations,
            notices=notices.notices,
            brokers=brokers,
        )
        metrics.watch(catalogue.INBOUND_KEYS, app.inbound.keys)
    windows = window.attach(app, topology, settings, clock, metrics, integrations=integrations, notices=notices.notices)
    deliveries = []
    for spec in SINKS:
        reader = BatchReader(brokers, topology.names.batches(spec.kind))
        core = DeliveryCore(
            spec.kind,
            {},
            clock,
            reader.read,
            observer=DeliveryObservers(observe.DeliveryMetrics(metrics, spec.kind, clock), notices.deliveries),
        )
        app.cores.append(core)
        app.readers.append(reader)
        deliveries.append(deliver.attach(app, topology, core, integrations=integrations, leaving=context.leaving))
    cores = {core.kind: core for core in app.cores}
    app.endpoints = Endpoints(cores, rates, context)
    app.stages = Stages(router, windows, cores, app.endpoints, notices=notices, metrics=metrics, worker=settings.worker)
    notices.watch(lambda: [lane for core in app.cores for lane in core.lanes()])
    metrics.watch(catalogue.SHARED_RATES_ALONE, rates.alone)
    observe.Gauges(app, topology, windows, deliveries, clock).watch(metrics)
    observe.attach(app, metrics, serves_metrics=settings.worker.metrics)
    app.viewing = attach_view(
        app,
        topology,
        settings,
        clock,
        integrations=integrations,
        windows=windows,
        cores=app.cores,
        brokers=brokers,
        inbound=app.inbound,
        directory=app.users,
    )
    integrations.ask_by(app.viewing.peers)
    app.listening = None
    if settings.inbound is not None and app.users is not None:
        app.users.ask_by(app.viewing.peers)
        app.listening = Listening(
            app,
            topology,
            settings,
            inbound=settings.inbound,
            clock=clock,
            metrics=metrics,
            integrations=integrations,
            users=app.users,
            redis_url=redis_url,
            share=app.share_of_work,
        )
    return app


def _configured_app() -> WorkerApp:
    settings = current()
    # Without brokers in the configuration, the worker command has started the local ones and named them here.
    named = ",".join(settings.brokers or ()) or os.environ.get("KAFKA_BROKERS")
    redis_url = settings.redis.get_secret_value() if settings.redis else os.environ.get("REDIS_URL", "")
    if needs_redis(settings) and not redis_url:
        redis_url = LocalServers().addresses.redis
    return make_app(settings, named or LocalServers().addresses.kafka, redis_url)


def __getattr__(name: str) -> Any:
    if name == "app":
        app = globals()["app"] = _configured_app()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
