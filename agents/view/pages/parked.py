"""What gave up and waits: counted first, then sent again at a bounded rate."""

from collections.abc import Sequence
from typing import Final

import msgspec
from aiokafka import ConsumerRecord

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import chosen, each, form_pairs, number, time_range, with_facets, with_usual
from agents.view.replays import MOST_ROWS, PARKED, Item, Sent
from agents.view.server import View
from agents.view.visit import Done, Visit
from pipeline.delivery.rows import ROW_VERSION, ParkedRow
from pipeline.errors import CodecError, ConflictError, UnavailableError
from pipeline.integrations.audit import Actor, entry_by
from pipeline.model.attempt import Parked, decode_parked
from pipeline.model.batch import decode_batch
from pipeline.replay.parked import ParkedBatch, PendingRows, Selection, replay_record
from pipeline.replay.plan import Plan, make_plan
from pipeline.view.attention import counted
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.coverage import Coverage
from pipeline.view.index.tables import PARKED as PARKED_TABLE
from pipeline.view.page import Page, Section
from pipeline.view.query import Query
from pipeline.view.roles import Role
from pipeline.view.sentence import sentence

FACETS: Final = ("state", "integration", "kind", "reason")
USUAL_RATE: Final = 20.0
MOST_RATE: Final = 1000.0
PLAN_WITHIN_S: Final = 5.0
_OWN_FIELDS: Final = frozenset({"expected", "rate", "partial"})
_GROUPS: Final[Columns] = (
    Column("integration", "Integration", Kind.CODE, is_sortable=False, link="/integrations/{integration}"),
    Column("kind", "Kind", Kind.STATE, is_sortable=False),
    Column("reason", "Parked because", is_sortable=False),
    Column("batches", "Batches", Kind.INTEGER, is_sortable=False),
    Column("events", "Events", Kind.INTEGER, is_sortable=False),
)


class ParkedPages:
    """``/parked``, and replaying what it shows."""

    def __init__(self, parts: FlowParts) -> None:
        self._gather = parts.gather
        self._replays = parts.replays
        self._integrations = parts.integrations
        self._names = parts.names
        self._clock = parts.clock

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/parked", self.search, nav="Parked")
        view.page("/parked/replay", self.plan, role=Role.OPERATOR)
        view.action("/parked/replay", self.replay)

    async def search(self, visit: Visit) -> Page:
        """What is parked; what was replayed already where the URL asks for it."""
        asked = with_usual(with_facets(visit, FACETS), "state", "parked")
        section = await self._gather.section(
            "parked", "parked", asked, what="batches", **time_range(visit, "parked_at")
        )
        return Page(
            "Parked",
            "parked.html",
            [section],
            context={"nothing": {"parked": "Nothing is parked: no batch that fits has given up."}},
        )

    async def plan(self, visit: Visit) -> Page:
        """What a replay of all that matches would send, before anything is sent."""
        plan, coverage, query = await self._plan(visit.parameters, visit)
        heading = sentence("batches", query, PARKED_TABLE.columns, matching=len(plan.batches))
        groups = [group._asdict() for group in plan.groups()]
        return Page(
            "Replay parked batches",
            "replay.html",
            [Section("groups", _GROUPS, each(groups), heading, coverage=coverage)],
            {"batches": len(plan.batches), "events": plan.events, "left out": len(plan.left_out)},
            {
                "notes": plan.notes,
                "url": "/parked/replay",
                "fields": [(name, value) for name, value in visit.parameters if name not in _OWN_FIELDS],
                "count": len(plan.batches),
                "noun": "batches",
                "rate": USUAL_RATE,
                "most_rate": MOST_RATE,
                "back": "/parked",
            },
        )

    async def replay(self, visit: Visit) -> Done:
        """Start a replay of what the form's conditions mean."""
        pairs = form_pairs(visit)
        form = dict(pairs)
        conditions = [pair for pair in pairs if pair[0] not in _OWN_FIELDS]
        rate = number(form.get("rate", ""), "rate", least=0.1, most=MOST_RATE, usual=USUAL_RATE)
        plan, coverage, query = await self._plan(conditions, visit)
        check_expected(form.get("expected", ""), len(plan.batches), "batches")
        if not coverage.is_complete and form.get("partial") != "ok":
            raise UnavailableError(
                f"not all that is parked is known just now ({coverage.sentence()}); try again, or send partial=ok"
            )
        self._replays.check_room(len(plan.batches))
        which = sentence("batches", query, PARKED_TABLE.columns, matching=len(plan.batches))
        actor = Actor(visit.person.name, visit.person.role.value, visit.address)
        details = {"batches": len(plan.batches), "events": plan.events, "rate": rate, "which": which}
        integrations = sorted({batch.integration for batch in plan.batches})
        target = integrations[0] if len(integrations) == 1 else f"{len(integrations)} integrations"
        await self._integrations.record(entry_by(actor, "replay started", target, details, at=visit.now_s))
        job = self._replays.start(
            PARKED,
            which=which,
            who=visit.person.name,
            topic=self._names.parked,
            items=[Item(batch.id, batch.partition, batch.row.offset) for batch in plan.batches],
            rate=rate,
            make=self._made,
        )
        return Done(
            f"{counted(len(plan.batches), 'batch is', 'batches are')} being replayed",
            visit.url_for("/replays/{id}", id=job.id),
            {"replay": job.id, "batches": len(plan.batches), "events": plan.events, "notes": plan.notes},
        )

    async def _plan(self, parameters: Sequence[tuple[str, str]], visit: Visit) -> tuple[Plan, Coverage, Query]:
        query = chosen([pair for pair in parameters if pair[0] not in _OWN_FIELDS], PARKED_TABLE, visit)
        asked = query.where("state", "parked")
        found = await self._gather.ask("parked", asked, frozenset[Personal](), deadline_s=PLAN_WITHIN_S)
        pending = PendingRows([], {})
        async for row in found.rows:
            pending.parked.append(_parked_batch(row))
            if len(pending.parked) > MOST_ROWS:
                self._replays.check_room(len(pending.parked))
        plan = make_plan(Selection(), pending, self._integrations.snapshot.integrations)
        return plan, found.coverage, query

    def _made(self, record: ConsumerRecord) -> Sent:
        parked = read_parked(record)
        batch = decode_batch(parked.batch)
        value = replay_record(batch, self._clock.wall_s())
        return Sent(self._names.batches(parked.kind), record.partition, batch.lane.encode(), value)


def check_expected(text: str, count: int, noun: str) -> None:
    """Raise ``ConflictError`` where what was counted is not what there is now."""
    if not text:
        raise ConflictError(f"expected: say how many {noun} you mean; there are {count:,} now", status=422)
    if text != str(count):
        raise ConflictError(f"it is {count:,} {noun} now, and you agreed to {text[:20]}; look again and then decide")


def read_parked(record: ConsumerRecord) -> Parked:
    """Read a record of the parked topic; raises ``CodecError`` where it is none."""
    try:
        return decode_parked(record.value or b"")
    except msgspec.MsgspecError as error:
        raise CodecError(f"the record at offset {record.offset} is no parked batch ({error})") from error


def _parked_batch(row: Row) -> ParkedBatch:
    rest = row["rest"]
    ranges = tuple((first, end) for first, end in (msgspec.json.decode(rest) if isinstance(rest, str) else rest or ()))
    parked = ParkedRow(ROW_VERSION, row["end"], ranges, 0, row["parked_at"], row["reason"], row["offset"])
    return ParkedBatch(row["kind"], row["partition"], row["lane"], row["first"], parked)
