"""Replays that people start in the view: one after the other, at a bounded rate, each row with what came of it.

A replay runs on the worker that was asked for it and is forgotten with it. What it asked for is not: a parked batch is taken
up once, however often it is asked for, so a replay that was cut short can be started again.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec
import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from agents.commands.sender import RecordSender
from agents.view.peers import Peers
from agents.view.records import SingleRecords
from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.delivery.rate import TokenBucket
from pipeline.errors import CodecError, NotFoundError, UnavailableError, ViewError
from pipeline.view.apply import select
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer

log = structlog.get_logger(__name__)

STOP_PATH: Final = "replays/stop"
MOST_RUNNING: Final = 4
MOST_REMEMBERED: Final = 50
MOST_ROWS: Final = 50_000
STOP_WITHIN_S: Final = 2.0
READ_WITHIN_S: Final = 10.0

PARKED: Final = "parked batches"
DEAD_LETTERS: Final = "dead letters"

State = Literal["running", "done", "stopped", "failed"]

JOB_COLUMNS: Final[Columns] = (
    Column("started_at", "Started", Kind.TIME, link="/replays/{id}"),
    Column("what", "What", Kind.STATE, "parked batches or dead letters"),
    Column("who", "By", Kind.TEXT),
    Column("which", "Which", Kind.TEXT, "The conditions that were chosen by."),
    Column("state", "State", Kind.STATE),
    Column("chosen", "Chosen", Kind.INTEGER),
    Column("asked", "Asked for", Kind.INTEGER, "Sent on their way again."),
    Column("gone", "Gone", Kind.INTEGER, "Their record has left its topic."),
    Column("failed", "Failed", Kind.INTEGER),
    Column("ended_at", "Ended", Kind.TIME),
    Column("rate", "A second", Kind.NUMBER, "How many a second at most."),
    Column("id", "Id", Kind.CODE, is_wide=True),
)
ROW_COLUMNS: Final[Columns] = (
    Column("number", "Number", Kind.INTEGER),
    Column("batch", "Batch", Kind.CODE, link="/batches/{batch}"),
    Column("letter", "Dead letter", Kind.CODE, link="/dead-letters/{partition}/{offset}"),
    Column("outcome", "Outcome", Kind.STATE, "waiting, asked, gone or failed"),
    Column("detail", "Detail", Kind.TEXT),
    Column("at", "At", Kind.TIME),
    Column("partition", "Partition", Kind.INTEGER, is_wide=True),
    Column("offset", "Offset", Kind.INTEGER, is_wide=True),
    Column("job", "Replay", Kind.CODE, is_wide=True),
    Column("row", "Row", Kind.CODE, is_wide=True),
)


class Item(NamedTuple):
    """A record that is to be sent again: where it lies, and what people call it."""

    name: str
    partition: int
    offset: int


class Sent(NamedTuple):
    """What a record becomes: where it goes, and its key and value."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


