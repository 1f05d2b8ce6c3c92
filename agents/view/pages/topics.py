"""``/topics``: the app's topics, one topic, and one record for good."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

from aiokafka import ConsumerRecord

from agents.view.gather import Gather
from agents.view.server import View, Visit
from agents.view.single_records import read_latest, read_record, read_spans
from agents.view.sources.state import WorkerState
from agents.view.sources.tables import SECTIONS
from agents.view.sources.topics import TopicFigures
from pipeline.errors import NotFoundError, ViewQueryError
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.decoded import Decoded, decode_record, decode_table_row, key_text
from pipeline.view.mask import mask_text, mask_value
from pipeline.view.page import Page, Section

LATEST: Final = 10
"""Records of each partition that the page of a topic shows."""
MOST_RECORDS: Final = 200
MOST_RAW_BYTES: Final = 16 << 10
_LARGEST_OFFSET: Final = 2**63 - 1
_OFFSET_DIGITS: Final = 19
_HEX: Final = "hex"
_KEYED_BY_PEOPLE: Final = frozenset({"source", "dead-letters", "inbound", "user-updates", "table users"})

_RECORDS: Final[Columns] = (
    Column("offset", "Offset", Kind.INTEGER, "Its place.", link="/topics/{topic}/{partition}/{offset}"),
    Column("partition", "Partition", Kind.INTEGER, "Of the topic."),
    Column("at", "Written", Kind.TIME, "The record's time."),
    Column("key", "Key", Kind.CODE, "As text, or 0x and its bytes.", is_sortable=False),
    Column("kind", "Kind", Kind.STATE, "What it is.", is_sortable=False),
    Column(
        "integration", "Integration", Kind.CODE, "Whose it is.", is_sortable=False, link="/integrations/{integration}"
    ),
    Column("size_bytes", "Size", Kind.BYTES, "Of its value.", is_sortable=False),
    Column("value", "Value", Kind.JSON, "What it says, decoded.", is_sortable=False),
    Column("problem", "Problem", Kind.TEXT, "Why it cannot be read.", is_wide=True, is_sortable=False),
    Column("topic", "Topic", Kind.CODE, "The topic.", is_wide=True, is_sortable=False),
)
_PARTS: Final[Columns] = (
    Column("part", "Part", Kind.TEXT, "A part of the record.", is_sortable=False),
    Column("value", "Value", Kind.JSON, "What it holds.", is_sortable=False),
)


_WITH_SECRETS: Final = frozenset({"table integrations"})
_HIDDEN: Final = "hidden: it may hold secrets of integrations, which are shown to nobody"


class TopicPages:
    """The three pages."""

    def __init__(self, state: WorkerState, gather: Gather, figures: TopicFigures) -> None:
        self._state = state
        self._gather = gather
        self._figures = figures

    def register(self, view: View) -> None:
        """Put them on ``view``."""
        view.page("/topics", self.topics, nav="Topics")
        view.page("/topics/{topic}", self.topic)
        view.page("/topics/{topic}/{partition}/{offset}", self.record)

    async def topics(self, visit: Visit) -> Page:
        """All topics, and how far each partition that agents read is behind."""
        is_of_lag = visit.parameter("section") == "lag"
        topics = await self._gather.section("topics", "topics", visit, what="topics", reads_url=not is_of_lag)
        lag = await self._gather.section("lag", "partitions", visit, what="partitions", reads_url=is_of_lag)
        return Page("Topics", "page.html", [topics, lag])

    async def topic(self, visit: Visit) -> Page:
        """One topic: its partitions and its newest records."""
        topic, kind = self._topic(visit)
        about = await self._gather.section("topic", "topics", visit, reads_url=False, topic=topic)
        partitions = await self._gather.section(
            "partitions", "topic-partitions", visit, what="partitions", reads_url=False, limit=1000, topic=topic
        )
        records = await self._records(visit, topic)
        rows = [self._row(record, topic, kind, visit.masks) for record in records]
        said = f"{len(rows):,} records, the newest first" if rows else "No records"
        newest = Section("records", _RECORDS, _each(rows), said)
        lead = "More records: ?partition=0&offset=1000 shows those from there on."
        return Page(f"Topic {topic}", "page.html", [newest, partitions, about], {"holds": kind}, {"lead": lead})

    async def record(self, visit: Visit) -> Page:
        """One record, decoded and raw; its address stays good for as long as the record is kept."""
        topic, kind = self._topic(visit)
        partition = _number("partition", visit.match["partition"])
        offset = _number("offset", visit.match["offset"])
        record = await read_record(self._state.brokers, topic, partition, offset)
        row = self._row(record, topic, kind, visit.masks, with_events=True)
        facts = {name: row[name] for name in ("partition", "offset", "at", "kind", "integration", "size_bytes")}
        parts = [
            {"part": "key", "value": row["key"]},
            *({"part": f"header {name}", "value": _header(value, visit.masks)} for name, value in record.headers),
            {"part": "decoded", "value": row["value"]},
            {"part": "raw", "value": _HIDDEN if kind in _WITH_SECRETS else _raw(record.value, visit.masks)},
        ]
        if row["problem"]:
            parts.insert(0, {"part": "problem", "value": row["problem"]})
        links = (
            {"integration": visit.url_for("/integrations/{name}", name=row["integration"])}
            if row["integration"]
            else {}
        )
        section = Section("record", _PARTS, _each(parts), f"{topic}, partition {partition}, offset {offset}")
        return Page(f"Record {partition}/{offset} of {topic}", "page.html", [section], facts, {"fact_links": links})

    def _topic(self, visit: Visit) -> tuple[str, str]:
        topic = visit.match["topic"]
        kind = self._figures.kinds().get(topic)
        if kind is None:
            raise NotFoundError(f"{topic[:200]!r} is no topic of this app")
        return topic, kind

    async def _records(self, visit: Visit, topic: str) -> list[ConsumerRecord]:
        """Those that the URL asks for, else the newest of each partition; the newest first."""
        count = min(MOST_RECORDS, _number("count", visit.parameter("count", str(LATEST))))
        offset, partition = visit.parameter("offset"), visit.parameter("partition")
        if offset:
            first = _number("offset", offset)
            spans = {_number("partition", partition or "0"): (first, first + count)}
            records = await read_spans(self._state.brokers, topic, spans)
        else:
            numbers = [_number("partition", partition)] if partition else range(len(self._state.peers.partitions))
            if not partition and topic == self._state.topology.source.get_topic_name():
                spans_now = await self._figures.spans()
                numbers = sorted(tp.partition for tp in spans_now.ends if tp.topic == topic)
            records = await read_latest(self._state.brokers, topic, numbers, count)
        await asyncio.sleep(0)
        return sorted(records, key=lambda each: (each.timestamp, each.partition, each.offset), reverse=True)[
            :MOST_RECORDS
        ]

    def _row(
        self, record: ConsumerRecord, topic: str, kind: str, masks: frozenset[Personal], *, with_events: bool = False
    ) -> Row:
        decoded = self._decoded(record, kind, masks, with_events=with_events)
        key = None if record.key is None else key_text(record.key)
        if kind in _KEYED_BY_PEOPLE and key and Personal.USER_ID in masks:
            key = mask_value(Personal.USER_ID, key)  # it is the user's id, or the device's
        return {
            "offset": record.offset,
            "partition": record.partition,
            "at": record.timestamp / 1000,
            "key": key,
            "kind": decoded.kind,
            "integration": decoded.integration,
            "size_bytes": len(record.value or b""),
            "value": decoded.value,
            "problem": decoded.problem or None,
            "topic": topic,
        }

    @staticmethod
    def _decoded(record: ConsumerRecord, kind: str, masks: frozenset[Personal], *, with_events: bool) -> Decoded:
        table = kind.removeprefix("table ")
        if table != kind:
            return decode_table_row(
                table, record.key or b"", record.value, masks, sections=SECTIONS, with_events=with_events
            )
        return decode_record(kind, record.value, masks, with_events=with_events)


def _raw(value: bytes | None, masks: frozenset[Personal]) -> Any:
    """The bytes as text where they are that, else in hexadecimal; hidden from those who may not see all that is in them."""
    if value is None:
        return None
    if masks:
        return "hidden: it may hold what you may not see"
    head = value[:MOST_RAW_BYTES]
    try:
        text = head.decode()
        shown = text if text.isprintable() else f"{_HEX}: {head.hex()}"
    except UnicodeDecodeError:
        shown = f"{_HEX}: {head.hex()}"
    return shown if len(value) <= MOST_RAW_BYTES else f"{shown} ... ({len(value):,} bytes in all)"


def _header(value: bytes, masks: frozenset[Personal]) -> str:
    try:
        return mask_text(value.decode(), masks)
    except UnicodeDecodeError:
        return f"{_HEX}: {value.hex()}"


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _OFFSET_DIGITS or int(text) > _LARGEST_OFFSET:
        raise ViewQueryError(f"{name}: {text[:40]!r} is not a whole number")
    return int(text)


async def _each(rows: Iterable[Row]) -> AsyncGenerator[Row]:
    for row in rows:
        yield row
