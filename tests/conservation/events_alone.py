"""Deliveries of kinds whose events arrive one by one, as the oracle judges them: each event under its own number."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipeline.model.batch import batch_id, decode_batch, parse_batch_id
from tests.conservation.arrivals import Arrival
from tests.conservation.integrations import ONE_BY_ONE, WITHOUT_UUID


def uuids_by_number(sealed: Mapping[str, Iterable[bytes]]) -> dict[tuple[str, int], str]:
    """Which event each number of a lane stands for, by the records of the batches topics.

    A number that stands for two different events is a fault of its own.
    """
    found: dict[tuple[str, int], str] = {}
    for values in sealed.values():
        for batch in map(decode_batch, values):
            for number, event in batch.numbered():
                uuid = msgspec.json.decode(event)["uuid"]
                assert found.setdefault((batch.lane, number), uuid) == uuid, f"{batch.lane} {number} is two events"
    return found


def one_by_one(
    arrivals: Iterable[Arrival], integrations: Iterable[Mapping[str, Any]], uuids: Mapping[tuple[str, int], str]
) -> list[Arrival]:
    """The arrivals, with those of such kinds taken apart; ``uuids`` tells events whose format names none."""
    kinds = {each["id"]: each["kind"] for each in integrations}
    taken_apart: list[Arrival] = []
    for arrival in arrivals:
        lane, first, end = parse_batch_id(arrival.batch)
        kind = kinds[lane.partition("~")[0]]
        if kind not in ONE_BY_ONE:
            taken_apart.append(arrival)
            continue
        for number, uuid in zip(range(first, end), arrival.uuids, strict=True):
            known = uuids[lane, number] if kind in WITHOUT_UUID else uuid
            taken_apart.append(Arrival(arrival.at_s, batch_id(lane, number, number + 1), [known]))
    return taken_apart
