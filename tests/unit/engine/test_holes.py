"""Offsets that are missing: what of them was removed, and when they are believed to be."""

import pytest
from faust.types.tuples import TP

from agents.engine.holes import Hole, Holes

HERE, THERE = TP("events", 0), TP("events", 1)


@pytest.mark.parametrize(
    ("log_start", "removed"),
    [
        (0, 0),  # the end of a transaction, or what compaction took
        (10, 0),
        (13, 3),  # removed by retention, and then the end of a transaction
        (20, 10),
        (25, 10),  # retention has gone on since
    ],
)
def test_what_lies_before_the_beginning_of_the_log_was_removed(log_start, removed):
    assert Hole(10, 20).removed(log_start) == removed


def test_a_hole_is_believed_when_it_is_found_again():
    holes = Holes()
    assert not holes.believe(HERE, Hole(10, 20))
    assert not holes.believe(THERE, Hole(10, 20))
    assert not holes.believe(HERE, Hole(10, 21))
    assert holes.believe(HERE, Hole(10, 21))
    holes.forget(HERE)
    assert not holes.believe(HERE, Hole(10, 21))


def test_where_the_log_begins_is_asked_anew_for_each_hole():
    holes = Holes()
    assert holes.unasked([HERE, THERE]) == []
    holes.believe(HERE, Hole(10, 20))
    assert holes.unasked([HERE, THERE]) == [HERE]
    assert holes.removed(HERE) is None
    holes.begin_at({HERE: 15})
    assert holes.unasked([HERE, THERE]) == []
    assert holes.removed(HERE) == 5
    holes.believe(HERE, Hole(10, 30))
    assert holes.unasked([HERE, THERE]) == [HERE]
    assert holes.removed(HERE) is None
