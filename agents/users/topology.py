"""The topic and the table of the users' directory, declared only where something comes in that needs them."""

from typing import Final, NamedTuple

from agents.engine import ChunkApp, ChunkTable, ChunkTopic
from agents.topology import KEYS_ROCKSDB_OPTIONS, MAX_RECORD_BYTES, RETENTION_S, Names

TABLE: Final = "users"
TICK_S: Final = 1.0
"""How often proofs of deletions are looked after."""
MOST_UPDATES_A_CHUNK: Final = 1_000
"""An update is dear, beside an event: some 50 microseconds."""
GONE_AFTER_MS: Final = 86_400_000
"""How long after a row is removed the changelog may still hold what it said; Kafka's own default is a week or more."""


class UserFlow(NamedTuple):
    """``updates`` is what was learned, ``table`` what is known."""

    updates: ChunkTopic
    table: ChunkTable

    @classmethod
    def declare(cls, app: ChunkApp, name: str, *, partitions: int, max_chunk_bytes: int = 4 << 20) -> "UserFlow":
        """Declare them for the deployment of this name."""
        wide = {"max.message.bytes": str(MAX_RECORD_BYTES)}
        return cls(
            updates=app.chunk_topic(
                Names(name).user_updates,
                tick_s=TICK_S,
                max_chunk_records=MOST_UPDATES_A_CHUNK,
                max_chunk_bytes=max_chunk_bytes,
                partitions=partitions,
                config=wide,
                retention=RETENTION_S,
            ),
            table=app.chunk_table(
                TABLE,
                help="Users, and the identifiers by which they are found.",
                partitions=partitions,
                extra_topic_configs={**wide, "max.compaction.lag.ms": str(GONE_AFTER_MS)},
                options=KEYS_ROCKSDB_OPTIONS,
            ),
        )
