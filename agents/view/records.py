"""Single records and searched stretches of topics, for pages: no group, nothing committed."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from agents.kafka_clients import start_whole, stop_whole
from agents.topic_reader import Span, TopicReader
from pipeline.errors import NotFoundError, UnavailableError

log = structlog.get_logger(__name__)

READ_WITHIN_S: Final = 4.0
GONE_AFTER_S: Final = 0.3
SKIPPED_RECORDS: Final = 500
"""Up to this far ahead it is cheaper to read on than to seek."""
RECORDS_AT_ONCE: Final = 250
AT_ONCE: Final = 4
SEARCHES_AT_ONCE: Final = 4


class SingleRecords:
    """Reads records of one topic by their places, for the length of an ``async with``; ascending offsets are cheap."""

    def __init__(self, brokers: str, topic: str) -> None:
        self.topic = topic
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=256 << 10,
        )
        self._next: tuple[int, int] | None = None
        self._ends: dict[int, Span] = {}

    async def __aenter__(self) -> Self:
        await start_whole(self._consumer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_whole(self._consumer)

    async def read(self, partition: int, offset: int) -> ConsumerRecord | None:
        """The record at this place; ``None`` where there is none, or none any more. Raises ``KafkaError``."""
        tp = TopicPartition(self.topic, partition)
        if (
            self._next is None
            or self._next[0] != partition
            or not self._next[1] <= offset <= self._next[1] + SKIPPED_RECORDS
        ):
            self._consumer.assign([tp])
            self._ends[partition] = (
                (await self._consumer.beginning_offsets([tp]))[tp],
                (await self._consumer.end_offsets([tp]))[tp],
            )
            if not self._holds(partition, offset):
                return None
            self._consumer.seek(tp, offset)
        self._next = None  # a read that is cancelled leaves the consumer anywhere
        while True:
            record = await self._consumer.getone(tp)
            if record.offset >= offset:
                self._next = (partition, record.offset + 1)
                return record if record.offset == offset else None

    def _holds(self, partition: int, offset: int) -> bool:
        first, end = self._ends[partition]
        return first <= offset < end


class Records:
    """Reads for pages; a few at once, so that they take nothing from the flow."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self._free = asyncio.Semaphore(AT_ONCE)
        self._searching = asyncio.Semaphore(SEARCHES_AT_ONCE)

    async def one(self, topic: str, partition: int, offset: int) -> ConsumerRecord:
        """One record. Raises ``NotFoundError`` where it is not there any more, ``UnavailableError`` where Kafka is silent."""
        try:
            async with asyncio.timeout(READ_WITHIN_S), self._free, TopicReader(self.brokers, topic) as reader:
                if partition in await reader.partitions():
                    first, end = (await reader.spans([partition]))[partition]
                    if first <= offset < end:
                        async with aclosing(reader.read({partition: (offset, offset + 1)})) as found:  # type: ignore[type-var]
                            async for _, records in found:
                                return records[0]
        except (KafkaError, TimeoutError) as error:
            raise _silent(topic, error) from error
        raise NotFoundError(f"{topic}, partition {partition}, has no record at offset {offset}, or has it no more")

    async def tail(self, topic: str, most: int) -> list[ConsumerRecord]:
        """The last records of a topic, of each partition its share, the newest first."""
        found: list[ConsumerRecord] = []
        try:
            async with asyncio.timeout(READ_WITHIN_S), self._free, TopicReader(self.brokers, topic) as reader:
                spans = await reader.spans(await reader.partitions())
                last = {number: (max(first, end - most), end) for number, (first, end) in spans.items()}
                async for _, records in reader.read(last):
                    found += records
        except TimeoutError as error:
            if not found:
                raise _silent(topic, error) from error
        except KafkaError as error:
            raise _silent(topic, error) from error
        return sorted(found, key=lambda record: (record.timestamp, record.offset), reverse=True)[:most]

    async def spans(self, topic: str, since: float | None, until: float | None) -> dict[int, Span]:
        """What each partition holds of a stretch of time (UNIX seconds)."""
        try:
            async with asyncio.timeout(READ_WITHIN_S), self._free, TopicReader(self.brokers, topic) as reader:
                whole = await reader.spans(await reader.partitions())
                begins, ends = await _offsets(reader, whole, since), await _offsets(reader, whole, until)
        except (KafkaError, TimeoutError) as error:
            raise _silent(topic, error) from error
        found = {}
        for number, (first, end) in whole.items():
            begin = first if since is None else begins[number] if begins[number] is not None else end
            stop = end if until is None or ends[number] is None else ends[number]
            assert begin is not None
            assert stop is not None
            found[number] = (min(max(first, begin), stop), stop)
        return found

    async def each(self, topic: str, spans: Mapping[int, Span]) -> AsyncGenerator[tuple[int, list[ConsumerRecord]]]:
        """The records of these spans, some at a time, as fast as they are taken; the flow has its turn in between.

        Raises ``UnavailableError`` where Kafka is silent, or too many search already.
        """
        if not any(first < end for first, end in spans.values()):
            return  # a consumer that is stopped at once, before it has run, takes its caller for cancelled
        if self._searching.locked():
            raise UnavailableError(f"{SEARCHES_AT_ONCE} searches run on this worker already; try again in a moment")
        try:
            async with self._searching, TopicReader(self.brokers, topic) as reader:
                async for partition, records in reader.read(spans, max_records=RECORDS_AT_ONCE):
                    yield partition, records
                    await asyncio.sleep(0)
        except KafkaError as error:
            raise _silent(topic, error) from error


async def _offsets(reader: TopicReader, whole: Iterable[int], at: float | None) -> dict[int, int | None]:
    return {} if at is None else await reader.offsets_at(dict.fromkeys(whole, at))


def _silent(topic: str, error: BaseException) -> UnavailableError:
    log.warning("a topic cannot be read for a page", topic=topic, error=repr(error))
    return UnavailableError(f"{topic} cannot be read just now: Kafka does not answer; try again")


def place_in(match: Mapping[str, str]) -> tuple[int, int]:
    """``{partition}`` and ``{offset}`` of a path; raises ``NotFoundError`` where they are no numbers."""
    numbers: list[int] = []
    for name in ("partition", "offset"):
        text = match.get(name, "")
        if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 as many digits as an offset has at most
            raise NotFoundError(f"{text[:40]!r} is no {name}: it is a number")
        numbers.append(int(text))
    return numbers[0], numbers[1]


def decoded(value: bytes | None, limit: int) -> dict[str, Any]:
    """Bytes as people look at them: as text, and as the bytes themselves, of at most ``limit`` bytes."""
    if value is None:
        return {"text": None, "hex": None, "bytes": None, "is_cut": False}
    shown = value[:limit]
    lines = []
    for at in range(0, min(len(shown), limit // 16), 16):
        part = shown[at : at + 16]
        plain = "".join(chr(each) if 32 <= each < 127 else "." for each in part)  # noqa: PLR2004 what ASCII can print
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {plain}")
    return {
        "text": shown.decode("utf-8", "replace"),
        "hex": "\n".join(lines),
        "bytes": len(value),
        "is_cut": len(value) > limit,
    }
