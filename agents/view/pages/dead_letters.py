"""Source records that could not be used: why, which, and sending them again."""

from collections.abc import Sequence
from typing import Final

from aiokafka import ConsumerRecord

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import chosen, each, form_pairs, number, time_range, with_facets
from agents.view.pages.parked import check_expected
from agents.view.records import decoded, place_in
from agents.view.replays import DEAD_LETTERS, MOST_ROWS, Item, Sent
from agents.view.server import View
from agents.view.visit import Done, Visit
from pipeline.errors import CodecError, UnavailableError
from pipeline.integrations.audit import Actor, entry_by
from pipeline.view.attention import counted
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.coverage import Coverage
from pipeline.view.index.tables import DEAD_LETTERS as TABLE
from pipeline.view.index.tables import place_of
from pipeline.view.mask import mask_text, mask_value
from pipeline.view.page import Page, Section
from pipeline.view.query import Query
from pipeline.view.roles import Role
from pipeline.view.sentence import sentence

FACETS: Final = ("reason", "topic")
SHOWN_BYTES: Final = 16 << 10
USUAL_RATE: Final = 100.0
MOST_RATE: Final = 5000.0
PLAN_WITHIN_S: Final = 5.0
_OWN_FIELDS: Final = frozenset({"expected", "rate", "partial"})
_GROUPS: Final[Columns] = (
    Column("reason", "Reason", Kind.STATE, is_sortable=False),
    Column("topic", "To topic", Kind.CODE, is_sortable=False),
    Column("letters", "Records", Kind.INTEGER, is_sortable=False),
    Column("bytes", "Size", Kind.BYTES, is_sortable=False),
)


