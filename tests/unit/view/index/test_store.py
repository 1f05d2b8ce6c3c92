"""What the index remembers of batches, and what it survives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.model.attempt import DeadLetter, Parked
from pipeline.model.batch import Request, encode_batch
from pipeline.view.index.lines import LONGEST_LINE_BYTES, Staged
from pipeline.view.index.search import search
from pipeline.view.index.store import Index
from pipeline.view.index.tables import ATTEMPTS, BATCHES, DEAD_LETTERS, NOTICES, PARKED, TABLES, Table
from pipeline.view.query import Query
from tests.support import index_records
from tests.support.index_records import Topics, attempt, batch


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(lambda: tmp_path)
    index.open()
    yield index
    index.close()


@pytest.fixture
def topics() -> Topics:
    return Topics()


def rows_of(index: Index, table: Table) -> list[dict]:
    with index.cursor() as cursor:
        return search(cursor, table, Query(sort=table.time, key="place", limit=1000)).rows


def only_batch(index: Index) -> dict:
    (row,) = rows_of(index, BATCHES)
    return row


def parked(of, at: float, attempts: int = 1) -> Parked:
    return Parked(encode_batch(of), "http", "answered 503", attempts, at)


def test_a_batch_waits_until_it_is_tried(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 100)))
    row = only_batch(index)
    assert (row["outcome"], row["tries"], row["events"], row["fill_s"]) == ("waiting", 0, 100, 5.0)


def test_a_batch_that_failed_is_being_retried(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 100)))
    index.write(topics.staged(attempt("crm:0-100", 1, None)))
    row = only_batch(index)
    assert (row["outcome"], row["tries"], row["status"]) == ("retrying", 1, 503)


@pytest.mark.parametrize("final", ["delivered", "parked", "discarded"])
def test_a_batch_ends_as_its_last_try_says(index: Index, topics: Topics, final: str) -> None:
    index.write(topics.staged(batch("crm", 0, 100)))
    index.write(topics.staged(attempt("crm:0-100", 1, None)))
    index.write(topics.staged(attempt("crm:0-100", 2, final, at=1009.0)))
    row = only_batch(index)
    assert (row["outcome"], row["tries"], row["tried_at"]) == (final, 2, 1009.0)


def test_a_try_that_is_read_before_its_batch_counts(index: Index, topics: Topics) -> None:
    index.write(topics.staged(attempt("crm:0-100", 1, "delivered")))
    index.write(topics.staged(batch("crm", 0, 100)))
    assert only_batch(index)["outcome"] == "delivered"


def test_parts_of_a_batch_add_up(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 100)))
    index.write(topics.staged(attempt("crm:0-50", 1, "delivered", events=50)))
    assert only_batch(index)["outcome"] == "retrying"
    index.write(topics.staged(attempt("crm:50-100", 1, "delivered", events=50)))
    row = only_batch(index)
    assert (row["outcome"], row["delivered_events"], row["tries"]) == ("delivered", 100, 2)


def test_a_batch_of_which_a_part_was_parked_is_parked(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 100)))
    index.write(topics.staged(attempt("crm:0-100", 1, None, arrived=97)))
    index.write(topics.staged(attempt("crm:3-18~3", 2, "parked", events=3)))
    row = only_batch(index)
    assert (row["outcome"], row["delivered_events"]) == ("parked", 97)


def test_a_batch_that_was_parked_without_a_try_is_parked(index: Index, topics: Topics) -> None:
    sealed = batch("crm", 0, 100)
    index.write(topics.staged(sealed))
    index.write(topics.staged(parked(sealed, 2000.0, attempts=0)))
    row = only_batch(index)
    assert (row["outcome"], row["tries"], row["detail"]) == ("parked", 0, "answered 503")


def test_batches_of_other_lanes_and_numbers_are_left_alone(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 100), batch("crm", 100, 200), batch("web", 0, 100)))
    index.write(topics.staged(attempt("crm:100-200", 1, "delivered")))
    outcomes = {row["batch"]: row["outcome"] for row in rows_of(index, BATCHES)}
    assert outcomes == {"crm:0-100": "waiting", "crm:100-200": "delivered", "web:0-100": "waiting"}


def test_a_replay_is_a_row_of_its_own_and_marks_what_was_parked(index: Index, topics: Topics) -> None:
    sealed = batch("crm", 0, 100)
    index.write(topics.staged(sealed, attempt("crm:0-100", 1, "parked", at=1001.0), parked(sealed, 1001.5)))
    index.write(topics.staged(batch("crm", 0, 100, at=5000.0, request=Request.REPLAY)))
    index.write(topics.staged(attempt("crm:0-100", 1, "delivered", at=5001.0)))
    assert [(row["reason"], row["outcome"]) for row in rows_of(index, BATCHES)] == [
        ("count", "parked"),
        ("replay", "delivered"),
    ]
    (row,) = rows_of(index, PARKED)
    assert (row["state"], row["replayed_at"]) == ("replayed", 5000.0)


def test_a_replay_that_is_read_before_what_was_parked_marks_it_too(index: Index, topics: Topics) -> None:
    sealed = batch("crm", 0, 100)
    index.write(topics.staged(batch("crm", 0, 100, at=5000.0, request=Request.REPLAY)))
    index.write(topics.staged(parked(sealed, 1001.5)))
    index.write(topics.staged(parked(sealed, 6000.0)))
    assert [row["state"] for row in rows_of(index, PARKED)] == ["replayed", "parked"]


def test_a_request_to_resume_is_no_batch(index: Index, topics: Topics) -> None:
    index.write(topics.staged(batch("crm", 0, 1, request=Request.RESUME)))
    assert rows_of(index, BATCHES) == []


def test_records_of_other_programs_are_left_out_and_counted(index: Index, topics: Topics) -> None:
    staged = topics.staged(attempt("crm:0-100", 1, "delivered"))
    for value in (None, b"", b"not json", b"[1]", b"{\n}", b'{"at": bad}', b'{"batch":"\xff"}'):
        topics.stage(staged, index_records.ATTEMPTS, value)
    for value in (None, b"", b"\xc1"):
        topics.stage(staged, index_records.BATCHES, value)
        topics.stage(staged, index_records.PARKED, value)
    index.write(staged)
    assert [row["batch"] for row in rows_of(index, ATTEMPTS)] == ["crm:0-100"]
    assert staged.unreadable == 11
    assert index.positions()["app-attempts", 0].next_offset == 8


def test_a_line_as_long_as_may_be_is_kept_and_a_longer_one_left_out(index: Index, topics: Topics) -> None:
    place = len(b',"place":0,"partition":0,"offset":0')
    longest = b'{"batch":"%b"}' % (b"x" * (LONGEST_LINE_BYTES - place - len(b'{"batch":""}')))
    staged = topics.staged()
    topics.stage(staged, index_records.ATTEMPTS, longest)
    topics.stage(staged, index_records.ATTEMPTS, longest.replace(b"x", b"xx", 1))
    index.write(staged)
    assert staged.size_bytes == LONGEST_LINE_BYTES
    assert [len(row["batch"]) for row in rows_of(index, ATTEMPTS)] == [len(longest) - len(b'{"batch":""}')]
    assert staged.unreadable == 1


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\u202ereversed", "a\0b", "x" * 100_000, '"\\', "'; --"])
def test_hostile_text_is_kept_as_it_is(index: Index, topics: Topics, text: str) -> None:
    index.write(topics.staged(attempt("crm:0-100", 1, "delivered", answer_head=text)))
    assert rows_of(index, ATTEMPTS)[0]["answer_head"] == text


def test_a_dead_letter_is_shown_with_its_origin_and_beginning(index: Index, topics: Topics) -> None:
    letter = DeadLetter("not_json", "line 1: \ud7ff", "events", 3, 77, 1_500, b"user-1", b"\xff\0raw" + b"x" * 1000)
    staged = Staged()
    topics.stage(staged, index_records.DEAD_LETTERS, letter.value, letter.key, letter.headers())
    index.write(staged)
    (row,) = rows_of(index, DEAD_LETTERS)
    assert (row["topic"], row["source_partition"], row["source_offset"], row["source_at"]) == ("events", 3, 77, 1.5)
    assert (row["reason"], row["key"], row["bytes"]) == ("not_json", "user-1", 1005)
    assert row["preview"].startswith("\ufffd\u2400raw")


def test_a_dead_letter_without_a_value_or_headers_is_shown(index: Index, topics: Topics) -> None:
    staged = Staged()
    topics.stage(staged, index_records.DEAD_LETTERS, None)
    index.write(staged)
    (row,) = rows_of(index, DEAD_LETTERS)
    assert (row["bytes"], row["topic"], row["source_offset"]) == (None, "", None)


def test_notices_are_kept(index: Index, topics: Topics) -> None:
    staged = Staged()
    topics.stage(
        staged, index_records.NOTICES, b'{"id":"a","cause":"breaker_opened","at":5.0,"detail":"d","integration":"crm"}'
    )
    index.write(staged)
    (row,) = rows_of(index, NOTICES)
    assert (row["cause"], row["integration"], row["suppressed"]) == ("breaker_opened", "crm", 0)


def test_everything_is_there_after_a_restart(tmp_path: Path, topics: Topics) -> None:
    first = Index(lambda: tmp_path)
    first.open()
    first.write(topics.staged(batch("crm", 0, 100), attempt("crm:0-100", 1, None)))
    first.close()
    second = Index(lambda: tmp_path)
    second.open()
    second.write(topics.staged(attempt("crm:0-100", 2, "delivered")))
    assert (only_batch(second)["outcome"], only_batch(second)["tries"]) == ("delivered", 2)
    assert second.positions()["app-attempts", 0].next_offset == 2
    second.close()


def test_a_broken_file_is_made_anew(tmp_path: Path) -> None:
    index = Index(lambda: tmp_path)
    index.open()
    index.close()
    (path,) = tmp_path.glob("*.duckdb")
    path.write_bytes(b"this is no database" * 1000)
    index.open()
    assert index.positions() == {}
    index.close()


def test_the_file_of_another_version_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "index-0.duckdb"
    old.write_bytes(b"old")
    index = Index(lambda: tmp_path)
    index.open()
    assert not old.exists()
    index.close()


def test_the_rows_of_a_partition_that_left_are_gone(index: Index) -> None:
    staying, leaving = Topics(1), Topics(2)
    for topics, lane in ((staying, "crm"), (leaving, "web")):
        sealed = batch(lane, 0, 100)
        index.write(topics.staged(sealed, attempt(f"{lane}:0-100", 1, "parked"), parked(sealed, 1002.0)))
    index.forget([2])
    assert {row["partition"] for table in TABLES for row in rows_of(index, table)} == {1}
    assert {partition for _, partition in index.positions()} == {1}


def test_a_write_that_fails_leaves_nothing(index: Index, topics: Topics) -> None:
    staged = topics.staged(attempt("crm:0-100", 1, "delivered"))
    staged.positions["app-attempts", 0] = ("no number", 0.0)
    with pytest.raises(Exception, match="no number"):
        index.write(staged)
    assert rows_of(index, ATTEMPTS) == []


def test_what_is_too_old_leaves(index: Index, topics: Topics) -> None:
    index.write(
        topics.staged(attempt("crm:0-100", 1, "delivered", at=100.0), attempt("crm:100-200", 1, "delivered", at=900.0))
    )
    index.trim(now=1000.0, max_age_s=500.0, most_rows=10)
    assert [row["at"] for row in rows_of(index, ATTEMPTS)] == [900.0]


def test_the_oldest_leave_where_there_are_too_many(index: Index, topics: Topics) -> None:
    index.write(
        topics.staged(*(attempt(f"crm:{n}-{n + 1}", 1, "delivered", at=100.0 + n, events=1) for n in range(20)))
    )
    index.trim(now=1000.0, max_age_s=5000.0, most_rows=5)
    assert [row["at"] for row in rows_of(index, ATTEMPTS)] == [115.0, 116.0, 117.0, 118.0, 119.0]
