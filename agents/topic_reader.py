"""Reading stretches of a topic, for commands and the view: no group, nothing committed."""

import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from agents.kafka_clients import start_whole, stop_whole

STALL_S = 60.0
MAX_RECORDS = 500
_POLL_MS = 500

Span = tuple[int, int]
"""Offsets ``[first, end)`` of a partition."""


class TopicReader:
    """A consumer of one topic for the length of an ``async with``.

    One that had read another topic before would know nothing of this one: its client keeps to what it was assigned.
    """

    def __init__(self, brokers: str, topic: str) -> None:
        self.topic = topic
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )

    async def __aenter__(self) -> Self:
        await start_whole(self._consumer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_whole(self._consumer)

    async def partitions(self) -> list[int]:
        """The topic's partitions; none where it does not exist."""
        if not self._consumer.partitions_for_topic(self.topic):
            await self._consumer._client.force_metadata_update()  # noqa: SLF001 aiokafka has no public way to ask for one topic
        return sorted(self._consumer.partitions_for_topic(self.topic) or ())

    async def spans(self, partitions: Iterable[int]) -> dict[int, Span]:
        """What each partition holds now."""
        tps = [TopicPartition(self.topic, number) for number in partitions]
        if not tps:
            return {}
        firsts, ends = await self._consumer.beginning_offsets(tps), await self._consumer.end_offsets(tps)
        return {tp.partition: (firsts[tp], ends[tp]) for tp in tps}

    async def offsets_at(self, at: Mapping[int, float]) -> dict[int, int | None]:
        """By partition, the first record that is not older than the partition's time (UNIX seconds), if there is one."""
        if not at:
            return {}
        asked = {TopicPartition(self.topic, number): max(0, int(seconds * 1000)) for number, seconds in at.items()}
        found = await self._consumer.offsets_for_times(asked)
        return {tp.partition: None if (place := found.get(tp)) is None else place.offset for tp in asked}

    async def read(
        self, spans: Mapping[int, Span], *, max_records: int = MAX_RECORDS, done: Collection[int] = ()
    ) -> AsyncIterator[tuple[int, list[ConsumerRecord]]]:
        """The records of these spans, each partition's in order; at most ``max_records`` at once.

        Partitions that the caller puts into ``done`` meanwhile are left alone from then on. Raises ``KafkaTimeoutError``
        where nothing comes for a minute.
        """
        ends = {TopicPartition(self.topic, number): end for number, (first, end) in spans.items() if first < end}
        if not ends:
            return
        consumer = self._consumer
        consumer.assign([*ends])
        for tp in ends:
            consumer.seek(tp, spans[tp.partition][0])
        left, waited_s = set(ends), 0.0
        while left:
            began_s = time.monotonic()
            found = await consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=max_records)
            waited_s = 0.0 if found else waited_s + time.monotonic() - began_s
            for tp, records in found.items():
                wanted = (
                    records if records[-1].offset < ends[tp] else [each for each in records if each.offset < ends[tp]]
                )
                if wanted and tp.partition not in done:
                    yield tp.partition, wanted
            left = {tp for tp in left if tp.partition not in done and await consumer.position(tp) < ends[tp]}
            if left and waited_s > STALL_S:
                where = ", ".join(str(tp.partition) for tp in sorted(left))
                raise KafkaTimeoutError(f"nothing came of {self.topic}, partition {where}, for {STALL_S:.0f} s")
