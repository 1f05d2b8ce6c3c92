"""Source events of the past, for previews: a bounded number, in a bounded time, spread over the whole stretch asked for."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from agents.topic_reader import Span, TopicReader
from pipeline.errors import UnavailableError
from pipeline.ingest.decode import EventDecoder
from pipeline.ingest.event import Event

log = structlog.get_logger(__name__)

HOUR_S: Final = 3600.0
USUAL_EVENTS: Final = 20_000
MOST_EVENTS: Final = 200_000
DEADLINE_S: Final = 4.0
AT_ONCE: Final = 2
_WAIT_S: Final = 2.0
_STRETCHES: Final = 12
_TURN_RECORDS: Final = 250
"""Records that are decoded before others get a turn: about 2 ms."""


class Asked(NamedTuple):
    """Which events: of the last ``seconds`` (``None``: the latest, whenever they came), at most ``most_events`` of them."""

    seconds: float | None = HOUR_S
    most_events: int = USUAL_EVENTS


class Read(msgspec.Struct):
    """What was read.

    ``records`` are all that the stretch holds, ``read`` those that were looked at, ``unusable`` those among them that are no
    event. ``first_at`` and ``last_at`` are times of records, UNIX seconds.

    ``is_whole`` says that nothing was left out; ``is_late`` that time ran out before the sample was complete.
    """

    records: int = 0
    read: int = 0
    unusable: int = 0
    first_at: float | None = None
    last_at: float | None = None
    is_late: bool = False
    took_s: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether every record was looked at."""
        return self.read >= self.records

    def count(self, records: Sequence[ConsumerRecord], unusable: int) -> None:
        """Take ``records`` into account, of which some were ``unusable``."""
        self.read += len(records)
        self.unusable += unusable
        times = [record.timestamp / 1000 for record in records]
        self.first_at = min(times if self.first_at is None else (self.first_at, *times))
        self.last_at = max(times if self.last_at is None else (self.last_at, *times))

    def estimate(self, count: int) -> int:
        """What ``count`` of the events read would be of all."""
        return count if self.is_whole or not self.read else round(count * self.records / self.read)


class PastEvents:
    """Reads the source topic for whoever asks, a few at once."""

    def __init__(self, brokers: str, topic: str, source_epoch: int) -> None:
        self._brokers = brokers
        self._topic = topic
        self._source_epoch = source_epoch
        self._free = asyncio.Semaphore(AT_ONCE)

    async def read(self, asked: Asked, take: Callable[[list[Event]], None], *, now_s: float) -> Read:
        """Give ``take`` decoded events, some at a time; what was read is told at the end.

        Where there are more than are asked for, they come from stretches spread evenly over all. Raises ``UnavailableError``
        where the broker does not answer, or others are being served.
        """
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise UnavailableError("other previews are being made on this worker; try again in a few seconds") from None
        read = Read()
        try:
            async with asyncio.timeout(DEADLINE_S), TopicReader(self._brokers, self._topic) as reader:
                await self._read(reader, asked, read, take, now_s)
        except TimeoutError:
            if not read.read:
                raise UnavailableError(f"the events of {self._topic} could not be read in time; try again") from None
            read.is_late = True
        except KafkaError as error:
            log.warning("events of the past cannot be read", topic=self._topic, error=repr(error))
            raise UnavailableError(f"the events of {self._topic} cannot be read just now; try again") from error
        finally:
            self._free.release()
        read.took_s = time.monotonic() - started_s
        return read

    async def _read(
        self, reader: TopicReader, asked: Asked, read: Read, take: Callable[[list[Event]], None], now_s: float
    ) -> None:
        spans = await self._spans(reader, asked, now_s)
        read.records = sum(end - first for first, end in spans.values())
        for stretch in stretches(spans, asked.most_events):
            async for partition, records in reader.read(stretch, max_records=_TURN_RECORDS):
                run = EventDecoder(self._topic, partition, self._source_epoch).decode_run(records)
                read.count(records, len(run.dead))
                take(run.events)
                await asyncio.sleep(0)

    async def _spans(self, reader: TopicReader, asked: Asked, now_s: float) -> dict[int, Span]:
        """The offsets of each partition that were asked for."""
        spans = await reader.spans(await reader.partitions())
        if asked.seconds is None:
            share = -(-asked.most_events // max(1, len(spans)))
            return {number: (max(first, end - share), end) for number, (first, end) in spans.items()}
        since = await reader.offsets_at(dict.fromkeys(spans, now_s - asked.seconds))
        return {
            number: (max(first, min(end, end if (offset := since[number]) is None else offset)), end)
            for number, (first, end) in spans.items()
        }


def stretches(spans: dict[int, Span], most_events: int, count: int = _STRETCHES) -> list[dict[int, Span]]:
    """Cut ``spans`` down to about ``most_events`` offsets in all, in ``count`` stretches of each, spread evenly.

    Where there are no more than that, the answer is all of them, at once. Every partition has its share by its size.
    """
    total = sum(end - first for first, end in spans.values())
    if total <= most_events:
        return [spans] if total else []
    parts: list[dict[int, Span]] = [{} for _ in range(count)]
    for number, (first, end) in spans.items():
        size = end - first
        length = max(1, round(most_events * size / total / count)) if size else 0
        if length * count >= size:
            parts[0][number] = (first, end)
            continue
        for place, part in enumerate(parts):
            start = first + (size - length) * place // (count - 1)
            part[number] = (start, start + length)
    return [part for part in parts if part]
