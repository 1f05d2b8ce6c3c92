"""The tables of the index: how DuckDB keeps them, and how the view shows them.

``place`` is the key of every row: where its record lies, as one number that a JSON reader takes exactly (below 2**53).
"""

from dataclasses import dataclass
from typing import Final

from pipeline.sinks.registry import SINKS
from pipeline.view.columns import Column, Columns, Kind, Personal

OFFSET_BITS: Final = 40
PARTITION_BITS: Final = 10
SCHEMA_VERSION: Final = 2

_KINDS: Final = tuple(spec.kind for spec in SINKS)

_PLACE: Final = Column("place", "Place", Kind.INTEGER, "Where the record lies, as one number.", is_wide=True)
_PARTITION: Final = Column("partition", "Partition", Kind.INTEGER, "The partition of its topic.", is_wide=True)
_OFFSET: Final = Column("offset", "Offset", Kind.INTEGER, "The offset of its record.", is_wide=True)
_INTEGRATION: Final = Column("integration", "Integration", Kind.CODE, link="/integrations/{integration}")
_BATCH: Final = Column("batch", "Batch", Kind.CODE, "LANE:FIRST-END, the same on every try.", link="/batches/{batch}")
_KIND: Final = Column("kind", "Kind", Kind.STATE, "What the endpoint speaks.")
_LANE: Final = Column("lane", "Lane", Kind.CODE, "The ordered unit of work of an integration.", is_wide=True)
_FIRST: Final = Column("first", "First", Kind.INTEGER, "The first sequence number.", is_wide=True)
_END: Final = Column("end", "End", Kind.INTEGER, "The sequence number after the last one.", is_wide=True)


