"""Where a chunk table's rows live on this worker: one RocksDB, or one dictionary, a partition.

A store holds exactly what its changelog holds up to the offset that it remembers, never more: rows are written after the
broker acknowledged them, together with the offset in one RocksDB write. Of what it recovers it leaves out what a former owner
wrote too late (see :mod:`agents.engine.claim`), and remembers which keys those were.
"""

import abc
import logging
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import rocksdict
from faust.stores import base
from faust.stores import rocksdb as faust_rocksdb
from faust.types.tuples import TP

from agents.engine.claim import CLAIM_KEY, sift, warn_of_late
from agents.engine.packing import RowGroup
from pipeline.errors import DataDirectoryError

_OWN_PREFIX = b"\0"
_WRITER_KEY = b"\0writer"
_LATE_PREFIX = b"\0late\0"
"""Rows of the store alone, not of the changelog: keys of late rows that are still to be written again."""

_BROKEN = ("Corruption: ", "No such file or directory")
"""What RocksDB says where a file of a database cannot be read, or is missing."""

ROCKSDB_OPTIONS = {
    # Faust's defaults suit one large database; a worker here has dozens of small ones (tables x partitions).
    "write_buffer_size": 4 << 20,
    "max_write_buffer_number": 2,
    "block_cache_size": 4 << 20,
    "max_open_files": 64,
}


class PartitionedStore(base.Store[bytes, bytes]):
    """What :class:`ChunkTable` asks of a store; keys and values are bytes."""

    @abc.abstractmethod
    def write(self, partition: int, groups: Iterable[RowGroup], offset: int) -> None:
        """Apply acknowledged row groups; ``offset`` is that of their last changelog record."""

    @abc.abstractmethod
    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read one row."""

    @abc.abstractmethod
    def everything(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all rows of a partition and the engine's own ones."""

    @abc.abstractmethod
    def forget_late_keys(self, partition: int, keys: Iterable[bytes]) -> None:
        """Take note that the rows of these keys were written again."""

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all rows of a partition."""
        return (row for row in self.everything(partition) if not row[0].startswith(_OWN_PREFIX))

    def rows_from(self, partition: int, first_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Read the rows of a partition in the order of their keys, from ``first_key`` on."""
        yield from sorted(row for row in self.rows(partition) if row[0] >= first_key)

    @abc.abstractmethod
    def estimate(self, partition: int) -> tuple[int, int | None]:
        """About how many rows a partition has, and how many bytes they take on disk; ``None`` where they are in memory."""

    def late_keys(self, partition: int) -> list[bytes]:
        """The keys of which a late row stands in the changelog, perhaps after the one that counts."""
        return [key[len(_LATE_PREFIX) :] for key, _ in self.everything(partition) if key.startswith(_LATE_PREFIX)]

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Apply recovered changelog chunks."""
        for event in batch:
            chunk = event.message
            partition = chunk.partition
            found = sift(chunk.records, self.get(partition, CLAIM_KEY), self.get(partition, _WRITER_KEY))
            warn_of_late(found.late, chunk.topic, partition)
            own = [(_WRITER_KEY, found.writer), *((_LATE_PREFIX + key, b"") for key in found.late)]
            self.write(partition, [found.rows, own], chunk.offset)


class MemoryStore(PartitionedStore):
    """Rows in a dictionary a partition: recovered from the changelog at every start."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rows: dict[int, dict[bytes, bytes]] = {}
        self._offsets: dict[int, int] = {}

    def write(self, partition: int, groups: Iterable[RowGroup], offset: int) -> None:
        """Apply acknowledged row groups."""
        rows = self._rows.setdefault(partition, {})
        for group in groups:
            for key, value in group:
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
        self._offsets[partition] = offset

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read one row."""
        return self._rows.get(partition, {}).get(key)

    def everything(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all rows of a partition and the engine's own ones."""
        yield from list(self._rows.get(partition, {}).items())

    def estimate(self, partition: int) -> tuple[int, int | None]:
        """How many rows a partition has."""
        return len(self._rows.get(partition, ())), None

    def forget_late_keys(self, partition: int, keys: Iterable[bytes]) -> None:
        """Take note that the rows of these keys were written again."""
        for key in keys:
            self._rows.get(partition, {}).pop(_LATE_PREFIX + key, None)

    def persisted_offset(self, tp: TP) -> int | None:
        """Give the changelog offset up to which the partition is held."""
        return self._offsets.get(tp.partition)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Free the partitions that left; another worker writes their changelog now."""
        for tp in revoked:
            if tp.topic == self.table.changelog_topic_name:
                self._rows.pop(tp.partition, None)
                self._offsets.pop(tp.partition, None)

    def reset_state(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._offsets.clear()

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Do nothing: the changelog is the backup."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Do nothing: every start reads the changelog."""


class RocksStore(faust_rocksdb.Store, PartitionedStore):
    """Rows in a RocksDB a partition, under the worker's data directory: a restart reads only the changelog's tail."""

    logger = logging.getLogger(faust_rocksdb.__name__)  # what it says is Faust's own, and kept as such

    @property
    def path(self) -> Path:
        """The directory of this table's databases."""
        return Path(self.app.conf.tabledir)

    def write(self, partition: int, groups: Iterable[RowGroup], offset: int) -> None:
        """Apply acknowledged row groups and the offset in one write."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for group in groups:
            for key, value in group:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
        batch.put(self.offset_key, str(offset).encode())
        self._db_for_partition(partition).write(batch)

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read one row."""
        value: bytes | None = self._db_for_partition(partition).get(key)
        return value

    def everything(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read all rows of a partition and the engine's own ones."""
        for key, value in self._db_for_partition(partition).items():
            if key != self.offset_key:
                yield key, value

    def rows_from(self, partition: int, first_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Read the rows of a partition in the order of their keys, from ``first_key`` on; nothing before is read."""
        for key, value in self._db_for_partition(partition).items(from_key=first_key):
            if key != self.offset_key and not key.startswith(_OWN_PREFIX):
                yield key, value

    def estimate(self, partition: int) -> tuple[int, int | None]:
        """About how many rows a partition has, and the bytes of its files."""
        db = self._db_for_partition(partition)
        rows = db.property_int_value("rocksdb.estimate-num-keys") or 0
        files = db.property_int_value("rocksdb.total-sst-files-size") or 0
        return rows, files + (db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0)

    def late_keys(self, partition: int) -> list[bytes]:
        """The keys of which a late row stands in the changelog: they are next to each other, so nothing else is read."""
        keys = (key for key, _ in self._db_for_partition(partition).items(from_key=_LATE_PREFIX))
        return [key[len(_LATE_PREFIX) :] for key in takewhile(lambda key: key.startswith(_LATE_PREFIX), keys)]

    def forget_late_keys(self, partition: int, keys: Iterable[bytes]) -> None:
        """Take note that the rows of these keys were written again."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(_LATE_PREFIX + key)
        self._db_for_partition(partition).write(batch)

    def _open_for_partition(self, partition: int) -> Any:
        """Open a partition's database, or make it; raises DataDirectoryError where its files are broken."""
        try:
            return super()._open_for_partition(partition)
        except Exception as error:  # rocksdict has no class of its own for what RocksDB says
            if not any(sign in str(error) for sign in _BROKEN):
                raise
            path = self.partition_path(partition)
            raise DataDirectoryError(
                f"{path}: the database of this table is broken ({error}); delete this folder and start again: what it held is "
                "read again from Kafka"
            ) from error

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Apply recovered changelog chunks."""
        PartitionedStore.apply_changelog_batch(self, batch, to_key, to_value)
