"""A data directory is one process's, and remembers whose tables it holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from agents.data_directory import OWNER_FILE, Owner, claim, refusal, take
from pipeline.errors import DataDirectoryError

ROOT = Path(__file__).parents[3]
SHOP = Owner("shop", "cluster-1")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_whoever_claimed_a_directory_first_may_claim_it_again(tmp_path: Path):
    claim(tmp_path, SHOP)
    first = tree(tmp_path)
    claim(tmp_path, SHOP)
    assert tree(tmp_path) == first
    assert list(first) == [OWNER_FILE], "no draft stays behind"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Owner("mail", "cluster-1"), ["of app shop, and this is app mail", "-mail worker`", "if shop needs it"]),
        (Owner("shop", "cluster-2"), ["the Kafka cluster cluster-1", "the cluster cluster-2", "local reset"]),
        (Owner("mail", "cluster-2"), ["of app shop, and this is app mail"]),
    ],
    ids=["another app", "another cluster", "both"],
)
def test_somebody_elses_directory_is_refused_in_one_line_and_left_as_it_is(
    tmp_path: Path, other: Owner, said: list[str]
):
    claim(tmp_path, SHOP)
    before = tree(tmp_path)
    with pytest.raises(DataDirectoryError) as refused:
        claim(tmp_path, other)
    (line,) = str(refused.value).splitlines()
    for words in [*said, str(tmp_path), "--datadir", "delete", "read again from Kafka"]:
        assert words in line
    assert tree(tmp_path) == before


def test_tables_without_a_note_are_taken_as_this_apps_from_then_on(tmp_path: Path):
    (tmp_path / "v1" / "tables").mkdir(parents=True)
    claim(tmp_path, SHOP)
    with pytest.raises(DataDirectoryError):
        claim(tmp_path, Owner("mail", "cluster-1"))


@pytest.mark.parametrize("clusters", [(None, "cluster-1"), ("cluster-1", None), (None, None)])
def test_a_cluster_that_names_no_id_may_be_any(tmp_path: Path, clusters: tuple[str | None, str | None]):
    noted, now = clusters
    assert refusal(tmp_path, Owner("shop", noted), Owner("shop", now)) == ""
    assert "app shop" in refusal(tmp_path, Owner("shop", noted), Owner("mail", now))


def test_an_id_that_was_not_known_at_first_is_noted_later(tmp_path: Path):
    claim(tmp_path, Owner("shop", None))
    claim(tmp_path, SHOP)
    claim(tmp_path, Owner("shop", None))
    with pytest.raises(DataDirectoryError, match="cluster-2"):
        claim(tmp_path, Owner("shop", "cluster-2"))


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"version": 1, "app": 7, "cluster": null}',
        b'{"version": 9, "app": "shop", "cluster": null}',
    ],
)
def test_a_note_that_cannot_be_read_is_refused_by_name(tmp_path: Path, note: bytes):
    (tmp_path / OWNER_FILE).write_bytes(note)
    with pytest.raises(DataDirectoryError) as refused:
        claim(tmp_path, SHOP)
    assert str(tmp_path / OWNER_FILE) in str(refused.value)
    assert f"delete {tmp_path}" in str(refused.value)


def test_a_directory_where_nothing_can_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for use in (lambda folder: take(folder, advice=""), lambda folder: claim(folder, SHOP)):
        with pytest.raises(DataDirectoryError, match=f"cannot use the data directory {tmp_path / 'file'}"):
            use(tmp_path / "file")


def test_one_process_has_a_directory_until_it_ends(tmp_path: Path):
    program = f"import pathlib, agents.data_directory as d; d.take(pathlib.Path({str(tmp_path)!r}), advice='')"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    take(tmp_path, advice="wait")
    with pytest.raises(DataDirectoryError, match="in use by a worker: wait"):
        take(tmp_path, advice="wait")
