"""A sealed window: the unit that is delivered, retried and parked."""

import enum
import re
from collections.abc import Iterator

import msgspec

from pipeline.errors import CodecError
from pipeline.model.events import EventRun
from pipeline.model.ranges import Ranges, count_of, numbers_in


class SealReason(enum.StrEnum):
    """Why a window was sealed."""

    COUNT = "count"
    BYTES = "bytes"
    AGE = "age"


class Request(enum.StrEnum):
    """What a record of a batches topic asks for, where it is not a batch that was sealed."""

    REPLAY = "replay"  # the batch was parked: take it up again
    RESUME = "resume"  # no batch at all: try the lane's endpoint again, whatever stopped it


class Batch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The record value of ``<app>-batches-{sink}``: events ``[first, end)`` of a lane's sequence.

    ``opened_at`` and ``sealed_at`` are UNIX seconds: when the window took its first event, and when it was sealed.
    ``rest`` is empty where all events between the two are here. Where some are done already it names those that are left:
    ``block`` and ``ends`` then hold these alone. ``request`` is ``None`` for what the window stage sealed.
    """

    lane: str
    first: int
    end: int
    reason: SealReason
    opened_at: float
    sealed_at: float
    ends: bytes
    block: bytes
    rest: Ranges = ()
    request: Request | None = None

    @property
    def id(self) -> str:
        """What these events are called, the same whenever they are tried: ``{lane}:{first}-{end}``.

        A part with gaps has a name that ends in the number of its events: ``{lane}:{first}-{end}~{count}``. Events only ever
        leave a part, so no two different ones have the same name.
        """
        return id_of(self.lane, self.ranges)

    @property
    def ranges(self) -> Ranges:
        """The sequence numbers of the events that are here."""
        return self.rest or ((self.first, self.end),)

    @property
    def event_count(self) -> int:
        """How many events are here."""
        return len(self.ends) // 4

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Each event that is here, with its sequence number."""
        return zip(numbers_in(self.ranges), self.run().events(), strict=True)

    @property
    def integration_id(self) -> str:
        """Whose batch this is."""
        return integration_of(self.lane)

    def run(self) -> EventRun:
        """The events."""
        return EventRun.unpack(self.block, self.ends)

    def only(self, ranges: Ranges) -> "Batch":
        """These events of the batch alone, as one of their own; all of them must be here."""
        if ranges == self.ranges:
            return self
        run, parts, position, index = self.run(), [], 0, 0
        for first, end in self.ranges:
            while index < len(ranges):
                low, high = ranges[index]
                if max(first, low) < min(end, high):
                    parts.append(run.part(position + max(first, low) - first, position + min(end, high) - first))
                if high > end:
                    break  # the next of our ranges may hold the rest of it
                index += 1
            position += end - first
        kept = EventRun.join(parts)
        return msgspec.structs.replace(
            self,
            first=ranges[0][0],
            end=ranges[-1][1],
            ends=kept.packed_ends(),
            block=kept.block,
            rest=ranges if len(ranges) > 1 else (),
        )

    def from_sequence(self, first: int) -> "Batch":
        """What remains of a whole batch when the events before sequence number ``first`` were already taken."""
        return self.only(((first, self.end),))


class Purpose(enum.StrEnum):
    """Why events are sent, where it is not that they have just happened: the word behind ``~`` in their lane's name."""

    BACKFILL = "backfill"
    TEST = "test"


_BATCH_ID = re.compile(r"([a-z0-9-]{1,64}(?:~(?:\d{1,4}|backfill|test))?):(\d{1,19})-(\d{1,19})(?:~\d{1,6})?")


def id_of(lane: str, ranges: Ranges) -> str:
    """Name these events of ``lane``, also where there are gaps between them; see ``Batch.id``."""
    name = batch_id(lane, ranges[0][0], ranges[-1][1])
    return f"{name}~{count_of(ranges)}" if len(ranges) > 1 else name


def batch_id(lane: str, first: int, end: int) -> str:
    """Name the events ``[first, end)`` of ``lane``."""
    return f"{lane}:{first}-{end}"


def parse_batch_id(text: str) -> tuple[str, int, int]:
    """Split a batch id, or that of a part that is left, into lane, first and end; raises ``ValueError`` where it is none."""
    found = _BATCH_ID.fullmatch(text)
    if found is None or int(found[2]) >= int(found[3]):
        raise ValueError(f"{text!r} is no batch id: expected LANE:FIRST-END, for example crm:0-100")
    return found[1], int(found[2]), int(found[3])


def integration_of(lane: str) -> str:
    """The integration that ``lane`` belongs to: a lane is ``integration``, ``integration~k`` or ``integration~purpose``."""
    return lane.partition("~")[0]


def purpose_of(lane: str) -> Purpose | None:
    """Why the events of ``lane`` are sent; ``None`` where they have just happened."""
    word = lane.partition("~")[2]
    return Purpose(word) if word in _PURPOSES else None


_PURPOSES = frozenset(Purpose)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """The record value of a batches topic."""
    return _encoder.encode(batch)


def decode_batch(value: bytes) -> Batch:
    """Read a record value of a batches topic; raises ``CodecError`` where it is none."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"a record of a batches topic is not a batch ({error}); was it written by another program?"
        ) from error
