"""How much of the whole an answer covers: what is missing is said, never left out of a sum in silence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shard:
    """What one worker answered, or that it did not.

    ``partitions`` are those that it is asked for; ``problem`` is empty where it answered for all of them; ``is_truncated`` says
    that it stopped at its limit of rows or time; ``as_of`` is UNIX seconds of its answer.
    """

    worker: str
    partitions: frozenset[int]
    problem: str = ""
    is_truncated: bool = False
    as_of: float = 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """All shards of an answer, and the partitions that nobody answered for."""

    shards: tuple[Shard, ...]
    missing: tuple[int, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every partition is in the answer, whole."""
        return not self.missing and not any(shard.problem or shard.is_truncated for shard in self.shards)

    def sentence(self) -> str:
        """What is missing, in words; empty where nothing is."""
        parts = [f"{shard.worker} did not answer: {shard.problem}" for shard in self.shards if shard.problem]
        if self.missing:
            numbers = ", ".join(map(str, self.missing))
            parts.append(f"missing: partition{'s' if len(self.missing) > 1 else ''} {numbers}")
        parts += [f"{shard.worker} stopped early, there is more" for shard in self.shards if shard.is_truncated]
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "complete": self.is_complete,
            "missing_partitions": list(self.missing),
            "as_of": min((shard.as_of for shard in self.shards if shard.as_of), default=None),
            "workers": [
                {
                    "worker": shard.worker,
                    "partitions": sorted(shard.partitions),
                    "problem": shard.problem or None,
                    "truncated": shard.is_truncated,
                }
                for shard in self.shards
            ],
        }


def covered(shards: Iterable[Shard], expected: Iterable[int]) -> Coverage:
    """Put answers together; ``expected`` are all partitions that there are."""
    listed = tuple(shards)
    answered = {number for shard in listed if not shard.problem for number in shard.partitions}
    return Coverage(listed, tuple(sorted(set(expected) - answered)))


def joined(coverages: Iterable[Coverage]) -> Coverage:
    """What several answers lack together: whatever one of them lacks."""
    each = tuple(coverages)
    shards = {(shard.worker, shard.problem, shard.is_truncated): shard for one in each for shard in one.shards}
    return Coverage(tuple(shards.values()), tuple(sorted({number for one in each for number in one.missing})))


EVERYTHING = Coverage((), ())
"""Of answers that do not depend on partitions."""
