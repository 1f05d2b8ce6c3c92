"""What happened of late to each integration of this worker: events by hour, tries, the last success and the last error.

Both walk over much: the hours of every lane, and the index of tries. So what was read serves for many times as long as it took
to read, and while it is read anew whoever asks gets what there is.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import duckdb
import structlog

from agents.view.index import IndexService
from agents.view.sources.state import WorkerState
from pipeline.delivery.pending import HOUR_S
from pipeline.errors import UnavailableError
from pipeline.model.batch import integration_of
from pipeline.view.formats.pace import Turns

log = structlog.get_logger(__name__)

HOURS: Final = 24
SERVES_S: Final = 2.0
COST_SHARE: Final = 40
"""It serves this many times as long as it took to read."""
FIRST_WITHIN_S: Final = 0.5

_TRIES: Final = """
    SELECT integration, count(*) FILTER (WHERE "at" >= $since),
        count(*) FILTER (WHERE "at" >= $since AND verdict = 'delivered'),
        max("at") FILTER (WHERE verdict = 'delivered'), max("at") FILTER (WHERE verdict <> 'delivered'),
        arg_max(detail, "at") FILTER (WHERE verdict <> 'delivered')
    FROM attempts GROUP BY integration
"""


class Tries(NamedTuple):
    """What the index knows of an integration. Counts are of the last 24 hours, times UNIX seconds."""

    tries: int = 0
    delivered_tries: int = 0
    last_success_at: float | None = None
    last_error_at: float | None = None
    last_error: str | None = None


class Hourly(NamedTuple):
    """Events whose window was opened in each of the last 24 hours, the newest last; and how many of them failed."""

    delivered: list[int]
    failed: int


class Lately(NamedTuple):
    """By integration; ``tries`` is ``None`` where the index has not answered yet."""

    hours: Mapping[str, Hourly]
    tries: Mapping[str, Tries] | None


class Recent:
    """Keeps what was read last, and reads anew when somebody asks and it is old."""

    def __init__(self, state: WorkerState, index: IndexService) -> None:
        self._state = state
        self._index = index
        self._lately = Lately({}, None)
        self._of: frozenset[int] = frozenset()
        self._until_s = -math.inf
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> Lately:
        """What is known; nothing that the index would take long to say is waited for."""
        here = self._state.restored()
        is_other = here != self._of
        if is_other or self._state.clock.monotonic_s() > self._until_s:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._refresh(here))
            if is_other or not self._lately.hours:
                await asyncio.wait([self._reading], timeout=FIRST_WITHIN_S)
        return self._lately

    @property
    def is_whole(self) -> bool:
        """Whether the index knows all tries of what this worker answers for."""
        return self._index.partitions() >= self._state.restored() and not self._index.is_catching_up

    async def _refresh(self, here: frozenset[int]) -> None:
        clock = self._state.clock
        began_s = time.process_time()
        hours = await self._hours(here)
        self._lately, self._of = Lately(hours, self._lately.tries if here == self._of else None), here
        worked_s = time.process_time() - began_s
        began_s = clock.monotonic_s()
        tries = await self._tries()
        worked_s += clock.monotonic_s() - began_s
        self._lately = Lately(hours, tries)
        self._until_s = clock.monotonic_s() + max(SERVES_S, COST_SHARE * worked_s)

    async def _hours(self, here: frozenset[int]) -> dict[str, Hourly]:
        newest = int(self._state.clock.wall_s() // HOUR_S)
        oldest = newest - HOURS + 1
        found: dict[str, Hourly] = {}
        turns = Turns()
        for partition in sorted(here):
            for core in self._state.cores:
                for lane in list(core.pending_lanes(partition)):
                    hourly: Hourly | None = None
                    for hour, count in lane.hours.by_hour.items():
                        if not oldest <= hour <= newest:
                            continue
                        if hourly is None:
                            name = integration_of(lane.name)
                            hourly = found.get(name) or Hourly([0] * HOURS, 0)
                        hourly.delivered[hour - oldest] += count.delivered
                        failed = count.parked + count.discarded
                        if failed:
                            hourly = hourly._replace(failed=hourly.failed + failed)
                    if hourly is not None:
                        found[integration_of(lane.name)] = hourly
                    await turns.pause()
        return found

    async def _tries(self) -> dict[str, Tries] | None:
        since = self._state.clock.wall_s() - HOURS * HOUR_S

        def count(cursor: duckdb.DuckDBPyConnection) -> list[Any]:
            return cursor.execute(_TRIES, {"since": since}).fetchall()

        try:
            found = await self._index.read(count)
        except UnavailableError as error:
            log.debug("tries are not counted", error=str(error))
            return None
        return {row[0]: Tries(*row[1:]) for row in found}
