"""Events that the source topic still holds, for one integration: which, under what name, as which frames.

They go through the windows of a lane of their own, which skips what it has seen of a job: so a job that is started again
goes on, and sends nothing twice.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pipeline.errors import SourceRecreatedError
from pipeline.ingest.decode import SourceRecord
from pipeline.ingest.route import Router
from pipeline.model.batch import Purpose
from pipeline.model.frame import decode_frame, encode_frame
from pipeline.model.integration import Integration
from pipeline.model.moments import format_time
from pipeline.model.placement import partition_of
from pipeline.windows.rows import SourceKey, SourceRow, decode_source_row, parse_key

_OFFSET = re.compile(r"(\d{1,9}):(\d{1,18})")
_AGAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")

Span = tuple[int, int]
"""Offsets ``[first, end)`` of a partition of the source topic."""


def parse_offset(text: str) -> tuple[int, int]:
    """Read ``3:1500`` as partition and offset; raises ``ValueError`` where it is none."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no place in a topic: expected PARTITION:OFFSET, for example 3:1500")
    return int(found[1]), int(found[2])


def beginning_at(at: float) -> str:
    """What a beginning at a time (UNIX seconds) is called in a job's name."""
    return format_time(at)


def beginning_from(offsets: Mapping[int, int]) -> str:
    """What a beginning at offsets, by partition, is called in a job's name."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


class Job(NamedTuple):
    """One backfill: a source topic's events from a beginning on, for one integration, once.

    ``again`` tells a repetition from the first time.
    """

    topic: str
    integration: str
    beginning: str
    again: str = ""

    @property
    def lane(self) -> str:
        """The lane that the events go into."""
        return f"{self.integration}~{Purpose.BACKFILL}"

    @property
    def name(self) -> str:
        """What it is called, for one topic and integration."""
        return f"{self.beginning}~{self.again}" if self.again else self.beginning

    @property
    def source_topic(self) -> str:
        """The name by which the window stage knows how far it has come. No topic of that name exists."""
        return f"{self.topic}~{self.integration}~{self.name}"


def checked_again(text: str) -> str:
    """Return ``text`` where it can tell one repetition from others; raises ``ValueError`` otherwise."""
    if not _AGAIN.fullmatch(text):
        raise ValueError("must be 1 to 64 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")
    return text


def is_watermark(key: bytes) -> bool:
    """Whether a row of table ``windows`` is one that :func:`watermarks` looks at."""
    return isinstance(parse_key(key), SourceKey)


def watermarks(rows: Iterable[tuple[bytes, bytes]], job: Job) -> dict[int, SourceRow]:
    """How far the window stage has come with ``job``, by source partition; ``rows`` are those of its lane's partition.

    Raises ``CodecError`` where a row cannot be read.
    """
    found = {}
    for key, value in rows:
        source = parse_key(key)
        if isinstance(source, SourceKey) and source.topic == job.source_topic:
            found[source.partition] = decode_source_row(key, value)
    return found


def spans_left(
    wanted: Mapping[int, Span],
    marks: Mapping[int, SourceRow],
    ends: Mapping[int, int],
    job: Job,
    source_epoch: int,
) -> dict[int, Span]:
    """What of the ``wanted`` offsets is still to be sent; ``ends`` is where each partition of the topic ends.

    Raises ``SourceRecreatedError`` where the job has come further than the topic reaches, or was sent for a later life of it.
    """
    left = {}
    for partition, (first, end) in wanted.items():
        mark = marks.get(partition)
        if mark is None or mark.epoch < source_epoch:
            left[partition] = (min(first, end), end)
            continue
        if mark.epoch > source_epoch:
            raise SourceRecreatedError(
                f"job {job.name} was sent with source_epoch {mark.epoch}, and this configuration says {source_epoch}: "
                "use the faust.yml that the workers run with"
            )
        if mark.source_offset >= ends[partition]:
            raise SourceRecreatedError(
                f"job {job.name} has sent partition {partition} of {job.topic} up to offset {mark.source_offset}, and the topic "
                f"ends at {ends[partition]}. Was it deleted and made again? Then raise source_epoch, or give --again NAME"
            )
        left[partition] = (min(max(first, mark.source_offset + 1), end), end)
    return left


def records_in(spans: Mapping[int, Span]) -> int:
    """How many records lie there, those included that the broker has dropped in between."""
    return sum(max(0, end - first) for first, end in spans.values())


@dataclass(slots=True)
class Scanned:
    """What was found: ``events`` = those that matched + those that did not + ``poison``, by reason."""

    events: int = 0
    matched: int = 0
    poison: Counter[str] = field(default_factory=Counter)

    def add(self, events: int, matched: int, poison: Iterable[str]) -> None:
        """So many more."""
        self.events += events
        self.matched += matched
        self.poison.update(poison)


class _Timeless(NamedTuple):
    """A source record without its time.

    A frame's time serves to notice that a topic was made again, which is judged by the newest event that *matched*. Where
    an integration's filters were widened between two runs of a job, older offsets may bring newer times, and no time at
    all keeps that from looking like another topic.
    """

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


class BackfillRouter:
    """Turns records of the source topic into frames of a job.

    ``integration`` is taken for enabled, and for one lane however many it has; ``partitions`` is how many the routed topic has.
    """

    def __init__(self, job: Job, integration: Integration, partitions: int, source_epoch: int) -> None:
        copy = integration.model_copy(update={"id": job.lane, "enabled": True, "lanes": 1})
        self._router = Router([copy], partitions, source_epoch)
        self._job = job
        self.partition = partition_of(job.lane, partitions)
        """Where all frames go."""
        self.scanned = Scanned()

    def route(self, records: Sequence[SourceRecord], partition: int) -> list[bytes]:
        """The frames, in the order of sending, of records of one source partition; counts them.

        A record that cannot be used is counted and left out: it is among the dead letters since it first came.
        """
        timeless = [_Timeless(record.offset, record.key, record.value) for record in records]
        routed = self._router.route(timeless, self._job.topic, partition)
        self.scanned.add(routed.events, routed.matched, (letter.reason for letter in routed.dead))
        return [self._named(frame) for _, frame in routed.frames]

    def _named(self, value: bytes) -> bytes:
        return encode_frame(msgspec.structs.replace(decode_frame(value), source_topic=self._job.source_topic))
