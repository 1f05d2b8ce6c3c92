"""What the route stage hands to the window stage: one record a chunk and target partition.

A frame holds, for each lane of the target partition that the chunk's events matched, those events and the source offsets
they came from. The window stage skips what it has seen by these offsets (DESIGN: idempotent stages).
"""

from array import array

import msgspec

from pipeline.errors import CodecError
from pipeline.model.events import EventRun


class Slice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One lane's events in a frame.

    ``offsets`` are the events' source offsets as packed 32-bit distances from the frame's ``first_offset``.
    """

    lane: str
    offsets: bytes
    ends: bytes
    block: bytes

    def run(self) -> EventRun:
        """The events."""
        return EventRun.unpack(self.block, self.ends)

    def offset_distances(self) -> "array[int]":
        """Each event's source offset, as the distance from the frame's ``first_offset``."""
        distances: array[int] = array("I")
        distances.frombytes(self.offsets)
        return distances


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The share of one source chunk that belongs to one target partition.

    ``first_offset`` and ``last_offset`` are those of the source chunk, matched or not; ``newest_ms`` is the newest Kafka
    timestamp of the frame's own events; ``source_epoch`` is the operator's count of re-creations of the source topic.
    """

    source_topic: str
    source_partition: int
    source_epoch: int
    first_offset: int
    last_offset: int
    newest_ms: int
    slices: list[Slice]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    """The record value of ``<app>-routed``."""
    return _encoder.encode(frame)


def decode_frame(value: bytes) -> Frame:
    """Read a record value of ``<app>-routed``.

    Raises ``CodecError`` where the value is not a frame.
    """
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"a record of the routed topic is not a frame ({error}); was it written by another program?"
        ) from error
