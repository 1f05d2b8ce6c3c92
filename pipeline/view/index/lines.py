"""Records of the topics as lines of JSON, in which DuckDB reads them by the thousand.

Attempts and notices are JSON already: their lines are the records themselves with the place before the last brace.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pipeline.errors import CodecError
from pipeline.inbound.request import decode as decode_request
from pipeline.model.attempt import decode_parked
from pipeline.model.batch import Request, decode_batch
from pipeline.view.index.tables import place_of

PREVIEW_BYTES: Final = 200
LONGEST_KEY: Final = 200
LONGEST_LINE_BYTES: Final = 1 << 20
"""No record of ours has a line as long; what others put into our topics must not cost the reader's memory."""
BODY_CHARS: Final = 1000
"""How much of an inbound request's body the index keeps; the topic has more of it."""

_encode = msgspec.json.Encoder().encode
_NUL: Final = "\u2400"


class KafkaRecord(Protocol):
    """What is read of a record."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102


class Staged:
    """Lines that wait to be written, by table; and up to where each topic's partition was read, with the newest time.

    ``size_bytes`` is that of the lines; ``unreadable`` counts records that are none of ours; ``has_replays`` says whether a
    parked batch was asked for again.
    """

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[bytes]] = defaultdict(list)
        self.positions: dict[tuple[str, int], tuple[int, float]] = {}
        self.size_bytes = 0
        self.unreadable = 0
        self.has_replays = False

    def add(self, table: str, line: bytes) -> None:
        """Stage a line."""
        self.lines[table].append(line)
        self.size_bytes += len(line)

    @property
    def rows(self) -> int:
        """How many lines there are."""
        return sum(map(len, self.lines.values()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.positions


class Feed(NamedTuple):
    """A topic that the index reads: which table its records go to, and the kind of sink where it holds batches."""

    topic: str
    table: str
    kind: str | None = None

    def stage(self, partition: int, records: Sequence[KafkaRecord], staged: Staged) -> None:
        """Add the lines of records that follow each other in one partition."""
        line_of = _LINES[self.table]
        for record in records:
            try:
                line = _checked(line_of(record, partition, self.kind))
            except (CodecError, msgspec.MsgspecError, ValueError):
                staged.unreadable += 1
                continue
            staged.add(self.table, line)
            staged.has_replays |= self.kind is not None and b'"reason":"replay"' in line
        last = records[-1]
        staged.positions[self.topic, partition] = last.offset + 1, last.timestamp / 1000


def _checked(line: bytes) -> bytes:
    if len(line) > LONGEST_LINE_BYTES:
        raise ValueError(f"is longer than {LONGEST_LINE_BYTES} bytes")
    return line


def _json_line(record: KafkaRecord, partition: int, _kind: str | None) -> bytes:
    value = record.value
    if value is None or not value.startswith(b"{") or not value.endswith(b"}") or b"\n" in value:
        raise ValueError("is no JSON object on one line")
    place = place_of(partition, record.offset)
    return b'%b,"place":%d,"partition":%d,"offset":%d}' % (value[:-1], place, partition, record.offset)


def _batch_line(record: KafkaRecord, partition: int, kind: str | None) -> bytes:
    if record.value is None:
        raise ValueError("has no value")
    batch = decode_batch(record.value)
    if batch.request is Request.RESUME:
        raise ValueError("is no batch")
    return _encode(
        {
            "place": place_of(partition, record.offset, kind),
            "partition": partition,
            "offset": record.offset,
            "kind": kind,
            "lane": batch.lane,
            "integration": batch.integration_id,
            "batch": batch.id,
            "first": batch.first,
            "end": batch.end,
            "reason": batch.request or batch.reason,
            "opened_at": batch.opened_at,
            "sealed_at": batch.sealed_at,
            "events": batch.event_count,
            "bytes": len(batch.block),
        }
    )


def _parked_line(record: KafkaRecord, partition: int, _kind: str | None) -> bytes:
    if record.value is None:
        raise ValueError("has no value")
    parked = decode_parked(record.value)
    batch = decode_batch(parked.batch)
    return _encode(
        {
            "place": place_of(partition, record.offset),
            "partition": partition,
            "offset": record.offset,
            "kind": parked.kind,
            "lane": batch.lane,
            "integration": batch.integration_id,
            "batch": batch.id,
            "first": batch.first,
            "end": batch.end,
            "rest": _encode(batch.rest).decode() if batch.rest else None,
            "reason": parked.reason,
            "attempts": parked.attempts,
            "parked_at": parked.parked_at,
            "events": batch.event_count,
            "bytes": len(batch.block),
        }
    )


def _dead_letter_line(record: KafkaRecord, partition: int, _kind: str | None) -> bytes:
    told = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    value, key = record.value, record.key
    return _encode(
        {
            "place": place_of(partition, record.offset),
            "partition": partition,
            "offset": record.offset,
            "at": record.timestamp / 1000,
            "reason": told.get("reason", ""),
            "detail": _shown(told.get("detail", "")),
            "topic": told.get("topic", ""),
            "source_partition": int(told["partition"]) if "partition" in told else None,
            "source_offset": int(told["offset"]) if "offset" in told else None,
            "source_at": int(told["timestamp_ms"]) / 1000 if "timestamp_ms" in told else None,
            "bytes": None if value is None else len(value),
            "key": None if key is None else _shown(key[:LONGEST_KEY].decode("utf-8", "replace")),
            "preview": None if value is None else _shown(value[:PREVIEW_BYTES].decode("utf-8", "replace")),
        }
    )


def _request_line(record: KafkaRecord, partition: int, _kind: str | None) -> bytes:
    request = decode_request(record.value)
    outcome = request.outcome
    told = {
        "place": place_of(partition, record.offset),
        "partition": partition,
        "offset": record.offset,
        "at": request.at_s,
        "result": "success" if outcome.is_success else "failed",
        "reason": None if outcome.is_success else outcome.label,
        "outcome": outcome,
        "webhook": request.webhook_id[:LONGEST_KEY] or None,
        "identified_by": request.identifier_by or None,
        "preview": request.body[:BODY_CHARS] or None,
        "events": len(request.events),
        "disregarded": sum(request.disregarded.values()),
        "reasons": _encode(request.disregarded).decode() if request.disregarded else None,
        "is_first_part": request.is_first_part,
        "status": request.status,
        "source": request.source,
        "call": request.call or None,
        "application": request.application[:LONGEST_KEY] or None,
        "detail": request.detail or None,
        "user_key": request.user_key or None,
        "key": request.key[:LONGEST_KEY] or None,
        "address": request.address or None,
        "bytes": request.size_bytes,
        "id": request.request_id,
    }
    if request.identifier_by in _IDENTIFIERS:
        told[request.identifier_by] = request.identifier[:LONGEST_KEY] or None
    return _encode({name: _shown(value) if isinstance(value, str) else value for name, value in told.items()})


def _shown(text: str) -> str:
    """DuckDB's JSON reader takes a zero character for the end."""
    return text.replace("\0", _NUL)


_IDENTIFIERS: Final = frozenset({"user_id", "email", "phone", "hwid"})
_LINES: Final[dict[str, Any]] = {
    "attempts": _json_line,
    "batches": _batch_line,
    "parked": _parked_line,
    "dead_letters": _dead_letter_line,
    "notices": _json_line,
    "inbound_requests": _request_line,
}
