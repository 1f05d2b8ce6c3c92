"""Records of the app's topics by their place, read from Kafka as a page asks for them."""

import asyncio
from collections.abc import Collection
from typing import Final

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from agents.topic_reader import Span, TopicReader
from pipeline.errors import NotFoundError, UnavailableError

WITHIN_S: Final = 5.0


async def read_record(brokers: str, topic: str, partition: int, offset: int) -> ConsumerRecord:
    """One record; raises ``NotFoundError`` where there is none and ``UnavailableError`` where Kafka does not answer."""
    for record in await read_spans(brokers, topic, {partition: (offset, offset + 1)}):
        if record.offset == offset:
            return record
    raise NotFoundError(
        f"{topic}, partition {partition} holds no record at offset {offset}: its retention or its compaction has removed it"
    )


async def read_spans(brokers: str, topic: str, spans: dict[int, Span]) -> list[ConsumerRecord]:
    """The records of these spans, as far as the topic holds them; raises ``UnavailableError``."""
    try:
        async with asyncio.timeout(WITHIN_S), TopicReader(brokers, topic) as reader:
            held = await reader.spans([number for number in await reader.partitions() if number in spans])
            cut = {
                number: (max(first, spans[number][0]), min(end, spans[number][1]))
                for number, (first, end) in held.items()
            }
            return await _read(reader, cut)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(f"{topic} cannot be read: {error or type(error).__name__}") from error


async def read_latest(brokers: str, topic: str, partitions: Collection[int], count: int) -> list[ConsumerRecord]:
    """What is at the last ``count`` offsets of each partition; raises ``UnavailableError``."""
    try:
        async with asyncio.timeout(WITHIN_S), TopicReader(brokers, topic) as reader:
            held = await reader.spans([number for number in await reader.partitions() if number in partitions])
            return await _read(
                reader, {number: (max(first, end - count), end) for number, (first, end) in held.items()}
            )
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(f"{topic} cannot be read: {error or type(error).__name__}") from error


async def _read(reader: TopicReader, spans: dict[int, Span]) -> list[ConsumerRecord]:
    found: list[ConsumerRecord] = []
    async for _, records in reader.read(spans):
        found += records
    return found
