from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.batch import SealReason
from pipeline.model.events import EventRun
from pipeline.windows.rule import Cut, cuts, due_s, is_full


@dataclass(frozen=True)
class Limits:
    max_events: int
    max_bytes: int
    max_age_s: float = 3600.0


def one_by_one(count: int, size_bytes: int, sizes: Sequence[int], limits: Limits) -> list[Cut]:
    """The rule in its plainest form: one event at a time."""
    found = []
    for index, size in enumerate(sizes):
        if count and size_bytes + 1 + size > limits.max_bytes:
            found.append(Cut(index, SealReason.BYTES))
            count = size_bytes = 0
        size_bytes += size + (count > 0)
        count += 1
        if count == limits.max_events:
            found.append(Cut(index + 1, SealReason.COUNT))
            count = size_bytes = 0
        elif size_bytes >= limits.max_bytes:
            found.append(Cut(index + 1, SealReason.BYTES))
            count = size_bytes = 0
    return found


@given(
    sizes=st.lists(st.integers(1, 30), max_size=40),
    held=st.lists(st.integers(1, 30), max_size=10),
    limits=st.builds(Limits, st.integers(1, 12), st.integers(1, 90)),
)
def test_a_run_is_cut_where_appending_one_event_at_a_time_would_cut_it(
    sizes: list[int], held: list[int], limits: Limits
) -> None:
    count, size_bytes = len(held), max(sum(held) + len(held) - 1, 0)
    if is_full(count, size_bytes, limits):
        count = size_bytes = 0
    run = EventRun.of([b"x" * size for size in sizes])
    assert cuts(count, size_bytes, run.ends, limits) == one_by_one(count, size_bytes, sizes, limits)


def test_an_event_that_is_too_large_travels_alone() -> None:
    run = EventRun.of([b"ab", b"x" * 50, b"cd"])
    assert cuts(0, 0, run.ends, Limits(100, 10)) == [Cut(1, SealReason.BYTES), Cut(2, SealReason.BYTES)]


def test_a_window_that_has_no_room_for_the_next_event_is_sealed_as_it_is() -> None:
    run = EventRun.of([b"x" * 5])
    assert cuts(2, 8, run.ends, Limits(100, 10)) == [Cut(0, SealReason.BYTES)]


def test_age_counts_from_the_first_event() -> None:
    assert due_s(100.0, Limits(1, 1, max_age_s=60.0)) == 160.0
