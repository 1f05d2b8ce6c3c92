"""Who writes a changelog partition, and which of its rows came too late.

Whoever takes a changelog partition over writes a *claim* into it, a row with a number above that of the claim before, and
stamps each row group with it from then on. A row group under another claim than the newest before it was sent by a former
owner who did not know yet, a sleeper for example, and was on its way when the partition changed hands. The state of the new
owner never knew of it, so every reader leaves it out.

Leaving out is not enough for good: compaction keeps the newest row of each key, late or not. So the owner writes the rows of
the late keys again, as they are without the late ones; changelogs are not compacted before it had the time to.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

CLAIM_KEY = b"\0claim"
"""The key of claims; keys that begin with a zero byte are the engine's own."""

CLAIM_HEADER = "claim"
"""The header of a group's first record: the claim under which the group was written."""

_NUMBER_BYTES = 4
_RANDOM_BYTES = 4

log = structlog.get_logger(__name__)


class Sifted(NamedTuple):
    """What a run of changelog records says: the rows that count, and the keys of the late ones."""

    rows: list[tuple[bytes, bytes | None]]
    late: set[bytes]
    claim: bytes | None
    """The newest claim after the run."""
    writer: bytes | None
    """The claim of the run's last group, which may go on in the next run."""


def next_claim(*earlier: bytes | None) -> bytes:
    """Make a claim above all ``earlier`` ones; the random end tells two apart that were made at once."""
    number = 1 + max((_number(claim) for claim in earlier), default=0)
    return number.to_bytes(_NUMBER_BYTES, "big") + os.urandom(_RANDOM_BYTES)


def supersedes(claim: bytes, held: bytes | None) -> bool:
    """Whether ``claim`` ends what was written under ``held``."""
    return _number(claim) > _number(held)


def sift(records: Sequence[Any], claim: bytes | None, writer: bytes | None) -> Sifted:
    """Part the rows that count from those that came too late.

    ``records`` follow each other in one changelog partition and have ``key``, ``value`` and ``headers``; ``claim`` and
    ``writer`` are those that the records before them left. Records without a known writer count: they are older than claims.
    """
    rows: list[tuple[bytes, bytes | None]] = []
    late: set[bytes] = set()
    for record in records:
        key = record.key
        if record.headers:
            writer = next((value for name, value in record.headers if name == CLAIM_HEADER), writer)
        if key == CLAIM_KEY and supersedes(record.value, claim):
            claim = record.value
        if writer is not None and writer != claim:
            if key != CLAIM_KEY:
                late.add(key)
            continue
        rows.append((key, record.value))
        late.discard(key)
    return Sifted(rows, late, claim, writer)


def warn_of_late(late: set[bytes], topic: str, partition: int) -> None:
    """Say that rows were left out, where any were."""
    if late:
        log.warning(
            "rows of a former owner came too late and do not count", topic=topic, partition=partition, rows=len(late)
        )


def _number(claim: bytes | None) -> int:
    return 0 if claim is None else int.from_bytes(claim[:_NUMBER_BYTES], "big")
