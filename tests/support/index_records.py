"""Records of the topics that the index reads, as Kafka hands them over."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.model.attempt import Attempt, Parked, Verdict, encode_attempt, encode_parked
from pipeline.model.batch import Batch, Request, SealReason, encode_batch
from pipeline.model.events import EventRun
from pipeline.view.index.lines import Feed, Staged

BATCHES = Feed("app-batches-http", "batches", "http")
ATTEMPTS = Feed("app-attempts", "attempts")
PARKED = Feed("app-parked", "parked")
DEAD_LETTERS = Feed("app-dead-letters", "dead_letters")
NOTICES = Feed("app-notices", "notices")


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def batch(lane: str, first: int, end: int, at: float = 1000.0, request: Request | None = None) -> Batch:
    run = EventRun.of([b'{"n":%d}' % number for number in range(first, end)])
    return Batch(lane, first, end, SealReason.COUNT, at - 5, at, run.packed_ends(), run.block, request=request)


def attempt(batch_id: str, number: int, final: str | None, at: float = 1001.0, events: int = 100, **more) -> Attempt:
    verdict = Verdict.DELIVERED if final == "delivered" else Verdict.RETRY
    status = 200 if final == "delivered" else 503
    told = {"verdict": verdict, "detail": f"answered {status}", "status": status, **more}
    return Attempt(
        batch=batch_id,
        integration=batch_id.partition(":")[0].partition("~")[0],
        kind="http",
        attempt=number,
        at=at,
        events=events,
        duration_s=0.25,
        request_bytes=4000,
        answer_bytes=2,
        final=final,
        **told,
    )


class Topics:
    """Stages records with offsets that go on, as the topics do."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.offsets: dict[str, int] = {}

    def staged(self, *records: Batch | Attempt | Parked) -> Staged:
        staged = Staged()
        for record in records:
            match record:
                case Batch():
                    self.stage(staged, BATCHES, encode_batch(record))
                case Attempt():
                    self.stage(staged, ATTEMPTS, encode_attempt(record))
                case Parked():
                    self.stage(staged, PARKED, encode_parked(record))
        return staged

    def stage(self, staged: Staged, feed: Feed, value: bytes | None, key: bytes | None = None, headers=()) -> None:
        offset = self.offsets.get(feed.topic, 0)
        self.offsets[feed.topic] = offset + 1
        feed.stage(self.partition, [Record(offset, 1_000_000, key, value, headers)], staged)
