"""Puts the directory of users together on one worker."""

from agents.engine import Chunk, ChunkApp
from agents.integrations import Integrations
from agents.users import directory
from agents.users.directory import Directory
from agents.users.keeper import IndexKeeper
from agents.users.lookup import Users
from agents.users.topology import UserFlow
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.ingest.route import Router
from pipeline.metrics import Metrics, catalogue
from pipeline.users.index import UserIndex
from pipeline.users.learning import Learner

_NO_REDIS = "redis://none.invalid"


def attach(
    app: ChunkApp, settings: Settings, clock: Clock, metrics: Metrics, *, redis_url: str, integrations: Integrations
) -> Users:
    """Declare the topic, the table and the agent; without Redis the directory is kept, and nobody can be looked up."""
    partitions = settings.partitions
    flow = UserFlow.declare(app, settings.app, partitions=partitions, max_chunk_bytes=settings.worker.max_chunk_bytes)
    index = UserIndex(redis_url or _NO_REDIS, app=settings.app, timeout_s=settings.users.redis_timeout_s)
    keeper = IndexKeeper(app, flow.table, index, clock, partitions)
    known = Directory(
        app,
        flow,
        clock,
        metrics,
        partitions=partitions,
        tags=settings.users.tags,
        keeper=keeper,
        audit=integrations,
    )
    directory.attach(known, app, flow)
    metrics.watch(catalogue.USER_INDEX_WAITING, lambda: [((), float(keeper.waiting_entries))])
    metrics.watch(catalogue.USER_INDEX_INCOMPLETE, lambda: [((), float(len(keeper.incomplete())))])
    return Users(app, flow, clock, partitions=partitions, index=index, keeper=keeper)


class Learning:
    """Users are learned from the events that a router reads."""

    def __init__(self, router: Router, users: Users, clock: Clock) -> None:
        self._learner = Learner()
        self._users = users
        self._clock = clock
        router.look = self._learner.look

    def finish(self, chunk: Chunk) -> None:
        """Hand on what was new in a chunk that was routed; it is not done before that is stored."""
        for sent in self._users.learn(self._learner.take(self._clock.wall_s())):
            chunk.follow(sent)
