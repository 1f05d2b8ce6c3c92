"""Sources ``ledger``, ``hours`` and ``hour-totals``: what became of every matched event, by integration and by hour.

An integration may have lanes on several workers, so each gives its part and the asker adds them up.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from agents.view.sources.lanes import FIGURES, MORE, OF_STATE
from agents.view.sources.state import IntegrationPlaces, LaneRows, WorkerState
from pipeline.delivery.pending import HOUR_S
from pipeline.model.batch import integration_of
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.lane_rows import EVENTS, LaneState, add_rows, hour_rows
from pipeline.view.query import Operator, Query
from pipeline.view.source import Answer, answer_of

TOTALS_SERVE_S: Final = 5.0
"""How long the sums of all integrations serve: they walk over the hours of every lane."""

_OF_EVENTS = tuple(column for column in FIGURES if column.name in EVENTS)


def names_of(query: Query, column: str) -> frozenset[str] | None:
    """The values of ``column`` that ``query`` is about; ``None`` for all."""
    found: frozenset[str] | None = None
    for condition in query.conditions:
        if condition.column == column and condition.operator in {Operator.EXACT, Operator.IN}:
            value = condition.value
            named = frozenset(value if isinstance(value, list | tuple) else [value])
            found = named if found is None else found & named
    return found


def column_of(state: LaneState) -> str:
    """The column that counts the lanes of this state."""
    return f"lanes_{state.value.replace(' ', '_')}"


class LedgerParts:
    """This worker's part of each integration's row, put together again only when the lanes were read again."""

    def __init__(self, state: WorkerState, lanes: LaneRows) -> None:
        self._lanes = lanes
        self._places = IntegrationPlaces(state)
        self._state = state
        self._parts: dict[str, Row] = {}
        self._of: tuple[Any, Any] = (None, None)

    async def read(self) -> Mapping[str, Row]:
        """The rows by integration; not to be changed."""
        by_partition, snapshot = await self._lanes.read(), self._state.snapshot()
        if self._of[0] is not by_partition or self._of[1] is not snapshot:
            parts: dict[str, Row] = {row["integration"]: row for row in self._places.rows_of(by_partition)}
            turns = Turns()
            for rows in by_partition.values():
                for row in rows:
                    held = parts.get(row["integration"])
                    # Most integrations have one lane; the row without events tells nothing that the lane's does not.
                    parts[row["integration"]] = row if held is None or not held["lanes"] else add_rows(held, row)
                    await turns.pause()
            self._parts, self._of = parts, (by_partition, snapshot)
        return self._parts


class LedgerSource:
    """One row an integration: its figures, and how its lanes are."""

    name = "ledger"
    columns: Columns = (
        Column("integration", "Integration", Kind.CODE, "A customer's delivery.", link="/integrations/{integration}"),
        Column("kind", "Kind", Kind.CODE, "What its endpoint speaks."),
        OF_STATE,
        *FIGURES,
        *MORE,
        Column("lanes", "Lanes", Kind.INTEGER, "Sequences that its events are in.", is_wide=True),
    )
    key = "integration"
    sort = "integration"
    is_descending = False
    combined = frozenset(column.name for column in columns) - {"integration"}
    combines_narrow_rows = True

    def __init__(self, state: WorkerState, lanes: LaneRows) -> None:
        self._state = state
        self._parts = LedgerParts(state, lanes)

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    def combine(self, one: Row, other: Row) -> Row:
        """Two parts of one integration."""
        return add_rows(one, other)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part."""
        wanted = names_of(query, "integration")
        parts = await self._parts.read()
        rows = parts.values() if wanted is None else [parts[name] for name in sorted(wanted & parts.keys())]
        return answer_of(rows, query, self.columns, masks)


