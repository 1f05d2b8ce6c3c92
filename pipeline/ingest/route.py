"""From a chunk of source records to the frames of the window stage."""

import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from pipeline.errors import PoisonError
from pipeline.ingest.decode import (
    DEFAULT_MAX_EVENT_BYTES,
    JSON_WHITE_SPACE,
    PUBLISHED_KEY,
    EventDecoder,
    SourceRecord,
)
from pipeline.ingest.event import Event
from pipeline.ingest.match import MatchIndex
from pipeline.ingest.poison import PoisonReason
from pipeline.model.attempt import DeadLetter
from pipeline.model.integration import Integration
from pipeline.model.placement import partition_of

MAX_FRAMES_BYTES: Final = 4 * 1024 * 1024
"""How much the frames that are built together may hold: more begins a new set of frames, so none is larger."""

MAX_RECORD_BYTES: Final = 7 * 1024 * 1024
"""How large a frame may be where a single event is already that much; the broker takes records up to 8 MB."""

# What a copy of an event takes beyond its record's bytes, at most: a made uuid, the platform's name for its number, and
# the slice of its own (lane, offset, end, lengths).
_COPY_BYTES: Final = 200
_LARGEST_DISTANCE: Final = 2**32 - 1
# Records that are decoded, encoded and routed before the next are looked at: few enough to stay in the processor's cache.
_RUN_RECORDS: Final = 64
# Packing by table and by struct: with many lanes of an event or two each, packing is most of what a slice costs.
_SMALL: Final = 4096
_ONE: Final = tuple(array("I", [number]).tobytes() for number in range(_SMALL))
_PACK_FEW: Final = tuple(struct.Struct(f"={many}I").pack for many in range(32))


class Routed(NamedTuple):
    """What became of a chunk: ``events`` = those that matched at least one integration + ``unmatched`` + ``dead``.

    ``frames`` holds encoded frames with their target partition, in the order of sending; ``matched`` counts pairs of an
    event and an integration.
    """

    frames: list[tuple[int, bytes]]
    dead: list[DeadLetter]
    events: int
    matched: int
    unmatched: int


class _Lane:
    """Where an integration's events go, and which form of them.

    Where an integration has several lanes, ``spread`` holds all of them, and stands for the one of an event's user.
    """

    __slots__ = ("fields", "name", "opening", "partition", "spread")

    def __init__(self, name: str, fields: str, partitions: int) -> None:
        self.name = name
        self.partition = partition_of(name, partitions)
        self.fields = fields
        # The brace is put back when the events are joined, which saves copying each of them once more.
        self.opening = b"{" if fields == "published" else b""
        self.spread: tuple[_Lane, ...] = ()

    @classmethod
    def of(cls, integration: Integration, partitions: int) -> "_Lane":
        """The lane, or the lanes, of an integration."""
        lane = cls(integration.id, integration.fields, partitions)
        if integration.lanes > 1:
            lane.spread = tuple(
                cls(f"{integration.id}~{number}", integration.fields, partitions) for number in range(integration.lanes)
            )
        return lane

    def of_user(self, event: Event) -> "_Lane":
        """The lane of the event's user, or of its device where it has no user."""
        return self.spread[crc32((event.user_id or event.hwid or "").encode()) % len(self.spread)]