@dataclass(slots=True)
class Job:
    """One replay. ``make`` turns the record that an item stands for into what is sent; it raises ``CodecError``."""

    id: str
    what: str
    which: str
    who: str
    topic: str
    items: Sequence[Item]
    rate: float
    make: Callable[[ConsumerRecord], Sent]
    started_at: float
    state: State = "running"
    ended_at: float | None = None
    outcomes: list[tuple[str, str, float | None]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def row(self) -> Row:
        """For the list of replays."""
        return {
            "id": self.id,
            "started_at": self.started_at,
            "what": self.what,
            "who": self.who,
            "which": self.which,
            "state": self.state,
            "chosen": len(self.items),
            **{name: self.counts[name] for name in ("asked", "gone", "failed")},
            "ended_at": self.ended_at,
            "rate": self.rate,
        }


class Replays:
    """The replays of this worker, and the way to those of the others."""

    def __init__(self, brokers: str, peers: Peers, clock: Clock) -> None:
        self._brokers = brokers
        self._peers = peers
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        peers.serve(STOP_PATH, self._stop_here)

    async def close(self) -> None:
        """Stop all that run."""
        await cancelled(self._tasks.values())

    def check_room(self, items: int) -> None:
        """Raise ``ViewError`` where a replay of so many rows could not be started."""
        if not items:
            raise NotFoundError("nothing that can be replayed fits")
        if items > MOST_ROWS:
            raise ViewError(
                f"{items:,} rows are more than one replay takes ({MOST_ROWS:,}); choose fewer, by time for example"
            )
        if sum(job.state == "running" for job in self._jobs.values()) >= MOST_RUNNING:
            raise UnavailableError(
                f"{MOST_RUNNING} replays are running on this worker; wait for one of them, or stop it"
            )

    def start(
        self,
        what: str,
        *,
        which: str,
        who: str,
        topic: str,
        items: Sequence[Item],
        rate: float,
        make: Callable[[ConsumerRecord], Sent],
    ) -> Job:
        """Begin to send the records of ``topic`` that ``items`` names again, at most ``rate`` a second."""
        self.check_room(len(items))
        ordered = sorted(items, key=lambda item: (item.partition, item.offset))
        job = Job(secrets.token_hex(6), what, which, who, topic, ordered, rate, make, self._clock.wall_s())
        job.outcomes = [("waiting", "", None)] * len(ordered)
        for old in [each for each in self._jobs.values() if each.state != "running"][
            : len(self._jobs) + 1 - MOST_REMEMBERED
        ]:
            del self._jobs[old.id]
        self._jobs[job.id] = job
        task = self._tasks[job.id] = asyncio.get_running_loop().create_task(self._run(job))
        task.add_done_callback(lambda _done: self._tasks.pop(job.id, None))
        return job

    async def stop(self, job_id: str) -> None:
        """Stop a replay, whichever worker runs it; raises ``NotFoundError`` where none does."""
        asked = msgspec.json.encode(job_id)
        found = await asyncio.gather(
            *(
                self._peers.call(url, STOP_PATH, asked, STOP_WITHIN_S)
                for url in {*self._peers.owners(), self._peers.own_url}
            ),
            return_exceptions=True,
        )
        if b"true" not in found:
            raise NotFoundError(f"no worker that answers runs replay {job_id[:40]}; it has ended")

    async def _stop_here(self, body: bytes) -> bytes:
        task = self._tasks.get(msgspec.json.decode(body, type=str))
        if task is None:
            return b"false"
        task.cancel()
        return b"true"

    def jobs(self) -> list[Row]:
        """Those of this worker."""
        return [job.row() for job in self._jobs.values()]

    def rows(self) -> list[Row]:
        """Each row of each replay of this worker."""
        return [
            {
                "row": f"{job.id}/{number:06d}",
                "job": job.id,
                "number": number + 1,
                "batch": item.name if job.what == PARKED else None,
                "letter": item.name if job.what == DEAD_LETTERS else None,
                "partition": item.partition,
                "offset": item.offset,
                "outcome": outcome,
                "detail": detail,
                "at": at,
            }
            for job in self._jobs.values()
            for number, (item, (outcome, detail, at)) in enumerate(zip(job.items, job.outcomes, strict=True))
        ]

    async def _run(self, job: Job) -> None:
        try:
            async with SingleRecords(self._brokers, job.topic) as records, RecordSender(self._brokers) as sender:
                await self._send_all(job, records, sender)
            job.state = "done"
        except asyncio.CancelledError:
            job.state = "stopped"
        except (KafkaError, TimeoutError) as error:
            job.state = "failed"
            log.warning("a replay failed", replay=job.id, error=repr(error))
        finally:
            job.ended_at = self._clock.wall_s()
            log.info("replay ended", replay=job.id, state=job.state, **job.counts)

    async def _send_all(self, job: Job, records: SingleRecords, sender: RecordSender) -> None:
        bucket = TokenBucket(job.rate, max(1.0, job.rate * 0.1))
        for number, item in enumerate(job.items):
            await self._turn(bucket)
            async with asyncio.timeout(READ_WITHIN_S):
                record = await records.read(item.partition, item.offset)
            outcome, detail = "gone", f"its record has left {job.topic}"
            if record is not None:
                try:
                    sent = job.make(record)
                except CodecError as error:
                    outcome, detail = "failed", str(error)
                else:
                    await sender.send(sent.topic, sent.partition, sent.key, sent.value)
                    await sender.flush()
                    outcome, detail = "asked", ""
            job.outcomes[number] = outcome, detail, self._clock.wall_s()
            job.counts[outcome] += 1

    async def _turn(self, bucket: TokenBucket) -> None:
        """Wait for the rate's next turn."""
        pause_s = bucket.try_take(1.0, self._clock.monotonic_s())
        if pause_s > 0:
            await asyncio.sleep(pause_s)
            await self._turn(bucket)


class _OfWorker:
    """Rows that every worker has of its own, whatever partitions it owns."""

    def __init__(self, peers: Peers, name: str, columns: Columns, rows: Callable[[], list[Row]]) -> None:
        self.name = name
        self.columns = columns
        self._peers = peers
        self._rows = rows
        self.key, self.sort, self.is_descending = "id", "started_at", True

    def partitions(self) -> frozenset[int]:
        """All of the worker's."""
        return self._peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find rows; nothing in them is personal."""
        del masks
        found = select(self._rows(), query, self.columns)
        return Answer(found.rows, found.has_more, found.matching, found.facets)


def replay_sources(replays: Replays, peers: Peers) -> list[Any]:
    """The list of replays, and the rows of each, for :meth:`Gather.offer`."""
    rows = _OfWorker(peers, "replay_rows", ROW_COLUMNS, replays.rows)
    rows.key, rows.sort, rows.is_descending = "row", "number", False
    return [_OfWorker(peers, "replays", JOB_COLUMNS, replays.jobs), rows]