class LedgerTotalsSource:
    """One row: all integrations together, and how many lanes are in which state."""

    name = "ledger-totals"
    columns: Columns = (
        Column("id", "Of", Kind.TEXT, "Everything.", is_wide=True),
        *FIGURES,
        *MORE,
        Column("lanes", "Lanes", Kind.INTEGER, "Sequences of events."),
        *(
            Column(column_of(state), f"Lanes {state}", Kind.INTEGER, f"Lanes whose state is: {state}.")
            for state in LaneState
        ),
    )
    key = "id"
    sort = "id"
    is_descending = False
    combined = frozenset(column.name for column in columns) - {"id"}

    def __init__(self, state: WorkerState, lanes: LaneRows) -> None:
        self._state = state
        self._lanes = lanes

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    def combine(self, one: Row, other: Row) -> Row:
        """Two workers' totals."""
        counts = {column_of(state): one[column_of(state)] + other[column_of(state)] for state in LaneState}
        return {**add_rows(one, other), **counts}

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part."""
        total: Row = {"id": "all", **dict.fromkeys((each.name for each in FIGURES), 0), "lanes": 0}
        total |= {each.name: None if each.kind is Kind.TIME else 0 for each in MORE}
        states: Counter[str] = Counter()
        turns = Turns()
        for rows in (await self._lanes.read()).values():
            for row in rows:
                states[row["state"]] += 1
                for name, value in total.items():
                    if isinstance(value, int):
                        total[name] = value + row[name]
                    elif name != "id" and row[name] is not None:
                        total[name] = row[name] if value is None else min(value, row[name])
                await turns.pause()
        total |= {column_of(state): states[state.value] for state in LaneState}
        return answer_of([total], query, self.columns, masks)


class HoursSource:
    """One row an integration and hour, of the windows that were opened in it; kept for two days, and longer where events wait."""

    name = "hours"
    columns: Columns = (
        Column(
            "id",
            "Hour and integration",
            Kind.CODE,
            "The hour's beginning (UNIX seconds) and the integration.",
            is_wide=True,
        ),
        Column("integration", "Integration", Kind.CODE, "A customer's delivery.", link="/integrations/{integration}"),
        Column("at", "Hour", Kind.TIME, "When the hour began in which the events' windows were opened."),
        *_OF_EVENTS,
    )
    key = "id"
    sort = "at"
    is_descending = True
    combined = frozenset(column.name for column in _OF_EVENTS)

    def __init__(self, state: WorkerState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    def combine(self, one: Row, other: Row) -> Row:
        """Two parts of one hour."""
        return add_rows(one, other)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part; quick where the query names integrations."""
        wanted = names_of(query, "integration")
        whole: dict[tuple[str, int], Row] = {}
        turns = Turns()
        for name, hour, figures in self._figures(wanted):
            held = whole.get((name, hour))
            if held is None:
                at = hour * HOUR_S
                whole[name, hour] = {"id": f"{at}/{name}", "integration": name, "at": at, **figures}
            else:
                _add(held, figures)
            await turns.pause()
        return answer_of(whole.values(), query, self.columns, masks)

    def _figures(self, wanted: Collection[str] | None) -> Iterable[tuple[str, int, Row]]:
        for partition in sorted(self._state.restored()):
            yield from figures_in(self._state, partition, wanted)


class HourTotalsSource:
    """One row an hour: the figures of all integrations."""

    name = "hour-totals"
    columns: Columns = (
        Column("at", "Hour", Kind.TIME, "When the hour began in which the events' windows were opened."),
        *_OF_EVENTS,
    )
    key = "at"
    sort = "at"
    is_descending = True
    combined = HoursSource.combined

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._rows: dict[int, Row] = {}
        self._of: frozenset[int] = frozenset()
        self._at_s = -math.inf
        self._reading = asyncio.Lock()

    def partitions(self) -> frozenset[int]:
        """Those whose state is here."""
        return self._state.restored()

    def combine(self, one: Row, other: Row) -> Row:
        """Two parts of one hour."""
        return add_rows(one, other)

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's part."""
        async with self._reading:
            now_s, here = self._state.clock.monotonic_s(), self._state.restored()
            if now_s - self._at_s > TOTALS_SERVE_S or here != self._of:
                self._rows, self._of, self._at_s = await self._read(), here, now_s
        return answer_of([dict(row) for row in self._rows.values()], query, self.columns, masks)

    async def _read(self) -> dict[int, Row]:
        whole: dict[int, Row] = {}
        turns = Turns()
        for partition in sorted(self._state.restored()):
            for _, hour, figures in figures_in(self._state, partition, None):
                held = whole.get(hour)
                if held is None:
                    whole[hour] = {"at": hour * HOUR_S, **figures}
                else:
                    _add(held, figures)
                await turns.pause()
        return whole


def figures_in(state: WorkerState, partition: int, wanted: Collection[str] | None) -> Iterable[tuple[str, int, Row]]:
    """The hours of a partition's lanes, of the integrations ``wanted`` or of all.

    Lanes are listed before the first is read, so that others may run in between.
    """
    lanes = [lane for core in state.cores for lane in core.pending_lanes(partition)]
    stage = state.windows.stages.get(partition)
    windows = [] if stage is None else list(stage.lanes())
    if wanted is not None:
        lanes = [lane for lane in lanes if integration_of(lane.name) in wanted]
        windows = [window for window in windows if integration_of(window.lane) in wanted]
    return hour_rows(lanes, windows)


def _add(held: Row, figures: Row) -> None:
    for name in EVENTS:
        held[name] += figures[name]