class Router:
    """Routes chunks to the lanes of a set of integrations; ``revise`` changes the set between two chunks.

    ``partitions`` is how many the routed topic has; ``source_epoch`` counts the re-creations of the source topic.
    """

    def __init__(
        self,
        integrations: Sequence[Integration],
        partitions: int,
        source_epoch: int = 1,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    ) -> None:
        self._integrations = {each.id: each for each in integrations}
        self._index = MatchIndex((each, _Lane.of(each, partitions)) for each in integrations)
        self._match = self._matcher()
        self._partitions = partitions
        self._source_epoch = source_epoch
        self._max_event_bytes = max_event_bytes
        self.look: Callable[[Sequence[Event]], None] | None = None
        """Shown all usable events of the source topic, a run at a time; of other topics none."""

    def revise(self, changes: Mapping[str, Integration | None]) -> Iterator[None]:
        """Put other integrations in the place of those with these ids, ``None`` for none at all.

        Works in small steps, between which chunks are routed as before; all changes take effect together in the last one.
        One revision at a time, each to its end.
        """
        relevant = {
            name: integration
            for name, integration in changes.items()
            if _routing_of(integration) != _routing_of(self._integrations.get(name))
        }
        yield from self._index.revise(
            {
                name: None if integration is None else (integration, _Lane.of(integration, self._partitions))
                for name, integration in relevant.items()
            }
        )
        for name, integration in changes.items():
            if integration is None:
                self._integrations.pop(name, None)
            else:
                self._integrations[name] = integration
        self._match = self._matcher()

    def _matcher(self) -> "Callable[[Event], Sequence[_Lane]]":
        are_spread = any(each.lanes > 1 for each in self._integrations.values())
        return partial(_match_and_spread, self._index.match) if are_spread else self._index.match

    def route(  # noqa: C901, PLR0912, PLR0915  a call an event costs 1 % of a worker
        self, records: Sequence[SourceRecord], topic: str, partition: int, source_epoch: int | None = None
    ) -> Routed:
        """Route a chunk: records of one source partition, their offsets ascending.

        ``source_epoch`` counts the lives of ``topic`` where it is another than the source topic.

        Raises nothing for what a record holds: an unusable one is among the dead letters. The frames are a function of
        the records alone, so a chunk that is read again gives the same ones.
        """
        epoch = self._source_epoch if source_epoch is None else source_epoch
        # What came in by a webhook may carry a platform of its own, and says nothing that the directory did not say before.
        look = self.look if source_epoch is None else None
        decode_run = EventDecoder(topic, partition, epoch, self._max_event_bytes).decode_run
        match = self._match
        frames: list[tuple[int, bytes]] = []
        dead: list[DeadLetter] = []
        matched = unmatched = 0
        gathered: _Gathered = defaultdict(list)
        first_offset = records[0].offset if records else 0
        room_bytes = MAX_FRAMES_BYTES
        for at in range(0, len(records), _RUN_RECORDS):
            run = decode_run(records[at : at + _RUN_RECORDS])
            for record, poison in run.dead:
                dead.append(_dead_letter(poison, topic, partition, record))
            if look is not None:
                look(run.events)
            encoded, end = run.encoded, 0
            published_from = encoded.index
            for record, value, event, next_end in zip(run.records, run.values, run.events, run.ends, strict=True):
                start, end = end + 1, next_end
                lanes = match(event)
                if not lanes:
                    unmatched += 1
                    continue
                offset = record.offset
                needed_bytes = (len(value) + _COPY_BYTES) * len(lanes)
                if needed_bytes > room_bytes or offset - first_offset > _LARGEST_DISTANCE:
                    refusal = self._refuse_copies(len(value) + _COPY_BYTES, lanes)
                    if refusal:
                        dead.append(_dead_letter(refusal, topic, partition, record))
                        continue
                    frames += self._frames(gathered, (topic, partition, epoch, first_offset, offset - 1))
                    gathered = defaultdict(list)
                    first_offset = offset
                    room_bytes = MAX_FRAMES_BYTES
                room_bytes -= needed_bytes
                matched += len(lanes)
                outward = whole = inward = None
                for lane in lanes:
                    fields = lane.fields
                    if fields == "published":
                        if outward is None:
                            body = encoded[published_from(PUBLISHED_KEY, start) : end]
                            outward = offset - first_offset, body, record.timestamp
                        gathered[lane].append(outward)
                    elif fields == "all":
                        if whole is None:
                            whole = offset - first_offset, value.strip(JSON_WHITE_SPACE), record.timestamp
                        gathered[lane].append(whole)
                    else:
                        if inward is None:
                            inward = offset - first_offset, encoded[start:end], record.timestamp
                        gathered[lane].append(inward)
        if gathered:
            last_offset = records[-1].offset
            frames += self._frames(gathered, (topic, partition, epoch, first_offset, last_offset))
        dead.sort(key=attrgetter("offset"))
        return Routed(frames, dead, len(records), matched, unmatched)

    def _frames(self, gathered: "_Gathered", origin: "_Origin") -> Iterator[tuple[int, bytes]]:
        """Encode what was gathered: a frame for each target partition that has events.

        A frame's newest time is that of its own events, so that it is the same in whatever chunks they are read again.

        Tuples stand in for ``Frame`` and ``Slice``, which encode to the same bytes: where 10,000 lanes get one event
        each, making a slice is a good part of an event's cost.
        """
        slices: list[list[_SliceParts]] = [[] for _ in range(self._partitions)]
        newest_ms = [0] * self._partitions
        for lane, items in gathered.items():
            opening = lane.opening
            if len(items) == 1:
                ((distance, body, newest),) = items
                block = opening + body
                size = len(block)
                offsets = _ONE[distance] if distance < _SMALL else _packed(distance)
                ends = _ONE[size] if size < _SMALL else _packed(size)
            else:
                distances, bodies, stamps_ms = zip(*items)  # noqa: B905  strict=True costs a tenth of a slice
                newest = max(stamps_ms)
                block = (b"," + opening).join((opening + bodies[0], *bodies[1:]))
                step = len(opening) + 1
                _, *ends_at = accumulate([len(body) + step for body in bodies], initial=-1)
                pack = _PACK_FEW[len(items)] if len(items) < len(_PACK_FEW) else _packed
                offsets = pack(*distances)
                ends = pack(*ends_at)
            slices[lane.partition].append((lane.name, offsets, ends, block))
            newest_ms[lane.partition] = max(newest_ms[lane.partition], newest)
        for target, parts in enumerate(slices):
            if parts:
                yield target, _encode((*origin, newest_ms[target], parts))

    def _refuse_copies(self, copy_bytes: int, lanes: "Sequence[_Lane]") -> PoisonError | None:
        """Return why an event cannot be routed where its copies for one partition are more than a record can hold."""
        if copy_bytes * len(lanes) <= MAX_RECORD_BYTES:
            return None
        copies = max(Counter(lane.partition for lane in lanes).values())
        if copies * copy_bytes <= MAX_RECORD_BYTES:
            return None
        detail = f"{copies} copies for one partition, about {copies * copy_bytes} bytes, and at most {MAX_RECORD_BYTES} are taken"
        return PoisonError(PoisonReason.TOO_MANY_COPIES, detail)


