"""A table's database on disk, and what is said where it cannot be opened."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DataDirectoryError
from tests.support.chunk_worker import make_app


async def kept(folder: Path) -> Path:
    """Where a table keeps the rows of a partition, after some were written and the store was closed."""
    store = make_app("rows-app", "127.0.0.1:1", folder, store="rocksdb://").chunk_table("rows", partitions=1).data
    store.write(0, [[(b"a", b"1")]], 7)
    await store.stop()
    return store.partition_path(0)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("file", ["CURRENT", "MANIFEST-*"])
@pytest.mark.parametrize("harm", [_emptied, Path.unlink], ids=["empty", "missing"])
async def test_a_broken_database_is_named_and_said_to_be_made_again(
    tmp_path: Path, file: str, harm: Callable[[Path], None]
):
    path = await kept(tmp_path)
    for found in list(path.glob(file)):
        harm(found)
    store = make_app("rows-app", "127.0.0.1:1", tmp_path, store="rocksdb://").chunk_table("rows", partitions=1).data
    with pytest.raises(DataDirectoryError) as broken:
        store.get(0, b"a")
    assert str(broken.value).startswith(f"{path}: ")
    assert "delete this folder" in str(broken.value)


async def test_a_database_that_somebody_else_has_open_is_not_called_broken(tmp_path: Path):
    app = make_app("rows-app", "127.0.0.1:1", tmp_path, store="rocksdb://")
    first = app.chunk_table("rows", partitions=1).data
    first.write(0, [[(b"a", b"1")]], 7)
    second = make_app("rows-app", "127.0.0.1:1", tmp_path, store="rocksdb://").chunk_table("rows", partitions=1).data
    with pytest.raises(Exception, match="lock") as refused:
        second.get(0, b"a")
    assert not isinstance(refused.value, DataDirectoryError)
    assert first.get(0, b"a") == b"1"
