"""One try to deliver a batch, what came of it, and the records that tell of it."""

import enum

import msgspec

from pipeline.model.ranges import Ranges


class Verdict(enum.StrEnum):
    """What a try means for its batch."""

    DELIVERED = "delivered"
    RETRY = "retry"  # 5xx, time-out, connection failure, 408, 425, 429: try again later
    REFUSED = "refused"  # other 3xx and 4xx: trying again cannot help


class Hint(enum.StrEnum):
    """What an answer says beyond the fate of its batch; the delivery core acts on it, whatever the protocol."""

    THROTTLED = "throttled"  # 429, 503, RESOURCE_EXHAUSTED: less at once
    TOO_LARGE = "too large"  # 413: in smaller parts
    GONE = "gone"  # 410: never again, until somebody says so
    UNAUTHORIZED = "unauthorized"  # 401, 403, UNAUTHENTICATED: the credentials are refused


class Refusal(msgspec.Struct, frozen=True):
    """Events ``[first, end)`` of a batch that can never be delivered, with why: they are given up alone."""

    first: int
    end: int
    detail: str


class Outcome(msgspec.Struct, frozen=True):
    """What a sink says of one try. A sink raises nothing that the endpoint caused: it is an outcome.

    ``verdict`` is that of the events that neither ``arrived`` nor ``refused`` name: sequence numbers of the batch that are
    done for good, and events that are given up alone, whatever becomes of the others. ``is_cut_short`` says that some of
    the others were not tried at all; ``is_left`` that this was the worker's own doing, whose partition leaves, and nothing has
    failed. ``is_unanswered`` says that nobody answered: no connection, or silence.

    ``detail`` is one line for people; ``status`` the protocol's own number; ``answer_head`` the first 1 KiB of the answer's
    body, as text; sizes are in bytes; ``retry_after_s`` is the pause that the endpoint asked for, if it did.
    """

    verdict: Verdict
    detail: str
    status: int | None = None
    retry_after_s: float | None = None
    duration_s: float = 0.0
    request_bytes: int = 0
    answer_bytes: int = 0
    answer_head: str = ""
    hint: Hint | None = None
    arrived: Ranges = ()
    refused: tuple[Refusal, ...] = ()
    is_cut_short: bool = False
    is_left: bool = False
    is_unanswered: bool = False


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record value of ``<app>-attempts``, as JSON.

    ``attempt`` counts from 1. ``at`` is UNIX seconds of the try's start. ``next_at`` is when the next try is due, absent
    where there is none. ``final`` says what became of the batch, absent while it waits: delivered, parked or discarded.
    ``arrived`` is how many of its events this try delivered, where it was not all of them, and ``given_up`` how many were
    refused alone.
    """

    batch: str
    integration: str
    kind: str
    attempt: int
    at: float
    events: int
    verdict: Verdict
    detail: str
    duration_s: float
    request_bytes: int
    answer_bytes: int
    status: int | None = None
    answer_head: str = ""
    next_at: float | None = None
    final: str | None = None
    arrived: int = 0
    given_up: int = 0


class Parked(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The record value of ``<app>-parked``: a batch that gave up, whole, with why.

    ``batch`` is the encoded batch as it stood in its batches topic (or the rest of it); ``parked_at`` is UNIX seconds.
    """

    batch: bytes
    kind: str
    reason: str
    attempts: int
    parked_at: float


class DeadLetter(msgspec.Struct, frozen=True):
    """A source record that cannot be used, with where it came from.

    ``value`` is the raw bytes (``None`` for a tombstone); they travel as the dead-letter record's own value, the rest as
    its headers, so that any Kafka tool can read and replay it.
    """

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None

    def headers(self) -> list[tuple[str, bytes]]:
        """The record headers that tell what is wrong and where the record came from."""
        return [
            ("reason", self.reason.encode()),
            ("detail", self.detail.encode()),
            ("topic", self.topic.encode()),
            ("partition", str(self.partition).encode()),
            ("offset", str(self.offset).encode()),
            ("timestamp_ms", str(self.timestamp_ms).encode()),
        ]


_attempt_encoder = msgspec.json.Encoder()
_attempt_decoder = msgspec.json.Decoder(Attempt)
_parked_encoder = msgspec.msgpack.Encoder()
_parked_decoder = msgspec.msgpack.Decoder(Parked)
encode_attempt = _attempt_encoder.encode
decode_attempt = _attempt_decoder.decode
encode_parked = _parked_encoder.encode
decode_parked = _parked_decoder.decode
