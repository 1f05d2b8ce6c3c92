"""The order of a lane's turns, over whatever is queued: what is to come is what then comes."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.lane import FIRST_TRIES_A_RETRY, Lane
from pipeline.delivery.pending import PendingLane

WITH_ROOM: Any = SimpleNamespace(cap=1)


def lane_with(firsts: int, retries: int, taken: int = 0) -> Lane:
    """A lane that has room, with batches named by their queue, after ``taken`` turns."""
    lane = Lane(0, PendingLane("crm"), None, 0.0)
    lane.gate = WITH_ROOM
    lane.first_tries.extend(f"first {number}" for number in range(firsts))  # type: ignore[misc]
    lane.retries.extend(f"retry {number}" for number in range(retries))  # type: ignore[misc]
    for _ in range(taken):
        lane.pop()
    return lane


def turns(lane: Lane) -> list[Any]:
    taken = []
    while (head := lane.head()) is not None:
        lane.pop()
        taken.append(head)
    return taken


@given(st.integers(0, 20), st.integers(0, 20), st.data())
def test_what_is_upcoming_is_what_comes(firsts: int, retries: int, data: st.DataObject) -> None:
    taken = data.draw(st.integers(0, firsts + retries))
    upcoming = list(lane_with(firsts, retries, taken).upcoming(firsts + retries))
    assert upcoming == turns(lane_with(firsts, retries, taken))
    assert len(upcoming) == firsts + retries - taken


@given(st.integers(0, 20), st.integers(0, 20))
def test_each_queue_keeps_its_order_and_a_retry_waits_for_a_few_first_tries_at_most(firsts: int, retries: int) -> None:
    taken = turns(lane_with(firsts, retries))
    assert [each for each in taken if each.startswith("first")] == [f"first {number}" for number in range(firsts)]
    assert [each for each in taken if each.startswith("retry")] == [f"retry {number}" for number in range(retries)]
    for number in range(retries):
        before = taken[: taken.index(f"retry {number}")]
        assert len(before) - number == min(firsts, (number + 1) * FIRST_TRIES_A_RETRY)
