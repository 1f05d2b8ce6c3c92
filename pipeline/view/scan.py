"""A search through records that no index knows: whose event it is, and how far a search has come.

Most records do not hold the text that is searched for, and are told by their bytes alone. A tag in place of personal data
cannot be seen in the bytes: then every event is looked into.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from pipeline.errors import ViewQueryError
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.mask import mask_event, mask_row

Span = tuple[int, int]
"""Offsets ``[first, end)`` of a partition."""

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "uuid": ("uuid",),
    "user_id": ("user_id",),
    "hwid": ("hwid",),
    "campaign": ("campaign_code", "campaign_id"),
    "message": ("message_code", "message_id"),
    "event_name": ("event_name",),
}
"""What can be searched for, and the fields of an event that may hold it."""

_TAG: Final = re.compile(r"(?:user_id|hwid|phone|email):[0-9a-f]{10}")
_CURSOR: Final = re.compile(r"(\d{1,9}):(\d{1,18})")

EVENT_COLUMNS: Final[Columns] = (
    Column("at", "Written", Kind.TIME, "The record's time in Kafka.", link="/events/{topic}/{partition}/{offset}"),
    Column("event_name", "Event"),
    Column("platform", "Platform", Kind.STATE),
    Column("application_code", "Application", Kind.CODE),
    Column("campaign", "Campaign", Kind.CODE),
    Column("message", "Message", Kind.CODE),
    Column("user_id", "User", Kind.CODE, is_sortable=False, personal=Personal.USER_ID),
    Column("hwid", "Device", Kind.CODE, is_sortable=False, personal=Personal.HWID),
    Column("uuid", "Event id", Kind.CODE),
    Column("batch", "Batch", Kind.CODE, "Where it was found in a batch.", link="/batches/{batch}"),
    Column(
        "problem",
        "Unusable because",
        Kind.TEXT,
        is_wide=True,
        is_sortable=False,
        personal=Personal.PAYLOAD,
        is_quoting=True,
    ),
    Column("topic", "Topic", Kind.CODE, is_wide=True),
    Column("partition", "Partition", Kind.INTEGER, is_wide=True),
    Column("offset", "Offset", Kind.INTEGER, is_wide=True),
)
"""How events are listed."""

_LISTED: Final = (
    "event_name",
    "platform",
    "application_code",
    *dict.fromkeys(key for keys in FIELDS.values() for key in keys),
)

_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched for: each field that is named, exactly. ``masks`` is what the one who searches sees only as tags."""

    values: Mapping[str, str]
    masks: frozenset[Personal] = frozenset()
    needles: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.values) - set(FIELDS))
        if unknown or not self.values or not all(self.values.values()):
            raise ViewQueryError(f"search for one or more of {', '.join(FIELDS)}")
        # JSON may write a text in several ways; only one without anything to escape is sure to be seen in the bytes.
        plain = [
            each
            for each in self.values.values()
            if each.isascii() and each.isprintable() and not set(each) & set('"\\/')
        ]
        object.__setattr__(self, "needles", tuple(each.encode() for each in plain if not _TAG.fullmatch(each)))

    def may_be_in(self, record: bytes) -> bool:
        """Whether ``record`` is worth a closer look."""
        return b"\\u" in record or all(needle in record for needle in self.needles)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether a decoded event is one that is searched for."""
        return all(self._is(event, name, value) for name, value in self.values.items())

    def _is(self, event: Mapping[str, Any], name: str, value: str) -> bool:
        if any(str(event[key]) == value for key in FIELDS[name] if event.get(key) is not None):
            return True
        return (
            bool(self.masks) and _TAG.fullmatch(value) is not None and event_row(event, {}, self.masks)[name] == value
        )


def event_row(event: Mapping[str, Any], place: Mapping[str, Any], masks: Collection[Personal]) -> Row:
    """An event as it is listed, masked; ``place`` holds the record's topic, partition, offset and time."""
    # By their fields first: the device of an SMS is a phone, that of a mail an address.
    event = mask_event({name: event[name] for name in _LISTED if name in event}, masks)
    row = {
        **dict.fromkeys(column.name for column in EVENT_COLUMNS),
        **{name: event.get(name) for name in ("event_name", "platform", "application_code", "user_id", "hwid", "uuid")},
        "campaign": event.get("campaign_code") or event.get("campaign_id"),
        "message": event.get("message_code") or event.get("message_id"),
        **place,
    }
    return mask_row(EVENT_COLUMNS, row, masks)


def find(record: bytes, wanted: Wanted) -> Mapping[str, Any] | None:
    """The event in ``record`` where it is one that is wanted."""
    if not wanted.may_be_in(record):
        return None
    try:
        event = _decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return event if isinstance(event, dict) and wanted.matches(event) else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search through partitions has come: all that is to be read, and what is left of it."""

    whole: Mapping[int, Span]
    left: Mapping[int, Span]

    @classmethod
    def of(cls, spans: Mapping[int, Span], cursor: str = "") -> "Progress":
        """At its beginning, or where an earlier search left off; raises ``ViewQueryError`` for a cursor that is none."""
        left = dict(spans)
        for partition, offset in parse_cursor(cursor).items():
            if partition in left:
                first, end = left[partition]
                left[partition] = min(max(first, offset), end), end
        return cls(dict(spans), left)

    def after(self, partition: int, offset: int) -> "Progress":
        """When all before ``offset`` of ``partition`` is read."""
        first, end = self.left[partition]
        return replace(self, left={**self.left, partition: (min(max(first, offset), end), end)})

    @property
    def records(self) -> int:
        """How many records there are to read in all."""
        return sum(end - first for first, end in self.whole.values())

    @property
    def records_left(self) -> int:
        """How many are not read yet."""
        return sum(end - first for first, end in self.left.values())

    @property
    def share(self) -> float:
        """Which part is read, 0 to 1."""
        return 1.0 if not self.records else 1.0 - self.records_left / self.records

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self.records_left == 0

    @property
    def cursor(self) -> str:
        """Text from which a later search goes on."""
        return ",".join(f"{partition}:{first}" for partition, (first, _) in sorted(self.left.items()))


def parse_cursor(text: str) -> dict[int, int]:
    """Read ``0:1500,1:200``, the next offset by partition; raises ``ViewQueryError`` where it is none."""
    found: dict[int, int] = {}
    for part in text.split(",") if text else []:
        each = _CURSOR.fullmatch(part)
        if each is None:
            raise ViewQueryError("from: is no place of a search; start the search again without it")
        found[int(each[1])] = int(each[2])
    return found
