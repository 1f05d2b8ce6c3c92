"""A delivery core with everything around it scripted: time, endpoints, the batches topic and the pending table.

``Delivering`` plays the agent: it appends batches to the topic, admits them, writes what the core hands out into the table
(checking in each stored prefix that the ledger balances) and can kill the core and start another one on what was stored.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from pipeline.clock import ManualClock
from pipeline.delivery.breaker import BreakerState, Change
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.endpoint import Endpoint
from pipeline.delivery.limits import DeliveryLimits
from pipeline.delivery.rows import BatchRow, Fate, HourRow, LaneRow, RowGroup, RowKind, decode_row, parse_key
from pipeline.delivery.views import LaneView
from pipeline.model.attempt import Attempt, Outcome, Parked, Verdict, decode_attempt, decode_parked
from pipeline.model.batch import Batch, SealReason, decode_batch
from pipeline.model.events import EventRun
from pipeline.model.integration import Integration
from pipeline.model.ranges import Ranges, count_of

OK = Outcome(Verdict.DELIVERED, "200 OK", status=200)
UNAVAILABLE = Outcome(Verdict.RETRY, "503 Service Unavailable", status=503)
NOT_FOUND = Outcome(Verdict.REFUSED, "404 Not Found", status=404)


def throttled(retry_after_s: float) -> Outcome:
    return Outcome(Verdict.RETRY, "429 Too Many Requests", status=429, retry_after_s=retry_after_s)


def integration(name: str, **keys) -> Integration:
    return Integration.model_validate(
        {"id": name, "kind": "http", "url": "https://endpoint.example/", "events": ["*"], "platforms": ["*"], **keys}
    )


def sealed(lane: str, first: int, end: int, sealed_at: float, event_bytes: int = 20) -> Batch:
    run = EventRun.of([b"%0*d" % (event_bytes, number) for number in range(first, end)])
    return Batch(lane, first, end, SealReason.COUNT, sealed_at, sealed_at, run.packed_ends(), run.block)


async def read_nothing(partition: int, offset: int) -> Batch:
    """Read back for a core that needs nothing read back."""
    raise AssertionError(f"nobody reads back {partition}, {offset}")


def ids(lane: str, count: int, start: int = 0) -> list[str]:
    """Names of batches of ten events each."""
    return [f"{lane}:{number * 10}-{number * 10 + 10}" for number in range(start, start + count)]


class ScriptedSink:
    """Answers with ``answers`` in turn and then with ``otherwise``; while it ``hangs`` it answers nobody until ``answer()``."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.answers: deque[Outcome | BaseException] = deque()
        self.otherwise: Outcome = OK
        self.hangs = False
        self.tries: list[str] = []
        self.tried_at: list[float] = []
        self.bodies: list[Batch] = []
        self.under_way: dict[str, asyncio.Future[Outcome]] = {}
        self.most_under_way = 0
        self.cancelled: list[str] = []

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        self.tries.append(batch.id)
        self.tried_at.append(now_s)
        self.bodies.append(batch)
        waiting = self.under_way[batch.id] = asyncio.get_running_loop().create_future()
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            if self.hangs:
                return await waiting
            return self._next_answer()
        except asyncio.CancelledError:
            self.cancelled.append(batch.id)
            raise
        finally:
            del self.under_way[batch.id]

    def _next_answer(self) -> Outcome:
        answer = self.answers.popleft() if self.answers else self.otherwise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def answer(self, outcome: Outcome = OK, count: int | None = None) -> None:
        for future in list(self.under_way.values())[:count]:
            if not future.done():
                future.set_result(outcome)


class Watcher:
    """Writes down what the core tells its observer."""

    def __init__(self) -> None:
        self.repeated_events = 0
        self.spilled_batches = 0
        self.finished_events: dict[Fate, int] = defaultdict(int)
        self.attempts = 0
        self.started_attempts = 0
        self.recording_delays_s: list[float] = []
        self.halted_lanes: list[str] = []
        self.breaker_changes: list[tuple[str, BreakerState]] = []

    def started(self, *_: object) -> None:
        self.started_attempts += 1

    def attempted(self, *_: object) -> None:
        self.attempts += 1

    def finished(self, _lane: str, events: int, fate: Fate, _waited_s: float, _reason: str) -> None:
        self.finished_events[fate] += events

    def arrived(self, _lane: str, events: int) -> None:
        self.finished_events[Fate.DELIVERED] += events

    def halted(self, lane: str, _detail: str) -> None:
        self.halted_lanes.append(lane)

    def breaker_changed(self, lane: str, change: Change) -> None:
        self.breaker_changes.append((lane, change.state))

    def repeated(self, _lane: str, events: int) -> None:
        self.repeated_events += events

    def recorded(self, delay_s: float) -> None:
        self.recording_delays_s.append(delay_s)

    def spilled(self, *_: object) -> None:
        self.spilled_batches += 1


