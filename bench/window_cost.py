"""What the window stage costs: CPU time an event and a touched lane, and changelog bytes an event byte.

Run ``python -m bench.window_cost``. Chunks of 4,000 events for one routed partition, spread evenly over its lanes; no
Kafka, no store: apply, take and stored, and the frame's decoding beside it.
"""

import gc
import random
import time
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice, decode_frame, encode_frame
from pipeline.model.integration import BatchLimits
from pipeline.windows.rows import RowGroup
from pipeline.windows.stage import WindowStage

CHUNK_EVENTS = 4_000
EVENT_BYTES = 377
CHUNKS = 60
ROUNDS = 5


class Cost(NamedTuple):
    """One line of the table: microseconds and a ratio."""

    per_event_us: float
    per_lane_us: float
    decode_us: float
    changelog_ratio: float


def frames(lanes: int, chunk_events: int, chunks: int) -> list[bytes]:
    """Encoded frames whose events go round the lanes."""
    noise = random.Random(1)
    body = b'{"event_name":"Email Opened","payload":"' + noise.randbytes(200).hex().encode()
    event = body[: EVENT_BYTES - 2] + b'"}'
    made = []
    for chunk in range(chunks):
        slices = []
        for lane in range(min(lanes, chunk_events)):
            offsets = array("I", range(lane, chunk_events, lanes))
            run = EventRun.of([event] * len(offsets))
            slices.append(Slice(f"customer-{lane:04d}", offsets.tobytes(), run.packed_ends(), run.block))
        first = chunk * chunk_events
        made.append(
            encode_frame(Frame("events", 0, 1, first, first + chunk_events - 1, 1_700_000_000_000 + chunk, slices))
        )
    return made


def batch_bytes(groups: Iterable[RowGroup]) -> int:
    """The size of the groups as uncompressed Kafka record batches, packed as the outbox does, up to 1 MiB each."""
    total = 0
    records: list[tuple[bytes, bytes | None]] = [record for group in groups for record in group]
    position = 0
    while position < len(records):
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        start = position
        while position < len(records):
            key, value = records[position]
            if builder.append(position - start, 1_700_000_000_000, key, value, []) is None:
                break
            position += 1
        total += builder.size()
    return total


def measure(lanes: int, limits: BatchLimits, chunk_events: int = CHUNK_EVENTS, chunks: int = CHUNKS) -> Cost:
    """Best of some rounds."""
    encoded = frames(lanes, chunk_events, chunks)
    events = chunk_events * chunks
    best = float("inf")
    ratio = decode_s = 0.0
    for _ in range(ROUNDS):
        began = time.process_time()
        decoded = [decode_frame(value) for value in encoded]
        decode_s = time.process_time() - began
        stage = WindowStage(lambda _lane: limits, lambda _key: None)
        gc.collect()
        spent = 0.0
        changelog = 0
        for offset, frame in enumerate(decoded):
            began = time.process_time()
            stage.apply(offset, frame, 1_700_000_000.0 + offset)
            writes = stage.take()
            stage.stored(writes)
            spent += time.process_time() - began
            changelog += batch_bytes(writes.groups)
        best = min(best, spent)
        ratio = changelog / (events * EVENT_BYTES)
    touches = min(lanes, chunk_events) * chunks
    return Cost(best / events * 1e6, best / touches * 1e6, decode_s / events * 1e6, ratio)


def main() -> None:
    default = BatchLimits()
    print(f"events of {EVENT_BYTES} bytes, windows of {default.max_events}; best of {ROUNDS} rounds")
    print(
        f"{'lanes':>7} {'events/chunk':>13} {'us/event':>9} {'us/lane touched':>16} {'decode us/event':>16} {'changelog ratio':>16}"
    )
    for lanes, chunk_events, chunks in (
        (1, CHUNK_EVENTS, CHUNKS),
        (50, CHUNK_EVENTS, CHUNKS),
        (2_000, CHUNK_EVENTS, CHUNKS),
        (2_000, 2_000, 2 * CHUNKS),
        (1, 1, 1_000),
    ):
        cost = measure(lanes, default, chunk_events, chunks)
        print(
            f"{lanes:>7} {chunk_events:>13} {cost.per_event_us:>9.3f} {cost.per_lane_us:>16.2f} "
            f"{cost.decode_us:>16.3f} {cost.changelog_ratio:>16.3f}"
        )


if __name__ == "__main__":
    main()
