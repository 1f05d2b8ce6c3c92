"""Tables as their changelogs tell of them, for commands, which have no worker."""

from collections.abc import Callable, Collection, Iterable

from agents.engine import CLAIM_KEY, sift
from agents.topic_reader import TopicReader

Rows = dict[int, Iterable[tuple[bytes, bytes]]]
"""The newest value of each key, by partition."""


async def read_rows(
    brokers: str,
    changelog: str,
    *,
    wants: Callable[[bytes], bool] | None = None,
    partitions: Collection[int] | None = None,
) -> Rows:
    """Read a changelog to its end; only keys that ``wants`` picks and only ``partitions``, where they are given.

    A changelog that does not exist has no rows.
    """
    rows: dict[int, dict[bytes, bytes]] = {}
    claims: dict[int, tuple[bytes | None, bytes | None]] = {}
    async with TopicReader(brokers, changelog) as reader:
        existing = await reader.partitions()
        chosen = existing if partitions is None else [number for number in existing if number in partitions]
        async for partition, records in reader.read(await reader.spans(chosen)):
            of_partition = rows.setdefault(partition, {})
            found = sift(records, *claims.get(partition, (None, None)))
            claims[partition] = (found.claim, found.writer)
            for key, value in found.rows:
                if key == CLAIM_KEY or (wants is not None and not wants(key)):
                    continue
                if value is None:
                    of_partition.pop(key, None)
                else:
                    of_partition[key] = value
    return {partition: list(of_partition.items()) for partition, of_partition in rows.items()}