def _routing_of(integration: Integration | None) -> object:
    """What of an integration the route stage goes by."""
    if integration is None or not integration.enabled:
        return None
    return (
        integration.applications,
        integration.events,
        integration.platforms,
        integration.campaigns,
        integration.messages,
        integration.live_activities,
        integration.fields,
        integration.lanes,
    )


def _match_and_spread(match: "Callable[[Event], Sequence[_Lane]]", event: Event) -> "Sequence[_Lane]":
    return [lane.of_user(event) if lane.spread else lane for lane in match(event)]


_Gathered = defaultdict[_Lane, list[tuple[int, bytes, int]]]
"""Lane -> of its events the distance, the body (in the lane's form) and the Kafka timestamp in ms."""

_Origin = tuple[str, int, int, int, int]
"""The fields of ``Frame`` before its newest time and its slices."""

_SliceParts = tuple[str, bytes, bytes, bytes]
"""The fields of ``Slice``."""

_encode = msgspec.msgpack.Encoder().encode


def _packed(*numbers: int) -> bytes:
    return array("I", numbers).tobytes()


def _dead_letter(poison: PoisonError, topic: str, partition: int, record: SourceRecord) -> DeadLetter:
    return DeadLetter(
        poison.reason, poison.detail, topic, partition, record.offset, record.timestamp, record.key, record.value
    )
