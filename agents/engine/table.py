"""A Faust table that is written by row groups, with a changelog that is acknowledged before anything relies on it.

The changelog has one writer at a time, who claims it when it takes a partition over (see :mod:`agents.engine.claim`).
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import faust
from faust.types.tuples import TP

from agents.engine.claim import CLAIM_HEADER, CLAIM_KEY, next_claim, supersedes
from agents.engine.packing import RowGroup
from agents.engine.store import ROCKSDB_OPTIONS, MemoryStore, PartitionedStore, RocksStore
from pipeline.errors import SendFailedError, UnsupportedFeatureError

COMPACTION_LAG_MS = 1_800_000
"""How long a changelog keeps all rows: many times what it takes to notice late ones and write the keys again."""


class _Write(NamedTuple):
    claim: bytes
    after: Sequence["asyncio.Future[Any]"]
    beside: Sequence["asyncio.Future[Any]"]
    groups: Sequence[RowGroup]
    stored: "asyncio.Future[None]"


class ChunkTable(faust.Table):
    """Rows of bytes on partitions, one changelog record a row.

    Reading: :meth:`get` and :meth:`rows` say which partition, so nothing depends on the event at hand and nothing of other
    partitions shows up. Writing: :meth:`write`. Made by :meth:`ChunkApp.chunk_table`.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        options = {
            "key_type": bytes,
            "value_type": bytes,
            "recovery_buffer_size": 2,
            "standby_buffer_size": 1,  # a chunk at once, or the last one would wait for the next
            **options,
        }
        if options.get("window") is not None or options.get("is_global"):
            raise UnsupportedFeatureError(
                f"table {options.get('name')}: windowed and global tables are Faust's own: use app.Table"
            )
        super().__init__(app, **options)
        self._writes: dict[int, deque[_Write]] = {}
        self._claims: dict[int, bytes] = {}
        self._owned: set[int] = set()

    def _new_store_by_url(self, url: Any) -> PartitionedStore:
        scheme = str(url).partition(":")[0]
        kind: type[PartitionedStore] = MemoryStore if scheme == "memory" else RocksStore
        return kind(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer="raw",
            value_serializer="raw",
            value_type=self.value_type,
            loop=self.loop,
            options={**ROCKSDB_OPTIONS, **(self.options or {})},
        )

    def _new_changelog_topic(self, **options: Any) -> Any:
        return self.app.chunk_topic(
            self._changelog_topic_name(),
            key_type=bytes,
            value_type=bytes,
            partitions=self.partitions,
            retention=options.get("retention"),
            compacting=True,
            acks=False,
            internal=True,
            allow_empty=True,
            config={"min.compaction.lag.ms": str(COMPACTION_LAG_MS), **(self.extra_topic_configs or {})},
        )

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Let go of the partitions that left."""
        self._owned -= {tp.partition for tp in revoked if tp.topic == self.changelog_topic_name}
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Claim the partitions that are this worker's from now on."""
        await super().on_recovery_completed(active_tps, standby_tps)
        recovery = self.app.tables.recovery
        for tp in list(active_tps):
            # Faust may name those of an assignment that came meanwhile.
            if recovery.is_recovered(tp) and not recovery.is_superseded:
                self._claim(tp.partition)

    def _claim(self, partition: int) -> None:
        self._owned.add(partition)
        held, own = self.data.get(partition, CLAIM_KEY), self._claims.get(partition)
        if held is None or held != own:
            claim = self._claims[partition] = next_claim(held, own)
            self.write(partition, [[(CLAIM_KEY, claim)]])
        late = self.data.late_keys(partition)
        if late:
            again = self.write(partition, [[(key, self.data.get(partition, key))] for key in late])
            again.add_done_callback(lambda _done: self.data.forget_late_keys(partition, late))

    def claim_of(self, partition: int) -> bytes | None:
        """The claim under which this worker writes a partition; ``None`` where it is not its own."""
        if TP(self.changelog_topic_name, partition) not in self.changelog_partitions():
            return None
        return self._claims[partition] if partition in self._owned else None

    def renew_claims(self) -> None:
        """Write the claims again: an owner with nothing else to write would not notice what was written beside it."""
        for tp in self.changelog_partitions():
            claim = self.claim_of(tp.partition)
            if claim is not None:
                self.write(tp.partition, [[(CLAIM_KEY, claim)]])

    def get(self, partition: int, key: bytes) -> bytes | None:  # type: ignore[override]
        """Read one stored row."""
        return self.data.get(partition, key)

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all stored rows of a partition."""
        return self.data.rows(partition)

    def rows_from(self, partition: int, first_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Read the stored rows of a partition in the order of their keys, from ``first_key`` on."""
        return self.data.rows_from(partition, first_key)

    def estimate(self, partition: int) -> tuple[int, int | None]:
        """About how many rows a partition has, and how many bytes they take on disk, if they are there."""
        return self.data.estimate(partition)

    def write(
        self,
        partition: int,
        groups: Sequence[RowGroup],
        after: Sequence["asyncio.Future[Any]"] = (),
        beside: Sequence["asyncio.Future[Any]"] = (),
    ) -> "asyncio.Future[None]":
        """Send row groups once all of ``after`` are done; the future is done when they are acknowledged and stored.

        They may travel in one request with ``beside``, which the outbox gave, and in no earlier one. Writes of a partition are
        sent in the order of the calls, whatever their ``after``. A group shares one record batch, so it is kept whole or not at
        all; a crash keeps a prefix of the groups. The partition must be this worker's.
        """
        if partition not in self._owned:
            raise SendFailedError(
                f"table {self.name}, partition {partition}: it is not this worker's, or not recovered yet, so nothing is "
                "written into it; this worker starts again"
            )
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writes = self._writes.setdefault(partition, deque())
        writes.append(_Write(self._claims[partition], after, beside, groups, stored))
        if len(writes) == 1:
            self._advance(partition)
        return stored

    def _advance(self, partition: int) -> None:
        writes = self._writes[partition]
        while writes:
            for awaited in writes[0].after:
                if not awaited.done():
                    awaited.add_done_callback(lambda _done: self._advance(partition))
                    return
                if awaited.cancelled() or awaited.exception() is not None:
                    return  # the worker is being stopped with that reason
            self._send(partition, writes.popleft())

    def _send(self, partition: int, write: _Write) -> None:
        def on_acknowledged(groups: Sequence[RowGroup], last_offset: int) -> None:
            stored_offset = self.data.persisted_offset(TP(self.changelog_topic_name, partition))
            if last_offset - sum(map(len, groups)) != (-1 if stored_offset is None else stored_offset):
                raise SendFailedError(
                    f"{self.changelog_topic_name}, partition {partition}: rows of another worker stand between offset {stored_offset} and "
                    f"{last_offset}, so both took it for theirs. This one starts again from what is there; "
                    "raise worker.session_timeout if this repeats"
                )
            held = self.data.get(partition, CLAIM_KEY)
            if held != write.claim and not supersedes(write.claim, held):
                raise SendFailedError(
                    f"{self.changelog_topic_name}, partition {partition}: another worker has claimed it since these rows were made, so "
                    "they do not count. This one starts again from what is there; raise worker.session_timeout if this repeats"
                )
            self.data.write(partition, groups, last_offset)

        sent = self.app.outbox.send(
            self.changelog_topic_name,
            partition,
            write.groups,
            on_acknowledged,
            group_headers=[(CLAIM_HEADER, write.claim)],
            beside=write.beside,
        )
        sent.add_done_callback(lambda done: None if done.cancelled() else write.stored.set_result(None))

    def changelog_partitions(self) -> set[TP]:
        """The changelog partitions that this worker owns now."""
        return {tp for tp in self.app.assignor.assigned_actives() if tp.topic == self.changelog_topic_name}

    def _refuse_to_write(self, *_args: Any, **_options: Any) -> Any:
        raise UnsupportedFeatureError(f"table {self.name} is written by row groups: use table.write(partition, groups)")

    def _refuse_to_read(self, *_args: Any, **_options: Any) -> Any:
        raise UnsupportedFeatureError(
            f"table {self.name} is read by partition: use table.get(partition, key) or table.rows(partition)"
        )

    def __bool__(self) -> bool:
        """Say that there is a table, whatever is in it."""
        return True

    on_key_set = on_key_del = on_clear = raw_update = _refuse_to_write
    using_window = hopping = tumbling = _refuse_to_write
    on_key_get = __contains__ = __len__ = __iter__ = keys = values = items = copy = _refuse_to_read
    combine = join = left_join = inner_join = outer_join = _refuse_to_read
