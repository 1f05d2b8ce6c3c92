"""What routing costs: microseconds an event for decode, match, published form and frames, with ever more integrations.

Run ``python -m bench.route_cost``. Every event matches exactly one integration, by its application. What differs is who is
configured and who is hit:

- ``ten``      the events belong to 10 integrations, whatever is configured besides;
- ``skewed``   they belong to all, the k-th getting 1/k of what the first gets, as real traffic does;
- ``evenly``   they belong to all alike: with 10,000, nearly each event of a chunk begins a slice of its own.

The rows take turns, and a chunk's best time counts, so that a neighbour's load on the machine falls on all alike.
"""

import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from pipeline.ingest.decode import EventDecoder
from pipeline.ingest.route import Router
from pipeline.model.integration import Integration
from pipeline.traffic import EVENT_NAMES, events

INTEGRATIONS = (10, 1_000, 10_000)
CHUNK_EVENTS = 1_000
CHUNKS = 12
ROUNDS = 15
PARTITIONS = 8

Work = Callable[[Sequence[ConsumerRecord]], object]


class Case(NamedTuple):
    """One cell of the table."""

    work: Work
    chunks: list[list[ConsumerRecord]]


def application(number: int) -> str:
    return f"{number:05X}-9B411"


def routers(count: int) -> dict[str, Router]:
    def integration(number: int, fields: str) -> Integration:
        return Integration.model_validate(
            {
                "id": f"customer-{number:05d}",
                "kind": "http",
                "url": "https://customer.example/events",
                "applications": [application(number)],
                "events": list(EVENT_NAMES),
                "platforms": ["*"],
                "fields": fields,
            }
        )

    return {
        fields: Router([integration(number, fields) for number in range(count)], PARTITIONS)
        for fields in ("published", "all")
    }


def chunks(applications: Sequence[str], weights: Sequence[float]) -> list[list[ConsumerRecord]]:
    """Realistic events, each moved to an application drawn by weight."""
    drawn = random.Random(1).choices(applications, weights, k=CHUNK_EVENTS * CHUNKS)
    made = []
    for offset, (value, code) in enumerate(zip(events(1, len(drawn)), drawn, strict=True)):
        moved = json.loads(value) | {"application_code": code}
        moved.pop("live_activity_id", None)
        raw = json.dumps(moved, ensure_ascii=False, separators=(",", ":")).encode()
        made.append(ConsumerRecord("t", 0, offset, 1_723_799_271_000, 0, None, raw, None, 0, len(raw), ()))
    return [made[first : first + CHUNK_EVENTS] for first in range(0, len(made), CHUNK_EVENTS)]


def measured(cases: Sequence[Case]) -> list[float]:
    """Microseconds an event of each case."""
    best_s = [[float("inf")] * CHUNKS for _ in cases]
    for _ in range(ROUNDS):
        for case, best in zip(cases, best_s, strict=True):
            for number, chunk in enumerate(case.chunks):
                began_s = time.perf_counter()
                case.work(chunk)
                best[number] = min(best[number], time.perf_counter() - began_s)
    return [statistics.median(best) / CHUNK_EVENTS * 1e6 for best in best_s]


def routing(router: Router) -> Work:
    return lambda chunk: router.route(chunk, "t", 0)


def decoding(chunk: Sequence[ConsumerRecord]) -> None:
    decode = EventDecoder("t", 0).decode
    for record in chunk:
        decode(record.value, record.offset)


def main() -> None:
    table: dict[int, list[Case]] = {}
    for count in INTEGRATIONS:
        codes = [application(number) for number in range(count)]
        by_fields = routers(count)
        hit = (
            chunks(codes[:10], [1.0] * 10),
            chunks(codes, [1 / (1 + rank) for rank in range(count)]),
            chunks(codes, [1.0] * count),
        )
        table[count] = [Case(routing(by_fields[fields]), traffic) for traffic in hit for fields in ("published", "all")]
        probe = by_fields["all"].route(hit[2][0], "t", 0)
        assert (probe.matched, probe.unmatched, probe.dead) == (CHUNK_EVENTS, 0, [])
    sample = table[INTEGRATIONS[0]][0].chunks
    decode_us, *costs = measured([Case(decoding, sample), *itertools.chain.from_iterable(table.values())])
    sizes = [len(record.value) for chunk in sample for record in chunk]
    print(
        f"\nus an event; {statistics.mean(sizes):.0f} bytes each, chunks of {CHUNK_EVENTS:,}, {PARTITIONS} partitions"
    )
    print(f"of which decode, checks and encode: {decode_us:.2f}\n")
    print("               |       ten       |      skewed     |      evenly")
    print("integrations   | published   all | published   all | published   all")
    for count, row in zip(INTEGRATIONS, _rows(costs, 6), strict=True):
        cells = [f"{published:9.2f} {whole:5.2f}" for published, whole in _rows(row, 2)]
        print(f"{count:<14,} | {' | '.join(cells)}")


def _rows(costs: Sequence[float], width: int) -> list[Sequence[float]]:
    return [costs[first : first + width] for first in range(0, len(costs), width)]


if __name__ == "__main__":
    main()
