"""Lanes that hold their batches back, and the record that lets them go on."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import BatchRow, LaneRow, RowKind, decode_row, parse_key
from pipeline.model.batch import Batch, Request, SealReason, encode_batch, integration_of
from pipeline.model.moments import format_time
from pipeline.model.ranges import count_of


class HeldLane(NamedTuple):
    """A lane whose endpoint was gone (``is_halted``), or whose breaker is not closed; what waits in it."""

    kind: str
    partition: int
    lane: str
    is_halted: bool
    breaker: BreakerRow | None
    waiting_batches: int
    waiting_events: int

    @property
    def why(self) -> str:
        """What holds it back, in words."""
        found = ["halted: the endpoint said that it is gone"] if self.is_halted else []
        if self.breaker is not None:
            since = format_time(round(self.breaker.opened_at))
            found.append(f"breaker open since {since}, after {self.breaker.failures} failures")
        return "; ".join(found)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "lane": self.lane,
            "kind": self.kind,
            "partition": self.partition,
            "halted": self.is_halted,
            "breaker_open": self.breaker is not None,
            "why": self.why,
            "waiting_batches": self.waiting_batches,
            "waiting_events": self.waiting_events,
        }


def belongs_to(integration: str, key: bytes) -> bool:
    """Whether a row of a pending table is one that :func:`held_lanes` looks at."""
    lane, kind, _ = parse_key(key)
    return kind in (RowKind.LANE, RowKind.BATCH) and integration_of(lane) == integration


def held_lanes(tables: Mapping[str, Mapping[int, Iterable[tuple[bytes, bytes]]]]) -> list[HeldLane]:
    """The lanes among the rows of pending tables (by kind of sink and partition) that are held back, by name.

    Raises ``CodecError`` where a row cannot be read.
    """
    found = []
    for kind, table in tables.items():
        for partition, rows in table.items():
            lanes: dict[str, LaneRow] = {}
            waiting: dict[str, tuple[int, int]] = {}
            for key, value in rows:
                lane, row_kind, first = parse_key(key)
                if row_kind is RowKind.LANE:
                    lanes[lane] = decode_row(LaneRow, key, value)
                elif row_kind is RowKind.BATCH:
                    row = decode_row(BatchRow, key, value)
                    batches, events = waiting.get(lane, (0, 0))
                    waiting[lane] = (batches + 1, events + count_of(row.rest or ((first, row.end),)))
            for name, lane_row in lanes.items():
                if lane_row.halted_for or lane_row.breaker is not None:
                    held = HeldLane(
                        kind,
                        partition,
                        name,
                        bool(lane_row.halted_for),
                        lane_row.breaker,
                        *waiting.get(name, (0, 0)),
                    )
                    found.append(held)
    return sorted(found, key=lambda held: (held.lane, held.kind))


def resume_record(lane: str, now: float) -> bytes:
    """The record of a batches topic that has the endpoint of ``lane`` tried again; it holds no events."""
    return encode_batch(Batch(lane, 0, 0, SealReason.COUNT, now, now, b"", b"", request=Request.RESUME))
