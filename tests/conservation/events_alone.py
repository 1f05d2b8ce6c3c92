"""Deliveries of kinds whose events arrive one by one, as the oracle judges them: each event under its own number."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipeline.model.batch import batch_id, decode_batch, parse_batch_id
from pipeline.receiver.record import ENDED
from tests.conservation.arrivals import Arrival
from tests.conservation.integrations import ONE_BY_ONE, STREAMED, WITHOUT_UUID


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
    """The arrivals, with those of such kinds taken apart; ``uuids`` tells events whose format names none.

    An event that came over a stream counts from the end of the stream: until then its try was in flight.
    """
    kinds = {each["id"]: each["kind"] for each in integrations}
    taken_apart: list[Arrival] = []
    streaming: defaultdict[str, deque[int]] = defaultdict(deque)
    for arrival in arrivals:
        if arrival.batch == ENDED:
            for name in _numbers_of(arrival.uuids):
                place = streaming[name].popleft()
                taken_apart[place] = taken_apart[place]._replace(at_s=arrival.at_s)
            continue
        lane, first, end = parse_batch_id(arrival.batch)
        kind = kinds[lane.partition("~")[0]]
        if kind not in ONE_BY_ONE:
            taken_apart.append(arrival)
            continue
        for number, uuid in zip(range(first, end), arrival.uuids, strict=True):
            known = uuids[lane, number] if kind in WITHOUT_UUID else uuid
            name = batch_id(lane, number, number + 1)
            if kind in STREAMED:
                streaming[name].append(len(taken_apart))
            taken_apart.append(Arrival(arrival.at_s, name, [known]))
    return taken_apart


def _numbers_of(batches: Iterable[str]) -> Iterable[str]:
    for name in batches:
        lane, first, end = parse_batch_id(name)
        yield from (batch_id(lane, number, number + 1) for number in range(first, end))
