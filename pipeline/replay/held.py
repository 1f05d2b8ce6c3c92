"""Lanes that hold their batches back, and the record that lets them go on."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import BatchRow, LaneRow, RowKind, decode_row, parse_key
from pipeline.model.batch import Batch, Request, SealReason, encode_batch, integration_of
from pipeline.model.moments import format_time
from pipeline.model.ranges import count_of

SOON_S: Final = 30.0
"""A batch whose next try is due within this, or a lane that is to wait no longer, is on its way, and not held back."""


class HeldLane(NamedTuple):
    """A lane whose endpoint was gone (``is_halted``), whose breaker is not closed, or a batch of which has its next try much later.

    ``later_at`` is when the last of these tries is due, in UNIX seconds; the others are what waits in the lane.
    """

    kind: str
    partition: int
    lane: str
    is_halted: bool
    breaker: BreakerRow | None
    waiting_batches: int
    waiting_events: int
    later_at: float | None = None

    @property
    def why(self) -> str:
        """What holds it back, in words."""
        found = ["halted: the endpoint said that it is gone"] if self.is_halted else []
        if self.breaker is not None:
            since = format_time(round(self.breaker.opened_at))
            found.append(f"breaker open since {since}, after {self.breaker.failures} failures")
        if self.later_at is not None:
            found.append(
                f"waits until {format_time(round(self.later_at))} for its next try, as the endpoint or `retry` asks"
            )
        return "; ".join(found)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "lane": self.lane,
            "kind": self.kind,
            "partition": self.partition,
            "halted": self.is_halted,
            "breaker_open": self.breaker is not None,
            "later_at": self.later_at,
            "why": self.why,
            "waiting_batches": self.waiting_batches,
            "waiting_events": self.waiting_events,
        }


def belongs_to(integration: str, key: bytes) -> bool:
    """Whether a row of a pending table is one that :func:`held_lanes` looks at."""
    lane, kind, _ = parse_key(key)
    return kind in (RowKind.LANE, RowKind.BATCH) and integration_of(lane) == integration


def held_lanes(tables: Mapping[str, Mapping[int, Iterable[tuple[bytes, bytes]]]], *, now: float) -> list[HeldLane]:
    """The lanes among the rows of pending tables (by kind of sink and partition) that are held back ``now``, by name.

    ``now`` is UNIX seconds. A pause that an endpoint asked for is in no lane's row, and found by the batch that was told of it.
    Raises ``CodecError`` where a row cannot be read.
    """
    found = []
    for kind, table in tables.items():
        for partition, rows in table.items():
            lanes: dict[str, LaneRow] = {}
            waiting: dict[str, tuple[int, int]] = {}
            later: dict[str, float] = {}
            for key, value in rows:
                lane, row_kind, first = parse_key(key)
                if row_kind is RowKind.LANE:
                    lanes[lane] = decode_row(LaneRow, key, value)
                elif row_kind is RowKind.BATCH:
                    row = decode_row(BatchRow, key, value)
                    batches, events = waiting.get(lane, (0, 0))
                    waiting[lane] = (batches + 1, events + count_of(row.rest or ((first, row.end),)))
                    if row.next_at > now + SOON_S:
                        later[lane] = max(row.next_at, later.get(lane, 0.0))
            for name, lane_row in lanes.items():
                if lane_row.halted_for or lane_row.breaker is not None or name in later:
                    held = HeldLane(
                        kind,
                        partition,
                        name,
                        bool(lane_row.halted_for),
                        lane_row.breaker,
                        *waiting.get(name, (0, 0)),
                        later.get(name),
                    )
                    found.append(held)
    return sorted(found, key=lambda held: (held.lane, held.kind))


def resume_record(lane: str, now: float) -> bytes:
    """The record of a batches topic that has the endpoint of ``lane`` tried again; it holds no events."""
    return encode_batch(Batch(lane, 0, 0, SealReason.COUNT, now, now, b"", b"", request=Request.RESUME))