def place_of(partition: int, offset: int, kind: str | None = None) -> int:
    """The key of a row: of a batch with the kind of its sink, since each kind has a topic."""
    number = 0 if kind is None else _KINDS.index(kind)
    return (((number << PARTITION_BITS) | partition) << OFFSET_BITS) | offset


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of row: ``relation`` is the table or view that holds them, ``time`` the column by which they grow old."""

    name: str
    relation: str
    columns: Columns
    time: str
    key: str = "place"


ATTEMPTS: Final = Table(
    "attempts",
    "attempts",
    (
        Column("at", "Started", Kind.TIME, "When the try began.", link="/attempts/{partition}/{offset}"),
        _INTEGRATION,
        _BATCH,
        Column("attempt", "Try", Kind.INTEGER, "1 is the first."),
        Column("verdict", "Verdict", Kind.STATE, "What the try means: delivered, retry or refused."),
        Column("status", "Status", Kind.INTEGER, "The protocol's own number; none where nobody answered."),
        Column("detail", "What happened", Kind.TEXT, "One line on the try.", is_quoting=True),
        Column("duration_s", "Took", Kind.SECONDS),
        Column("events", "Events", Kind.INTEGER, "How many events it carried."),
        Column(
            "final",
            "Ended",
            Kind.STATE,
            "What became of the events: delivered, parked, discarded; none while they wait.",
        ),
        _KIND,
        Column("request_bytes", "Request", Kind.BYTES, "The size of what was sent."),
        Column("answer_bytes", "Answer", Kind.BYTES, "The size of what came back.", is_wide=True),
        Column(
            "answer_head",
            "Answer's beginning",
            Kind.TEXT,
            "The first 1 KiB of the answer.",
            is_sortable=False,
            is_wide=True,
            personal=Personal.PAYLOAD,
            is_quoting=True,
        ),
        Column("next_at", "Next try", Kind.TIME, is_wide=True),
        Column(
            "arrived", "Arrived", Kind.INTEGER, "Events that this try delivered, where it was not all.", is_wide=True
        ),
        Column("given_up", "Given up", Kind.INTEGER, "Events that were refused alone.", is_wide=True),
        _LANE,
        _FIRST,
        _END,
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="at",
)

BATCHES: Final = Table(
    "batches",
    "all_batches",
    (
        Column("sealed_at", "Sealed", Kind.TIME, "When it was sealed, or asked for again."),
        _BATCH,
        _INTEGRATION,
        Column("outcome", "Outcome", Kind.STATE, "waiting, retrying, delivered, parked or discarded."),
        Column("events", "Events", Kind.INTEGER),
        Column("reason", "Sealed because", Kind.STATE, "count, bytes or age; replay where it was parked before."),
        Column("fill_s", "Filled in", Kind.SECONDS, "From its first event to the seal."),
        Column("tries", "Tries", Kind.INTEGER),
        Column("delivered_events", "Delivered", Kind.INTEGER, "How many of its events are delivered."),
        Column("status", "Last status", Kind.INTEGER, "That of the newest try."),
        Column("detail", "Last try", Kind.TEXT, "What the newest try came to.", is_quoting=True),
        Column("tried_at", "Tried", Kind.TIME, "When the newest try began."),
        Column("bytes", "Size", Kind.BYTES, "The size of its events."),
        _KIND,
        _LANE,
        Column("opened_at", "Opened", Kind.TIME, "When its window took the first event.", is_wide=True),
        _FIRST,
        _END,
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="sealed_at",
)

PARKED: Final = Table(
    "parked",
    "parked",
    (
        Column("parked_at", "Parked", Kind.TIME),
        _BATCH,
        _INTEGRATION,
        Column("state", "State", Kind.STATE, "parked, or replayed where it was asked for again."),
        Column("reason", "Parked because", Kind.TEXT, is_quoting=True),
        Column("events", "Events", Kind.INTEGER),
        Column("attempts", "Tries", Kind.INTEGER),
        Column("bytes", "Size", Kind.BYTES),
        Column("replayed_at", "Replayed", Kind.TIME),
        _KIND,
        _LANE,
        _FIRST,
        _END,
        Column(
            "rest", "Ranges", Kind.JSON, "Its sequence numbers, where there are gaps.", is_sortable=False, is_wide=True
        ),
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="parked_at",
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    "dead_letters",
    (
        Column("at", "Refused", Kind.TIME, link="/dead-letters/{partition}/{offset}"),
        Column("reason", "Reason", Kind.STATE),
        Column(
            "detail",
            "What is wrong",
            Kind.TEXT,
            "May quote the record.",
            is_sortable=False,
            personal=Personal.PAYLOAD,
            is_quoting=True,
        ),
        Column("topic", "Topic", Kind.CODE, "Where it came from."),
        Column("source_partition", "From partition", Kind.INTEGER),
        Column("source_offset", "From offset", Kind.INTEGER, link="/events/{topic}/{source_partition}/{source_offset}"),
        Column("source_at", "Written", Kind.TIME, "The time of the source record."),
        Column("bytes", "Size", Kind.BYTES),
        Column("key", "Key", Kind.CODE, "The record's key.", is_sortable=False, personal=Personal.USER_ID),
        Column(
            "preview",
            "Beginning",
            Kind.TEXT,
            "The first 200 bytes.",
            is_sortable=False,
            personal=Personal.PAYLOAD,
            is_raw=True,
        ),
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="at",
)

NOTICES: Final = Table(
    "notices",
    "notices",
    (
        Column("at", "Time", Kind.TIME),
        Column("cause", "Cause", Kind.STATE),
        _INTEGRATION,
        Column("webhook", "Webhook", Kind.CODE, "The inbound webhook that it is about.", link="/webhooks/{webhook}"),
        Column("detail", "Detail", Kind.TEXT, is_quoting=True),
        Column(
            "suppressed", "Not told before", Kind.INTEGER, "How many of the same were held back since the last one."
        ),
        Column("id", "Id", Kind.CODE, is_wide=True),
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="at",
)

INBOUND_REQUESTS: Final = Table(
    "inbound_requests",
    "inbound_requests",
    (
        Column("at", "Time", Kind.TIME, "When it came.", link="/webhooks/requests/{partition}/{offset}"),
        Column("result", "Result", Kind.STATE, "success or failed."),
        Column("reason", "Why it failed", Kind.TEXT, "The reason in words; none where it was taken."),
        Column("webhook", "Webhook", Kind.CODE, "Whose address it came to.", link="/webhooks/{webhook}"),
        Column(
            "identified_by", "Identified by", Kind.STATE, "What the user is known by: user_id, email, phone or hwid."
        ),
        Column("user_id", "User ID", Kind.CODE, "The identifier, where it is a user id.", personal=Personal.USER_ID),
        Column("email", "Email", Kind.CODE, "The identifier, where it is an address.", personal=Personal.EMAIL),
        Column("phone", "Phone", Kind.CODE, "The identifier, where it is a phone number.", personal=Personal.PHONE),
        Column("hwid", "HWID", Kind.CODE, "The identifier, where it is a device.", personal=Personal.HWID),
        Column(
            "preview",
            "Payload",
            Kind.JSON,
            "The beginning of the body; the page of the request has more of it.",
            is_sortable=False,
            personal=Personal.PAYLOAD,
        ),
        Column("events", "Events", Kind.INTEGER, "How many events it fired."),
        Column("disregarded", "Disregarded", Kind.INTEGER, "Events of a Segment call that could not be taken."),
        Column(
            "reasons", "Because", Kind.JSON, "Disregarded events, counted by reason.", is_sortable=False, is_wide=True
        ),
        Column("status", "Status", Kind.INTEGER, "The HTTP status that was answered."),
        Column(
            "is_first_part",
            "First part",
            Kind.FLAG,
            "A call of Segment's has a row for each partition that its users are in; one of them is the first.",
            is_wide=True,
        ),
        Column("outcome", "Outcome", Kind.CODE, "The same as result and reason, in a word.", is_wide=True),
        Column("source", "Source", Kind.STATE, "webhook or segment.", is_wide=True),
        Column("call", "Call", Kind.CODE, "Which of Segment's calls it was.", is_wide=True),
        Column("application", "Application", Kind.CODE, "The application's code.", is_wide=True),
        Column(
            "detail",
            "Detail",
            Kind.TEXT,
            "More on what is wrong; may quote the request.",
            is_sortable=False,
            is_wide=True,
            personal=Personal.PAYLOAD,
        ),
        Column(
            "user_key", "User", Kind.CODE, "The user's key in the directory.", is_wide=True, personal=Personal.PAYLOAD
        ),
        Column(
            "key",
            "Idempotency key",
            Kind.CODE,
            "What the sender called it by.",
            is_sortable=False,
            is_wide=True,
            personal=Personal.PAYLOAD,
        ),
        Column("address", "From", Kind.CODE, "The address that it came from.", is_wide=True),
        Column("bytes", "Size", Kind.BYTES, "The size of its body.", is_wide=True),
        Column("id", "Id", Kind.CODE, "The request's own id.", is_wide=True),
        _PARTITION,
        _OFFSET,
        _PLACE,
    ),
    time="at",
)

TABLES: Final = (ATTEMPTS, BATCHES, PARKED, DEAD_LETTERS, NOTICES, INBOUND_REQUESTS)

_BATCH_COLUMNS = """
    place BIGINT, "partition" INTEGER, "offset" BIGINT, kind VARCHAR, lane VARCHAR, integration VARCHAR, batch VARCHAR,
    "first" BIGINT, "end" BIGINT, reason VARCHAR, opened_at DOUBLE, sealed_at DOUBLE, fill_s DOUBLE, events BIGINT,
    "bytes" BIGINT, tries INTEGER, delivered_events BIGINT, parked_events BIGINT, closed_events BIGINT,
    is_parked BOOLEAN, is_discarded BOOLEAN, tried_at DOUBLE, status INTEGER, detail VARCHAR, outcome VARCHAR
