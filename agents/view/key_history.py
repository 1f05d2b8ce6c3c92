"""One key's records in a table's changelog, and which of them count."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from agents.engine.claim import CLAIM_HEADER, CLAIM_KEY, supersedes
from agents.topic_reader import TopicReader
from pipeline.errors import UnavailableError
from pipeline.view.formats.pace import Turns

WITHIN_S: Final = 4.0
MOST_VERSIONS: Final = 1000


class Version(NamedTuple):
    """One record of a key. ``counts`` is false where a former owner wrote it too late; ``claim`` is the writer's, if known."""

    record: ConsumerRecord
    counts: bool
    claim: bytes | None


@dataclass(slots=True)
class History:
    """A key's records, the oldest first; ``is_whole`` says that nothing was left out for time or number."""

    versions: deque[Version] = field(default_factory=lambda: deque(maxlen=MOST_VERSIONS))
    records_read: int = 0
    is_whole: bool = True


class Judge:
    """Tells which rows count as a changelog is read, also from its middle: claims are renewed all the time."""

    def __init__(self) -> None:
        self._claim: bytes | None = None
        self.writer: bytes | None = None

    def counts(self, record: Any) -> bool:
        """Whether the next record counts."""
        self.writer = next((value for name, value in record.headers if name == CLAIM_HEADER), self.writer)
        # Who writes under a claim has claimed before, even where that was not read.
        for shown in (self.writer, record.value if record.key == CLAIM_KEY else None):
            if shown is not None and supersedes(shown, self._claim):
                self._claim = shown
        return self.writer is None or self.writer == self._claim


async def read_history(brokers: str, changelog: str, partition: int, key: bytes, since: float) -> History:
    """What a changelog's partition holds of ``key`` since then (UNIX seconds; 0: from its beginning).

    Reads for as long as a page may take. Raises ``UnavailableError`` where Kafka does not answer.
    """
    history, judge, turns = History(), Judge(), Turns()
    until_s = time.monotonic() + WITHIN_S
    try:
        async with asyncio.timeout(2 * WITHIN_S), TopicReader(brokers, changelog) as reader:
            first, end = (await reader.spans([partition]))[partition]
            begin = (await reader.offsets_at({partition: since}))[partition] if since > 0 else first
            done: set[int] = set()
            async for number, records in reader.read({partition: (end if begin is None else begin, end)}, done=done):
                await _judge(history, records, key, judge, turns)
                if time.monotonic() > until_s and records[-1].offset < end - 1:
                    history.is_whole = False
                    done.add(number)
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(f"{changelog} cannot be read: {error or type(error).__name__}") from error
    return history


async def _judge(history: History, records: Sequence[Any], key: bytes, judge: Judge, turns: Turns) -> None:
    for record in records:
        counts = judge.counts(record)
        if record.key == key:
            history.is_whole &= len(history.versions) < MOST_VERSIONS
            history.versions.append(Version(record, counts, judge.writer))
        await turns.pause()
    history.records_read += len(records)
