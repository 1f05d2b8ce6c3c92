"""What is selected is what is parked, and the delivery state takes each up once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.pending import Arrival, PendingState
from pipeline.delivery.rows import ROW_VERSION, Fate, ParkedRow
from pipeline.model.batch import Request, decode_batch
from pipeline.model.ranges import Ranges, ranges_of
from pipeline.replay.parked import Named, ParkedBatch, Selection, is_wanted, read_pending, replay_record
from tests.support.delivering import sealed

NOW_S = 1_700_000_000.0


def parked(
    lane: str = "crm",
    ranges: Ranges = ((0, 100),),
    *,
    kind: str = "http",
    at: float = NOW_S,
    reason: str = "refused: the endpoint answered 404 Not Found",
) -> ParkedBatch:
    rest = ranges if len(ranges) > 1 else ()
    row = ParkedRow(ROW_VERSION, ranges[-1][1], rest, 0, at, reason)
    return ParkedBatch(kind, 0, lane, ranges[0][0], row)


class Table:
    """A partition's pending state with the rows that it has written."""

    def __init__(self) -> None:
        self.state = PendingState()
        self.rows: dict[bytes, bytes] = {}

    def write(self) -> list[tuple[bytes, bytes]]:
        for key, value in (row for group in self.state.take() for row in group):
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return [*self.rows.items()]


@given(st.lists(st.tuples(st.sampled_from([None, *Fate]), st.sets(st.integers(0, 9), max_size=9)), max_size=12))
def test_every_parked_batch_and_part_is_found_and_taken_up_just_once(story: list[tuple[Fate | None, set[int]]]):
    table, bodies = Table(), {}
    lane = table.state.touch("crm")
    for number, (fate, arrived) in enumerate(story):
        batch = sealed("crm", number * 10, number * 10 + 10, NOW_S)
        pending = lane.register(batch, number).pending
        assert pending is not None
        left = ranges_of({number * 10 + each for each in range(10) if each not in arrived})
        lane.keep_only(pending, left)
        if fate is not None:
            lane.finish(pending, fate, now=NOW_S + number, reason="refused: 404")
        if fate is Fate.PARKED:
            bodies["http", "crm", left] = batch.only(left)

    found = read_pending({"http": {0: table.write()}}).parked
    assert {each.key for each in found} == bodies.keys()
    assert sum(each.events for each in found) == lane.counts.events[Fate.PARKED]
    assert [each.row.parked_at for each in found] == sorted(each.row.parked_at for each in found)

    for offset, each in enumerate(found, len(story)):
        asked = decode_batch(replay_record(bodies[each.key], NOW_S + 99))
        assert (asked.request, asked.sealed_at, asked.id) == (Request.REPLAY, NOW_S + 99, each.id)
        arrivals = [table.state.touch("crm").replay(asked, offset + again).arrival for again in (0, 100)]
        assert arrivals == [Arrival.NEW, Arrival.REPEATED]
    assert not read_pending({"http": {0: table.write()}}).parked
    assert lane.counts.events[Fate.PARKED] == 0


def test_rows_that_say_nothing_of_a_replay_are_not_asked_for():
    assert [is_wanted(key) for key in (b"crm", b"crm!3", b"crm~1!3", b"crm/3", b"crm@400000")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("named", "lane", "ranges", "is_meant"),
    [
        ("crm:0-100", "crm", ((0, 100),), True),
        ("crm:0-100", "crm", ((0, 50),), True),
        ("crm:0-100", "crm", ((3, 4), (17, 18)), True),
        ("crm:0-100", "crm", ((100, 200),), False),
        ("crm:0-100", "crm", ((50, 101),), False),
        ("crm:0-100", "crm~backfill", ((0, 100),), False),
        ("crm~backfill:0-100", "crm~backfill", ((0, 100),), True),
        ("crm:3-18~2", "crm", ((3, 4), (17, 18)), True),
        ("crm:3-18~3", "crm", ((3, 4), (17, 18)), False),
        ("crm:3-18~2", "crm", ((5, 7),), False),
    ],
)
def test_a_batch_id_means_what_is_parked_of_it(named: str, lane: str, ranges: Ranges, *, is_meant: bool):
    assert Named.parse(named).means(parked(lane, ranges)) is is_meant


@pytest.mark.parametrize("text", ["crm", "crm:0", "crm:5-5", "crm:9-3", "CRM:0-1", "crm:0-100 "])
def test_what_is_no_batch_id_is_refused(text: str):
    with pytest.raises(ValueError, match="LANE:FIRST-END"):
        Named.parse(text)


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (Selection(), True),
        (Selection(integrations=frozenset({"crm", "mail"})), True),
        (Selection(integrations=frozenset({"mail"})), False),
        (Selection(kinds=frozenset({"http"})), True),
        (Selection(kinds=frozenset({"email"})), False),
        (Selection(reasons=("404 not found",)), True),
        (Selection(reasons=("503", "404")), True),
        (Selection(reasons=("503",)), False),
        (Selection(since=NOW_S), True),
        (Selection(since=NOW_S + 1), False),
        (Selection(until=NOW_S), False),
        (Selection(until=NOW_S + 1), True),
        (Selection(integrations=frozenset({"crm"}), reasons=("503",)), False),
    ],
)
def test_every_condition_that_is_set_must_be_met(selection: Selection, *, is_meant: bool):
    assert selection.takes(parked("crm~1")) is is_meant
