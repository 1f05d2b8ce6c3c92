"""What a replay is going to do, before it does it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.delivery.rows import LaneRow
from pipeline.model.batch import integration_of
from pipeline.model.integration import Integration
from pipeline.replay.parked import Named, ParkedBatch, PendingRows, Selection


class Group(NamedTuple):
    """Batches of one integration that were parked for one reason."""

    integration: str
    kind: str
    reason: str
    batches: int
    events: int


class NotParked(NamedTuple):
    """A batch that was named and is not parked. ``is_mistake`` where there never was such a batch."""

    batch: str
    why: str
    is_mistake: bool


@dataclass(slots=True)
class Plan:
    """``batches`` are to be replayed, ``left_out`` are not although they were meant, for the reasons in ``notes``."""

    batches: list[ParkedBatch] = field(default_factory=list)
    left_out: list[ParkedBatch] = field(default_factory=list)
    not_parked: list[NotParked] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Events in ``batches``."""
        return sum(batch.events for batch in self.batches)

    @property
    def has_mistakes(self) -> bool:
        """Whether something was named that there never was."""
        return any(each.is_mistake for each in self.not_parked)

    def groups(self) -> list[Group]:
        """``batches`` by integration and reason, the most first."""
        counted: dict[tuple[str, str, str], tuple[int, int]] = {}
        for batch in self.batches:
            key = (batch.integration, batch.kind, batch.row.reason)
            batches, events = counted.get(key, (0, 0))
            counted[key] = (batches + 1, events + batch.events)
        groups = [Group(*key, *counts) for key, counts in counted.items()]
        return sorted(groups, key=lambda group: (group.integration, -group.batches, group.reason))

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "batches": len(self.batches),
            "events": self.events,
            "groups": [group._asdict() for group in self.groups()],
            "left_out": [batch.id for batch in self.left_out],
            "not_parked": [each._asdict() for each in self.not_parked],
            "notes": self.notes,
        }


def make_plan(selection: Selection, pending: PendingRows, integrations: Iterable[Integration]) -> Plan:
    """What a replay of ``selection`` comes to, as the rows stand.

    A batch whose integration is not among ``integrations``, or is of another kind by now, is left out: nobody could
    deliver it, and it would be parked again at once.
    """
    configured = {each.id: each for each in integrations}
    plan = Plan()
    lost: dict[str, int] = {}
    for batch in pending.parked:
        if selection.takes(batch):
            integration = configured.get(batch.integration)
            if integration is not None and integration.kind == batch.kind:
                plan.batches.append(batch)
            else:
                plan.left_out.append(batch)
                lost[batch.integration] = lost.get(batch.integration, 0) + 1
    plan.not_parked = [
        _explain(named, pending.lanes)
        for named in selection.batches
        if not any(named.means(batch) for batch in pending.parked)
    ]
    for name, count in sorted(lost.items()):
        changed = f"is of kind {configured[name].kind} now" if name in configured else "is not in the configuration"
        plan.notes.append(f"{name} {changed}: {count} of its batches are left out, they would be parked again at once")
    plan.notes += _what_holds_back(plan.batches, pending.lanes, configured)
    return plan


def _explain(named: Named, lanes: Mapping[tuple[str, str], LaneRow]) -> NotParked:
    registered = [row.registered for (_, lane), row in lanes.items() if lane == named.lane]
    if not registered:
        return NotParked(named.text, f"there is no lane {named.lane}", is_mistake=True)
    if named.end > max(registered):
        why = f"lane {named.lane} has come as far as {max(registered)}"
        return NotParked(named.text, why, is_mistake=True)
    return NotParked(
        named.text,
        "it is not parked: it was delivered, discarded or replayed, or it was parked so long ago that its record is gone",
        is_mistake=False,
    )


def _what_holds_back(
    batches: Iterable[ParkedBatch],
    lanes: Mapping[tuple[str, str], LaneRow],
    configured: Mapping[str, Integration],
) -> list[str]:
    notes = [
        f"{name} is not enabled: its batches will wait until it is"
        for name in sorted({batch.integration for batch in batches})
        if not configured[name].enabled
    ]
    for kind, lane in sorted({(batch.kind, batch.lane) for batch in batches}):
        row = lanes.get((kind, lane))
        integration = integration_of(lane)
        if row is not None and row.halted_for:
            notes.append(
                f"{lane} is halted, its endpoint was gone: its batches will wait for `distributary resume {integration}`"
            )
        elif row is not None and row.breaker is not None:
            notes.append(
                f"{lane} is held back by its breaker: its batches will wait until its endpoint works, or for "
                f"`distributary resume {integration}`"
            )
    return notes
