"""The ledger is read from the very rows that the stages write."""

import json
from array import array

import pytest

from agents.commands.ledger import print_table, table_of
from pipeline.delivery.pending import PendingState
from pipeline.delivery.rows import ROW_VERSION, Fate, LaneRow, encode_row, lane_key
from pipeline.errors import CodecError, SequenceGapError
from pipeline.ledger import Account, Ledger, read_ledger
from pipeline.model.batch import Batch
from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice
from pipeline.model.integration import BatchLimits
from pipeline.windows.rows import window_key
from pipeline.windows.stage import WindowStage

NOW_S = 1_700_000_000.0
COLUMNS = ("matched", "open", "waiting", "delivered", "parked", "discarded", "missing")


class Worker:
    """Window stage and pending state of one partition, with the tables that they would fill."""

    def __init__(self) -> None:
        self.windows: dict[bytes, bytes] = {}
        self.pending: dict[bytes, bytes] = {}
        self.stage = WindowStage(lambda _lane: BatchLimits(max_events=10), self.windows.get)
        self.state = PendingState()
        self.sealed: list[Batch] = []
        self._applied = 0

    def feed(self, lane: str, count: int) -> None:
        run = EventRun.of([b"{}"] * count)
        numbers = array("I", range(count)).tobytes()
        piece = Slice(lane, numbers, run.packed_ends(), run.block)
        first = 1000 * self._applied
        self.stage.apply(self._applied, Frame("events", 0, 1, first, first + count - 1, 1, [piece]), NOW_S)
        self._applied += 1
        writes = self.stage.take()
        _store(self.windows, writes.groups)
        self.stage.stored(writes)
        self.sealed += writes.batches

    def register(self, *fates: Fate | None) -> None:
        """Hand the next sealed batches to delivery, which ends each as said; ``None`` leaves it waiting."""
        for fate in fates:
            batch = self.sealed.pop(0)
            lane = self.state.touch(batch.lane)
            pending = lane.register(batch, offset=batch.first).pending
            assert pending is not None
            if fate is not None:
                lane.finish(pending, fate)
        _store(self.pending, self.state.take())

    def ledger(self) -> Ledger:
        return read_ledger({0: self.windows.items()}, [{0: self.pending.items()}])


def _store(table: dict[bytes, bytes], groups: list[list[tuple[bytes, bytes | None]]]) -> None:
    for key, value in (row for group in groups for row in group):
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def figures(account: Account) -> dict[str, int]:
    return {name: getattr(account, name) for name in COLUMNS if getattr(account, name)}


def test_every_event_has_its_place_wherever_it_is():
    worker = Worker()
    worker.feed("crm", 57)
    worker.register(Fate.DELIVERED, Fate.PARKED, Fate.DISCARDED, None)
    ledger = worker.ledger()
    (crm,) = ledger.accounts
    assert figures(crm) == {
        "matched": 57,
        "open": 7,
        "waiting": 20,  # one with the delivery stage, one on its way there
        "delivered": 10,
        "parked": 10,
        "discarded": 10,
    }
    assert crm.between == 10
    assert ledger.is_balanced
    assert not crm.is_quiet


def test_it_is_quiet_when_all_is_done():
    worker = Worker()
    worker.feed("crm", 20)
    worker.register(Fate.DELIVERED, Fate.DELIVERED)
    assert worker.ledger().total().is_quiet


def test_numbered_lanes_are_one_integration_and_the_total_adds_up_all():
    worker = Worker()
    worker.feed("crm", 12)
    worker.feed("crm~1", 3)
    worker.feed("mail", 30)
    worker.register(Fate.DELIVERED, Fate.DELIVERED)
    ledger = worker.ledger()
    assert [(each.integration, each.matched, each.delivered) for each in ledger.accounts] == [
        ("crm", 15, 10),
        ("mail", 30, 10),
    ]
    assert figures(ledger.total()) == {"matched": 45, "open": 5, "waiting": 20, "delivered": 20}


def test_partitions_and_kinds_of_sinks_are_added_up():
    crm, mail = Worker(), Worker()
    crm.feed("crm", 10)
    crm.register(Fate.DELIVERED)
    mail.feed("mail", 10)
    mail.register(Fate.PARKED)
    ledger = read_ledger(
        {0: crm.windows.items(), 3: mail.windows.items()}, [{0: crm.pending.items()}, {3: mail.pending.items()}]
    )
    assert figures(ledger.total()) == {"matched": 20, "delivered": 10, "parked": 10}
    assert ledger.is_balanced


def test_nothing_at_all_balances():
    ledger = read_ledger({}, [{}])
    assert ledger.is_balanced
    assert ledger.as_json() == {"balanced": True, "total": ledger.as_json()["total"], "integrations": []}


@pytest.mark.parametrize(("stored", "missing"), [(9, 0), (12, 0), (10, 1), (10, -2)])
def test_a_lane_row_that_was_tampered_with_is_found(stored: int, missing: int):
    worker = Worker()
    worker.feed("crm", 10)
    worker.register(Fate.DELIVERED)
    row = LaneRow(ROW_VERSION, stored, stored - missing, 1)
    worker.pending[lane_key("crm")] = encode_row(row)
    if missing:
        # The row contradicts itself: more is registered than it has a place for, or less.
        with pytest.raises(CodecError, match="crm"):
            worker.ledger()
    else:
        ledger = worker.ledger()
        assert ledger.is_balanced is (
            stored < 10
        )  # what is not registered yet is on its way; what was never sealed is not


def test_delivered_events_that_nobody_matched_are_counted_as_too_many():
    worker = Worker()
    worker.feed("crm", 10)
    worker.register(Fate.DELIVERED)
    ledger = read_ledger({}, [{0: worker.pending.items()}])
    assert ledger.total().missing == -10
    assert not ledger.is_balanced


def test_a_surplus_of_one_integration_does_not_hide_the_lack_of_another():
    ledger = Ledger([Account("crm", matched=10, delivered=9), Account("mail", matched=10, delivered=11)])
    assert ledger.total().missing == 0
    assert not ledger.is_balanced


def test_a_window_row_that_was_removed_is_found():
    worker = Worker()
    for _ in range(3):
        worker.feed("crm", 2)
    del worker.windows[window_key("crm", 1)]
    with pytest.raises(SequenceGapError, match="crm"):
        worker.ledger()


def test_its_json_has_each_account_and_what_it_lacks():
    ledger = Ledger([Account("crm", matched=10, open=1, waiting=2, delivered=3, parked=1, discarded=1, between=1)])
    account = {
        "matched": 10,
        "open": 1,
        "waiting": 2,
        "delivered": 3,
        "parked": 1,
        "discarded": 1,
        "between": 1,
        "missing": 2,
    }
    assert json.loads(json.dumps(ledger.as_json())) == {
        "balanced": False,
        "total": {"integration": "total", **account},
        "integrations": [{"integration": "crm", **account}],
    }


def test_where_no_terminal_is_each_integration_stands_in_one_line(capsys: pytest.CaptureFixture[str]):
    name = "crm-" + "x" * 200
    print_table(table_of(Ledger([Account(name, 1, 0, 0, 1, 0, 0)])))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "crm" in line]
    assert line.split()[0] == name
