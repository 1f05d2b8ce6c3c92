"""Source ``gates``: what holds lanes back, breakers first of all."""

from collections.abc import Iterable
from typing import Final

from agents.view.sources.ledger import names_of
from agents.view.sources.state import WorkerState
from pipeline.delivery.core import DeliveryCore
from pipeline.delivery.gate import Gate
from pipeline.delivery.pending import PendingLane
from pipeline.model.batch import integration_of
from pipeline.replay.held import SOON_S
from pipeline.view.attention import TOLD_TO_WAIT
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.lane_rows import LaneState
from pipeline.view.query import Operator, Query
from pipeline.view.source import Answer, answer_of

_PROBING: Final = "probing"


class GatesSource:
    """One row a lane."""

    name = "gates"
    columns: Columns = (
        Column("id", "Lane and kind", Kind.CODE, "Which lane, and for which kind of sink.", is_wide=True),
        Column("lane", "Lane", Kind.CODE, "An ordered sequence of events."),
        Column("integration", "Integration", Kind.CODE, "Whose lane it is.", link="/integrations/{integration}"),
        Column("kind", "Kind", Kind.CODE, "What its endpoint speaks."),
        Column(
            "state", "State", Kind.STATE,
            "ok; breaker open; probing: one try is under way to see whether the endpoint works again; told to wait: by the "
            "endpoint, for more than half a minute from now; gone: it said so.",
        ),
        Column("is_held", "Held back", Kind.FLAG, "Whether nothing, or one try alone, is let through."),
        Column("since", "Since", Kind.TIME, "When its breaker opened."),
        Column("failures", "Failures", Kind.INTEGER, "Tries that failed one after the other."),
        Column("next_probe_at", "Next try", Kind.TIME, "When the endpoint is asked again."),
        Column("waiting", "Waiting", Kind.INTEGER, "Events that are sealed and not done."),
        Column("cap", "At once", Kind.INTEGER, "How many tries may be under way just now; fewer where it is slow."),
        Column("pause_s", "Asked to wait", Kind.SECONDS, "How long the endpoint still wants to be left alone (429, Retry-After)."),
        Column("pace_s", "Pace, tries/s", Kind.NUMBER, "What it took last; nothing where that is not bounded."),
        Column("partition", "Partition", Kind.INTEGER, "Where its state lives.", is_wide=True),
    )  # fmt: skip
    key = "id"
    sort = "waiting"
    is_descending = True

    def __init__(self, state: WorkerState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find lanes; quick where only those held back, or those of some integrations, are asked for."""
        wanted = names_of(query, "integration")
        is_held = any(
            each.column == "is_held" and each.operator is Operator.EXACT and each.value for each in query.conditions
        )
        rows: list[Row] = []
        turns = Turns()
        for core, partition, lane in self._lanes():
            is_wanted = wanted is None or integration_of(lane.name) in wanted
            if is_wanted and (not is_held or self._is_held(core, partition, lane)):
                rows.append(self._row(core, partition, lane))
            await turns.pause()
        return answer_of(rows, query, self.columns, masks)

    def _lanes(self) -> Iterable[tuple[DeliveryCore, int, PendingLane]]:
        for partition in sorted(self._state.restored()):
            for core in self._state.cores:
                for lane in list(core.pending_lanes(partition)):
                    yield core, partition, lane

    def _pause_s(self, gate: Gate | None) -> float:
        return 0.0 if gate is None else gate.pause_s(self._state.clock.monotonic_s())

    def _is_held(self, core: DeliveryCore, partition: int, lane: PendingLane) -> bool:
        if lane.halted_for or lane.breaker is not None:
            return True
        return self._pause_s(core.gate_of(partition, lane.name)) > SOON_S

    def _row(self, core: DeliveryCore, partition: int, lane: PendingLane) -> Row:
        gate, breaker = core.gate_of(partition, lane.name), lane.breaker
        now_s, pause_s = self._state.clock.monotonic_s(), self._pause_s(gate)
        state, next_try_at = LaneState.OK.value, None
        if lane.halted_for:
            state = LaneState.GONE.value
        elif breaker is not None:
            state, next_try_at = LaneState.BREAKER.value, breaker.next_probe_at
            if breaker.probe_at:
                state, next_try_at = _PROBING, None
        elif pause_s > SOON_S:
            state, next_try_at = TOLD_TO_WAIT, self._state.clock.wall_s() + pause_s
        return {
            "id": f"{lane.name} {core.kind}",
            "lane": lane.name,
            "integration": integration_of(lane.name),
            "kind": core.kind,
            "state": state,
            "is_held": state != LaneState.OK,
            "since": None if breaker is None else breaker.opened_at,
            "failures": 0 if breaker is None else breaker.failures,
            "next_probe_at": next_try_at,
            "waiting": lane.waiting_events,
            "cap": None if gate is None else gate.cap,
            "pause_s": pause_s or None,
            "pace_s": None if gate is None else gate.pace_per_s(now_s),
            "partition": partition,
        }
