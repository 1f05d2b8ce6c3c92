"""How fetched records are cut into chunks."""

from itertools import pairwise
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from agents.engine.backlog import Backlog

RECORDS = st.lists(
    st.builds(
        SimpleNamespace,
        key=st.none() | st.binary(max_size=20),
        value=st.none() | st.binary(max_size=200),
    ),
    min_size=1,
    max_size=40,
)


def size_of(record: SimpleNamespace) -> int:
    return len(record.key or b"") + len(record.value or b"")


@given(RECORDS, st.integers(1, 50), st.integers(1, 500))
def test_cuts_are_the_records_in_order_within_both_bounds_and_as_large_as_they_may_be(records, max_records, max_bytes):
    backlog = Backlog(records)
    cuts = []
    while not backlog.is_empty():
        cut, size_bytes = backlog.cut(max_records, max_bytes)
        assert cut, "each cut takes at least one"
        assert size_bytes == sum(map(size_of, cut))
        assert len(cut) <= max_records
        # Only a record that is too large for any chunk goes beyond the bytes, behind nothing but empty ones.
        assert size_bytes <= max_bytes or not any(map(size_of, cut[:-1]))
        cuts.append(cut)
    assert [record for cut in cuts for record in cut] == records
    for cut, following in pairwise(cuts):
        is_full = len(cut) == max_records or sum(map(size_of, cut)) + size_of(following[0]) > max_bytes
        assert is_full, "no cut ends early"


def test_all_records_at_once_are_not_copied():
    records = [SimpleNamespace(key=None, value=b"x")] * 3
    cut, _ = Backlog(records).cut(10, 10)
    assert cut is records
