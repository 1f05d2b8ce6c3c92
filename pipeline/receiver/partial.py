"""Taking a part of a delivery, and naming the rest as failed."""

from collections.abc import Callable
from typing import NamedTuple

from pipeline.model.ranges import count_of, numbers_in, ranges_of
from pipeline.receiver.tally import Delivery


class Split(NamedTuple):
    """What of a delivery is taken, ``None`` where nothing is, and the uuids of the events that are not."""

    taken: Delivery | None
    failed: list[str]


def split(delivery: Delivery, is_failing: Callable[[], bool]) -> Split:
    """Ask ``is_failing`` for each event of ``delivery``; one without a uuid cannot be named, and is taken."""
    if delivery.uuids is None or not delivery.is_numbered:
        return Split(delivery, [])
    kept: list[tuple[int, str | None]] = []
    failed: list[str] = []
    for number, uuid in zip(numbers_in(delivery.numbers), delivery.uuids, strict=True):
        if uuid is not None and is_failing():
            failed.append(uuid)
        else:
            kept.append((number, uuid))
    if not failed:
        return Split(delivery, [])
    if not kept:
        return Split(None, failed)
    ranges = ranges_of(number for number, _ in kept)
    taken = delivery._replace(
        uuids=[uuid for _, uuid in kept], ranges=ranges if count_of(ranges) < delivery.end - delivery.first else ()
    )
    return Split(taken, failed)
