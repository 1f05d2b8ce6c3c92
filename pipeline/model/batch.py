"""A sealed window: the unit that is delivered, retried and parked."""

import enum
import re

import msgspec

from pipeline.errors import CodecError
from pipeline.model.events import EventRun


class SealReason(enum.StrEnum):
    """Why a window was sealed."""

    COUNT = "count"
    BYTES = "bytes"
    AGE = "age"


class Batch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The record value of ``<app>-batches-{sink}``: events ``[first, end)`` of a lane's sequence.

    ``opened_at`` and ``sealed_at`` are UNIX seconds: when the window took its first event, and when it was sealed.
    """

    lane: str
    first: int
    end: int
    reason: SealReason
    opened_at: float
    sealed_at: float
    ends: bytes
    block: bytes

    @property
    def id(self) -> str:
        """The batch's name, the same on every try: ``{lane}:{first}-{end}``."""
        return batch_id(self.lane, self.first, self.end)

    @property
    def integration_id(self) -> str:
        """Whose batch this is."""
        return integration_of(self.lane)

    def run(self) -> EventRun:
        """The events."""
        return EventRun.unpack(self.block, self.ends)

    def from_sequence(self, first: int) -> "Batch":
        """What remains of the batch when the events before sequence number ``first`` were already taken."""
        run = self.run().part(first - self.first, self.end - self.first)
        return msgspec.structs.replace(self, first=first, ends=run.packed_ends(), block=run.block)


_BATCH_ID = re.compile(r"([a-z0-9-]{1,64}(?:~\d{1,4})?):(\d{1,19})-(\d{1,19})")


def batch_id(lane: str, first: int, end: int) -> str:
    """Name the events ``[first, end)`` of ``lane``."""
    return f"{lane}:{first}-{end}"


def parse_batch_id(text: str) -> tuple[str, int, int]:
    """Split a batch id into lane, first and end; raises ``ValueError`` where it is none."""
    found = _BATCH_ID.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no batch id: expected LANE:FIRST-END, for example crm:0-100")
    return found[1], int(found[2]), int(found[3])


def integration_of(lane: str) -> str:
    """The integration that ``lane`` belongs to (a lane is ``integration`` or ``integration~k``)."""
    return lane.partition("~")[0]


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
