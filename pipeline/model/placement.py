"""Which partition a lane lives on, in every topic and table that is keyed by lane."""

import functools

from aiokafka.partitioner import murmur2

_POSITIVE = 0x7FFF_FFFF


@functools.lru_cache(maxsize=65_536)
def partition_of(lane: str, partitions: int) -> int:
    """Return the partition of ``lane``: the one that Kafka's own default partitioner gives to this key."""
    return int((murmur2(lane.encode()) & _POSITIVE) % partitions)
