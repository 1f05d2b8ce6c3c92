"""Rows that a former owner wrote too late do not count, whatever the two of them wrote when."""

import itertools
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from agents.engine.claim import CLAIM_HEADER, CLAIM_KEY, next_claim, sift, supersedes


class Row(NamedTuple):
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def group(claim: bytes, *rows: tuple[bytes, bytes | None]) -> list[Row]:
    first, *rest = rows
    return [Row(*first, ((CLAIM_HEADER, claim),)), *(Row(*row) for row in rest)]


def claimed(claim: bytes) -> list[Row]:
    return group(claim, (CLAIM_KEY, claim))


OLD, NEW = next_claim(None), next_claim(next_claim(None))


def test_a_group_of_a_former_owner_does_not_count_after_the_new_claim():
    log = [*claimed(OLD), *group(OLD, (b"a", b"1")), *claimed(NEW), *group(OLD, (b"a", b"2"), (b"b", b"2"))]
    found = sift(log, None, None)
    assert dict(found.rows) == {CLAIM_KEY: NEW, b"a": b"1"}
    assert found.late == {b"a", b"b"}


def test_what_the_new_owner_writes_afterwards_counts_and_mends_the_key():
    log = [*claimed(OLD), *claimed(NEW), *group(OLD, (b"a", b"late"), (b"b", b"late")), *group(NEW, (b"a", b"3"))]
    found = sift(log, None, None)
    assert dict(found.rows)[b"a"] == b"3"
    assert found.late == {b"b"}


def test_of_two_claims_made_at_once_the_first_holds():
    one, other = next_claim(OLD), next_claim(OLD)
    log = [*claimed(one), *claimed(other), *group(other, (b"a", b"other")), *group(one, (b"a", b"one"))]
    found = sift(log, OLD, OLD)
    assert found.claim == one
    assert dict(found.rows) == {CLAIM_KEY: one, b"a": b"one"}


def test_rows_from_before_there_were_claims_count():
    found = sift([Row(b"a", b"1"), Row(b"b", None)], None, None)
    assert found.rows == [(b"a", b"1"), (b"b", None)]
    assert not found.late


def test_a_claim_that_is_written_again_changes_nothing():
    found = sift([*claimed(OLD), *group(OLD, (b"a", b"1")), *claimed(OLD), *group(OLD, (b"a", b"2"))], None, None)
    assert dict(found.rows) == {CLAIM_KEY: OLD, b"a": b"2"}
    assert not found.late


@given(st.lists(st.integers(0, 5), max_size=6))
def test_the_next_claim_is_above_all_earlier_ones(numbers):
    earlier = [number.to_bytes(4, "big") + b"rand" for number in numbers]
    claim = next_claim(None, *earlier)
    assert all(supersedes(claim, each) for each in [None, *earlier])


KEYS = st.sampled_from([b"a", b"b", b"c"])
GROUPS = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(min_size=1, max_size=2))), min_size=1, max_size=3)


@given(
    steps=st.lists(st.one_of(st.just("take over"), st.tuples(st.integers(0, 3), GROUPS)), max_size=12),
    cuts=st.sets(st.integers(0, 40)),
)
def test_a_reader_sees_what_the_owner_of_the_moment_wrote_wherever_the_log_is_cut(steps, cuts):
    """``steps``: a new owner claims, or the owner ``back`` places before the newest one writes a group."""
    claims, log, expected = [OLD], claimed(OLD), {}
    for step in steps:
        if step == "take over":
            claims.append(next_claim(claims[-1]))
            log += claimed(claims[-1])
            continue
        back, rows = step
        owner = claims[-1 - min(back, len(claims) - 1)]
        log += group(owner, *rows)
        if owner == claims[-1]:
            expected.update(rows)
    seen, claim, writer = {}, None, None
    edges = [0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]
    for start, end in itertools.pairwise(edges):
        found = sift(log[start:end], claim, writer)
        claim, writer = found.claim, found.writer
        seen.update(found.rows)
    assert seen == {CLAIM_KEY: claims[-1], **expected}