class Table:
    """One partition of a pending table: what was stored."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def store(self, groups: Iterable[RowGroup]) -> None:
        for group in groups:
            for key, value in group:
                if value is None:
                    del self.rows[key]
                else:
                    self.rows[key] = value
            self.check_ledger()

    def check_ledger(self) -> None:
        registered: dict[str, int] = {}
        done: dict[str, int] = {}
        by_hour: dict[str, int] = defaultdict(int)
        waiting: dict[str, int] = defaultdict(int)
        for key, value in self.rows.items():
            lane, kind, first = parse_key(key)
            match kind:
                case RowKind.LANE:
                    row = decode_row(LaneRow, key, value)
                    registered[lane], done[lane] = row.registered, row.done_events
                case RowKind.BATCH:
                    waiting[lane] += count_of(ranges_in(decode_row(BatchRow, key, value), first))
                case RowKind.HOUR:
                    hour = decode_row(HourRow, key, value)
                    by_hour[lane] += hour.registered
                    assert hour.registered >= hour.delivered + hour.parked + hour.discarded
        assert registered == {lane: events + waiting.pop(lane, 0) for lane, events in done.items()}
        assert not waiting, "batch rows without a lane row"
        assert {lane: events for lane, events in registered.items() if events} == by_hour

    def waiting(self) -> list[str]:
        return sorted(key.decode() for key in self.rows if parse_key(key).kind is RowKind.BATCH)


def ranges_in(row: BatchRow, first: int) -> Ranges:
    return row.rest or ((first, row.end),)


class Delivering:
    def __init__(self, *integrations: Integration, limits: DeliveryLimits | None = None) -> None:
        self.clock = ManualClock()
        self.integrations = {each.id: each for each in integrations}
        self.sinks = {each.id: ScriptedSink(self.clock) for each in integrations}
        self.limits = limits or DeliveryLimits()
        self.watcher = Watcher()
        self.topic: dict[int, list[Batch]] = defaultdict(list)
        self.next_first: dict[str, int] = defaultdict(int)
        self.tables: dict[int, Table] = defaultdict(Table)
        self.attempts: list[Attempt] = []
        self.parked: list[Parked] = []
        self.read_back: list[int] = []
        self.reads_hang = False
        self.core = self._new_core()

    def _new_core(self) -> DeliveryCore:
        endpoints = {name: Endpoint(each, self.sinks[name]) for name, each in self.integrations.items()}
        return DeliveryCore("http", endpoints, self.clock, self._read, limits=self.limits, observer=self.watcher)

    async def _read(self, partition: int, offset: int) -> Batch:
        self.read_back.append(offset)
        await asyncio.sleep(0)
        if self.reads_hang:
            await asyncio.get_running_loop().create_future()
        return self.topic[partition][offset]

    def sink(self, name: str = "crm") -> ScriptedSink:
        return self.sinks[name]

    async def start(self, partitions: Iterable[int] = (0,)) -> None:
        await self.core.start()
        for partition in partitions:
            self.core.restore(partition, list(self.tables[partition].rows.items()))

    def seal(self, lane: str = "crm", events: int = 10, *, partition: int = 0, event_bytes: int = 20) -> int:
        """Append the lane's next batch to the topic; returns its offset."""
        first = self.next_first[lane]
        self.next_first[lane] = first + events
        self.topic[partition].append(sealed(lane, first, first + events, self.clock.wall_s(), event_bytes))
        return len(self.topic[partition]) - 1

    def feed(self, offset: int, partition: int = 0) -> None:
        self.core.admit(partition, offset, self.topic[partition][offset])

    def send(
        self, lane: str = "crm", batches: int = 1, events: int = 10, *, partition: int = 0, event_bytes: int = 20
    ) -> None:
        """Seal and admit."""
        for _ in range(batches):
            self.feed(self.seal(lane, events, partition=partition, event_bytes=event_bytes), partition)

    async def calm(self) -> None:
        """Let everything happen that needs no time to pass."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        await self.calm()
        self.clock.move(seconds)
        self.core.wake()
        await self.calm()

    async def write(self, partition: int = 0) -> list[RowGroup]:
        """Take, and store what was taken."""
        await self.calm()
        writes = self.core.take(partition)
        self.attempts += [decode_attempt(value) for _, value in writes.attempts]
        self.parked += [decode_parked(value) for _, value in writes.parked]
        groups = writes.groups + writes.groups_after_parked
        self.tables[partition].store(groups)
        return groups

    async def restart(self, *, change: Callable[["Delivering"], None] = lambda _: None) -> None:
        """Kill the core as it stands and start another one on what was stored."""
        for partition in list(self.tables) or [0]:
            self.core.revoke(partition)
        await self.core.stop(0)
        change(self)
        self.core = self._new_core()
        await self.start(list(self.tables) or [0])

    def lane(self, name: str = "crm") -> LaneView:
        return next(view for view in self.core.lanes() if view.lane == name)

    def lane_is_idle(self, name: str) -> bool:
        return self.lane(name).waiting_batches == 0

    def parked_ids(self) -> list[str]:
        return [decode_batch(parked.batch).id for parked in self.parked]


@asynccontextmanager
async def delivering(
    *integrations: Integration, limits: DeliveryLimits | None = None, partitions: Iterable[int] = (0,)
) -> AsyncIterator[Delivering]:
    """A started core for the duration of a test."""
    around = Delivering(*integrations, limits=limits)
    await around.start(partitions)
    try:
        yield around
    finally:
        await around.core.stop(0)