"""

SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS positions (topic VARCHAR, "partition" INTEGER, next_offset BIGINT, as_of DOUBLE,
    PRIMARY KEY (topic, "partition"));
CREATE TABLE IF NOT EXISTS attempts (
    place BIGINT, "partition" INTEGER, "offset" BIGINT, batch VARCHAR, lane VARCHAR, "first" BIGINT, "end" BIGINT,
    integration VARCHAR, kind VARCHAR, attempt INTEGER, "at" DOUBLE, events BIGINT, verdict VARCHAR, detail VARCHAR,
    duration_s DOUBLE, request_bytes BIGINT, answer_bytes BIGINT, status INTEGER, answer_head VARCHAR, next_at DOUBLE,
    final VARCHAR, arrived BIGINT, given_up BIGINT
);
CREATE TABLE IF NOT EXISTS batches ({_BATCH_COLUMNS});
CREATE TABLE IF NOT EXISTS waiting_batches ({_BATCH_COLUMNS});
CREATE TABLE IF NOT EXISTS unplaced (
    "partition" INTEGER, kind VARCHAR, lane VARCHAR, "first" BIGINT, "end" BIGINT, "at" DOUBLE, tries INTEGER,
    delivered BIGINT, parked BIGINT, closed BIGINT, final VARCHAR, status INTEGER, detail VARCHAR
);
CREATE TABLE IF NOT EXISTS replays ("partition" INTEGER, kind VARCHAR, batch VARCHAR, "at" DOUBLE);
CREATE TABLE IF NOT EXISTS parked (
    place BIGINT, "partition" INTEGER, "offset" BIGINT, kind VARCHAR, lane VARCHAR, integration VARCHAR, batch VARCHAR,
    "first" BIGINT, "end" BIGINT, rest VARCHAR, reason VARCHAR, attempts INTEGER, parked_at DOUBLE, events BIGINT,
    "bytes" BIGINT, state VARCHAR, replayed_at DOUBLE
);
CREATE TABLE IF NOT EXISTS dead_letters (
    place BIGINT, "partition" INTEGER, "offset" BIGINT, "at" DOUBLE, reason VARCHAR, detail VARCHAR, topic VARCHAR,
    source_partition INTEGER, source_offset BIGINT, source_at DOUBLE, "bytes" BIGINT, "key" VARCHAR, preview VARCHAR
);
CREATE TABLE IF NOT EXISTS notices (
    place BIGINT, "partition" INTEGER, "offset" BIGINT, id VARCHAR, cause VARCHAR, "at" DOUBLE, integration VARCHAR,
    webhook VARCHAR, detail VARCHAR, suppressed BIGINT
);
CREATE TABLE IF NOT EXISTS inbound_requests (
    place BIGINT, "partition" INTEGER, "offset" BIGINT, "at" DOUBLE, result VARCHAR, reason VARCHAR, webhook VARCHAR,
    identified_by VARCHAR, user_id VARCHAR, email VARCHAR, phone VARCHAR, hwid VARCHAR, preview VARCHAR, events BIGINT,
    disregarded BIGINT, reasons VARCHAR, is_first_part BOOLEAN, status INTEGER, outcome VARCHAR, source VARCHAR, call VARCHAR, application VARCHAR,
    detail VARCHAR, user_key VARCHAR, "key" VARCHAR, address VARCHAR, "bytes" BIGINT, id VARCHAR
);
CREATE VIEW IF NOT EXISTS all_batches AS SELECT * FROM batches UNION ALL SELECT * FROM waiting_batches;
"""

OF_PARTITIONS: Final = (
    "attempts", "batches", "waiting_batches", "unplaced", "replays", "parked", "dead_letters", "notices",
    "inbound_requests", "positions",
)  # fmt: skip
"""All tables whose rows leave with their partition."""