class DeadLetterPages:
    """``/dead-letters``, one of them, and sending them again."""

    def __init__(self, parts: FlowParts) -> None:
        self._gather = parts.gather
        self._records = parts.records
        self._replays = parts.replays
        self._integrations = parts.integrations
        self._names = parts.names
        self._source = parts.settings.topic

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/dead-letters", self.search, nav="Dead letters")
        view.page("/dead-letters/replay", self.plan, role=Role.OPERATOR)
        view.page("/dead-letters/{partition}/{offset}", self.one)
        view.action("/dead-letters/replay", self.replay)

    async def search(self, visit: Visit) -> Page:
        """Search dead letters."""
        asked = with_facets(visit, FACETS)
        section = await self._gather.section(
            "dead_letters", "dead_letters", asked, what="dead letters", **time_range(visit, "at")
        )
        nothing = {"dead_letters": "No dead letter fits: every record that came could be used."}
        return Page("Dead letters", "dead_letters.html", [section], context={"nothing": nothing})

    async def one(self, visit: Visit) -> Page:
        """One record with its raw bytes, as text and in hexadecimal."""
        partition, offset = place_in(visit.match)
        record = await self._records.one(self._names.dead_letters, partition, offset)
        told = {name: value.decode("utf-8", "replace") for name, value in record.headers or ()}
        is_hidden = bool(visit.masks)  # the record may hold anything, and nobody knows where
        value = record.value
        facts = {
            "reason": told.get("reason"),
            "refused_at": record.timestamp / 1000,
            "from": f"{told.get('topic')}, partition {told.get('partition')}, offset {told.get('offset')}",
            "size_bytes": None if value is None else len(value),
            "key": _key(record, visit.masks),
        }
        detail = told.get("detail", "")
        context = {
            "lead": mask_value(Personal.PAYLOAD, detail)
            if Personal.PAYLOAD in visit.masks
            else mask_text(detail, visit.masks),
            "raw": {"text": None, "hex": None, "bytes": None, "is_cut": False}
            if is_hidden
            else decoded(value, SHOWN_BYTES),
            "is_hidden": is_hidden,
            "has_value": value is not None,
            "origin": None,
        }
        if (
            told.get("topic") == self._source
            and told.get("partition", "").isdigit()
            and told.get("offset", "").isdigit()
        ):
            context["origin"] = visit.url_for(
                "/events/{topic}/{partition}/{offset}",
                topic=told["topic"],
                partition=told["partition"],
                offset=told["offset"],
            )
        if value is not None and visit.person.role.includes(Role.OPERATOR):
            context["acts"] = [
                {
                    "id": "replay",
                    "url": visit.url_for("/dead-letters/replay"),
                    "label": "Send again",
                    "question": f"Publish these {len(value):,} bytes to {self._source} again? They are refused again unless what was wrong is mended.",
                    "fields": {"place": str(place_of(partition, offset)), "expected": "1"},
                }
            ]
        row = {**{column.name: None for column in TABLE.columns}, "partition": partition, "offset": offset}
        row |= {"reason": told.get("reason"), "detail": context["lead"], "at": record.timestamp / 1000}
        row |= {"topic": told.get("topic"), "bytes": facts["size_bytes"], "key": facts["key"]}
        row |= {f"source_{name}": int(told[name]) for name in ("partition", "offset") if told.get(name, "").isdigit()}
        row["place"] = place_of(partition, offset)
        section = Section("dead_letter", TABLE.columns, each([row]), "What is known of it.")
        return Page(f"Dead letter {partition}/{offset}", "dead_letter.html", [section], facts, context)

    async def plan(self, visit: Visit) -> Page:
        """What would be sent again, counted."""
        rows, coverage, query = await self._chosen(visit.parameters, visit)
        groups: dict[tuple[str, str], Row] = {}
        for row in rows:
            group = groups.setdefault(
                (row["reason"], row["topic"]),
                {"reason": row["reason"], "topic": row["topic"], "letters": 0, "bytes": 0},
            )
            group["letters"] += 1
            group["bytes"] += row["bytes"]
        heading = sentence("dead letters", query, TABLE.columns, matching=len(rows))
        note = "What is sent again and still cannot be used becomes a dead letter again."
        return Page(
            "Send dead letters again",
            "replay.html",
            [Section("groups", _GROUPS, each(groups.values()), heading, coverage=coverage)],
            {"dead letters": len(rows), "size_bytes": sum(row["bytes"] for row in rows)},
            {
                "notes": [note],
                "url": "/dead-letters/replay",
                "fields": [(name, value) for name, value in visit.parameters if name not in _OWN_FIELDS],
                "count": len(rows),
                "noun": "dead letters",
                "rate": USUAL_RATE,
                "most_rate": MOST_RATE,
                "back": "/dead-letters",
            },
        )

    async def replay(self, visit: Visit) -> Done:
        """Publish the original bytes to the source topic again."""
        pairs = form_pairs(visit)
        form = dict(pairs)
        rate = number(form.get("rate", ""), "rate", least=0.1, most=MOST_RATE, usual=USUAL_RATE)
        rows, coverage, query = await self._chosen(pairs, visit)
        check_expected(form.get("expected", ""), len(rows), "dead letters")
        if not coverage.is_complete and form.get("partial") != "ok":
            raise UnavailableError(
                f"not all dead letters are known just now ({coverage.sentence()}); try again, or send partial=ok"
            )
        self._replays.check_room(len(rows))
        which = sentence("dead letters", query, TABLE.columns, matching=len(rows))
        actor = Actor(visit.person.name, visit.person.role.value, visit.address)
        details = {"dead_letters": len(rows), "rate": rate, "which": which}
        await self._integrations.record(
            entry_by(actor, "dead letters sent again", self._source, details, at=visit.now_s)
        )
        job = self._replays.start(
            DEAD_LETTERS,
            which=which,
            who=visit.person.name,
            topic=self._names.dead_letters,
            items=[Item(f"{row['partition']}/{row['offset']}", row["partition"], row["offset"]) for row in rows],
            rate=rate,
            make=self._made,
        )
        return Done(
            f"{counted(len(rows), 'dead letter is', 'dead letters are')} being sent again",
            visit.url_for("/replays/{id}", id=job.id),
            {"replay": job.id, "dead_letters": len(rows)},
        )

    async def _chosen(self, parameters: Sequence[tuple[str, str]], visit: Visit) -> tuple[list[Row], Coverage, Query]:
        query = chosen([pair for pair in parameters if pair[0] not in _OWN_FIELDS], TABLE, visit)
        asked = query.where("topic", self._source)
        # Masked as for the viewer: a search must not tell more of a record than a page does.
        found = await self._gather.ask("dead_letters", asked, visit.masks, deadline_s=PLAN_WITHIN_S)
        rows: list[Row] = []
        async for row in found.rows:
            if row["bytes"] is not None:
                rows.append(row)
            if len(rows) > MOST_ROWS:
                self._replays.check_room(len(rows))
        return rows, found.coverage, query

    def _made(self, record: ConsumerRecord) -> Sent:
        told = dict(record.headers or ())
        partition = told.get("partition", b"").decode("ascii", "replace")
        if record.value is None:
            raise CodecError("it has no value, and would be refused again")
        if told.get("topic", b"").decode("utf-8", "replace") != self._source or not partition.isdigit():
            raise CodecError(f"it does not say which partition of {self._source} it came from")
        return Sent(self._source, int(partition), record.key, record.value)


def _key(record: ConsumerRecord, masks: frozenset[Personal]) -> str | None:
    if record.key is None:
        return None
    text = record.key.decode("utf-8", "replace")
    return str(mask_value(Personal.USER_ID, text)) if Personal.USER_ID in masks else text
