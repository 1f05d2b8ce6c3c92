"""Workers that keep the directory of users, inside a test: the real Kafka, a real Redis."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from agents.engine import ChunkApp
from agents.users import directory
from agents.users.directory import Directory
from agents.users.keeper import IndexKeeper
from agents.users.lookup import Users
from agents.users.topology import UserFlow
from pipeline.clock import SystemClock
from pipeline.integrations.stored import AuditEntry
from pipeline.metrics import Metrics
from pipeline.users.index import UserIndex
from pipeline.users.updates import TrackUser
from tests.support.chunk_worker import make_app, running

PARTITIONS = 4
APPLICATION = "32E5A-9B411"
CLOCK = SystemClock()


class Audit:
    """Keeps what it is told, in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def record(self, entry: AuditEntry) -> AuditEntry:
        self.entries.append(entry)
        return entry


class UsersWorker:
    """One worker: its app, its directory, and what its requests would ask."""

    def __init__(
        self, name: str, address: str, redis_url: str, datadir: Path, *, timeout_s: float = 0.25, **options
    ) -> None:
        self.app: ChunkApp = make_app(name, address, datadir, topic_partitions=PARTITIONS, **options)
        self.flow = UserFlow.declare(self.app, name, partitions=PARTITIONS)
        self.index = UserIndex(redis_url, app=name, timeout_s=timeout_s)
        self.keeper = IndexKeeper(self.app, self.flow.table, self.index, CLOCK, PARTITIONS)
        self.audit = Audit()
        self.metrics = Metrics("test")
        known = Directory(
            self.app,
            self.flow,
            CLOCK,
            self.metrics,
            partitions=PARTITIONS,
            tags=("City",),
            keeper=self.keeper,
            audit=self.audit,
        )
        directory.attach(known, self.app, self.flow)
        self.directory = known
        self.users = Users(self.app, self.flow, CLOCK, partitions=PARTITIONS, index=self.index, keeper=self.keeper)

    @contextlib.asynccontextmanager
    async def running(self, *, is_ready: bool = True) -> AsyncIterator["UsersWorker"]:
        """Run, as the worker command has it: the topic first, the index after the app is there."""

        async def create(*_: object) -> None:
            await self.flow.updates.maybe_declare()

        on_start = self.app.on_start

        async def started() -> None:
            await on_start()
            await self.users.open()

        self.app.on_start = started  # type: ignore[method-assign]
        async with running(self.app, is_ready=is_ready):
            try:
                yield self
            finally:
                await self.users.close()

    def rows(self, prefix: bytes) -> dict[bytes, bytes]:
        """The rows of this worker's partitions whose keys begin so."""
        owned = [each for each in range(PARTITIONS) if self.flow.table.claim_of(each) is not None]
        return {
            key: value
            for partition in owned
            for key, value in self.flow.table.rows(partition)
            if key.startswith(prefix)
        }


def tracked(**named) -> TrackUser:
    """A user who was tracked just now."""
    return TrackUser(application=APPLICATION, at_us=int(CLOCK.wall_s() * 1e6), **named)


async def _work(told: dict[str, str]) -> None:
    worker = UsersWorker(told["name"], told["address"], told["redis_url"], Path(told["datadir"]))
    if told.get("stops_before_index"):
        worker.keeper.put = lambda *_: None  # type: ignore[method-assign]
    async with worker.running():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(json.loads(sys.argv[1])))
