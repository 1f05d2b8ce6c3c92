"""What one of the project's own topics must be, and what is said where the one that exists is another.

Nothing here is repaired: a partition count that changes would move lanes away from their numbers, and a topic's settings belong
to whoever runs the brokers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

COMPACT = "compact"


class WantedTopic(NamedTuple):
    """What a topic must be. One that is compacted keeps the newest record of each key for good; any other keeps each for a while.

    ``max_batch_bytes`` is the largest record batch that may be written into it.
    """

    name: str
    partitions: int
    is_compacted: bool
    max_batch_bytes: int


class FoundTopic(NamedTuple):
    """What a topic is; ``None`` where the broker does not tell."""

    partitions: int
    cleanup_policy: str | None = None
    max_batch_bytes: int | None = None


def mismatches(wanted: Iterable[WantedTopic], found: Mapping[str, FoundTopic]) -> list[str]:
    """One line for each topic that cannot serve: what is found, what is wanted and what to do. What is not found yet will be made.

    How long a topic keeps its records is not looked at: any time serves, see ``docs/operations.md``.
    """
    pairs = [(topic, found[topic.name]) for topic in wanted if topic.name in found]
    if not pairs:
        return []
    usual = _usual([existing.partitions for _, existing in pairs], pairs[0][0].partitions)
    lines = []
    for topic, existing in pairs:
        problems = (_of_partitions(topic, existing, usual), _of_cleanup(topic, existing), _of_size(topic, existing))
        said = "; ".join(filter(None, problems))
        if said:
            lines.append(f"{topic.name}: {said}")
    return lines


def _usual(counts: list[int], wanted: int) -> int:
    """How many partitions most topics have, ``wanted`` where it is among the most frequent: what others should be brought to."""
    often = Counter(counts)
    return max(often, key=lambda count: (often[count], count == wanted, count))


def _of_partitions(topic: WantedTopic, existing: FoundTopic, usual: int) -> str | None:
    if existing.partitions == topic.partitions:
        return None
    found = f"has {existing.partitions} partition{'s' * (existing.partitions != 1)}, and {topic.partitions} are wanted"
    if existing.partitions == usual:
        return f"{found}: write `partitions: {usual}` again, or choose a new `app`"
    if existing.partitions < usual:
        command = f"kafka-topics --alter --topic {topic.name} --partitions {usual}"
        return f"{found}: add them ({command}), or choose a new `app`"
    return f"{found}: delete it if nothing in it is needed, so that it is made anew, or choose a new `app`"


def _of_cleanup(topic: WantedTopic, existing: FoundTopic) -> str | None:
    if existing.cleanup_policy is None:
        return None
    policies = {each.strip() for each in existing.cleanup_policy.split(",")} - {""}
    found = f"has cleanup.policy={existing.cleanup_policy}"
    if topic.is_compacted and policies != {COMPACT}:
        reason = "rows of a table would be deleted by age" if policies - {COMPACT} else "it would grow for ever"
        return f"{found}, and {COMPACT} is wanted, or {reason}: {_alter(topic.name, f'cleanup.policy={COMPACT}')}"
    if not topic.is_compacted and COMPACT in policies:
        command = _alter(topic.name, "cleanup.policy=delete")
        return f"{found}, and delete is wanted, or records that wait would be compacted away: {command}"
    return None


def _of_size(topic: WantedTopic, existing: FoundTopic) -> str | None:
    if existing.max_batch_bytes is None or existing.max_batch_bytes >= topic.max_batch_bytes:
        return None
    command = _alter(topic.name, f"max.message.bytes={topic.max_batch_bytes}")
    return f"has max.message.bytes={existing.max_batch_bytes}, and {topic.max_batch_bytes} is wanted: {command}"


def _alter(topic: str, setting: str) -> str:
    return f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {setting}"
