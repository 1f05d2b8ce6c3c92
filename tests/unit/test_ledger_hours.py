"""The hours are read from the very rows that the stages write, and add up to the ledger that is read from them."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.pending import PendingState
from pipeline.delivery.rows import ROW_VERSION, Fate, HourRow, RowKind, decode_row, encode_row, row_key
from pipeline.ledger import Ledger, read_ledger
from pipeline.ledger_hours import Figures, HourlyAccount, read_hours
from pipeline.model.batch import Batch
from pipeline.model.events import EventRun
from pipeline.model.frame import Frame, Slice
from pipeline.model.integration import BatchLimits
from pipeline.windows.stage import WindowStage

HOUR_S = 3600.0
FIRST_HOUR = 472_222


class Worker:
    """Window stage and pending state of one partition at a time of the test's choosing, with the tables that they fill."""

    def __init__(self) -> None:
        self.windows: dict[bytes, bytes] = {}
        self.pending: dict[bytes, bytes] = {}
        self.stage = WindowStage(lambda _lane: BatchLimits(max_events=10), self.windows.get)
        self.state = PendingState()
        self.sealed: list[Batch] = []
        self.parked: list[Batch] = []
        self._steps = 0

    def feed(self, lane: str, count: int, hour: int) -> None:
        run = EventRun.of([b"{}"] * count)
        piece = Slice(lane, array("I", range(count)).tobytes(), run.packed_ends(), run.block)
        first = 1000 * self._steps
        frame = Frame("events", 0, 1, first, first + count - 1, 1, [piece])
        self.stage.apply(self._steps, frame, (FIRST_HOUR + hour) * HOUR_S)
        self._steps += 1
        writes = self.stage.take()
        _store(self.windows, writes.groups)
        self.stage.stored(writes)
        self.sealed += writes.batches

    def finish(self, fate: Fate | None) -> None:
        """Register the next sealed batch, and end it so."""
        batch = self.sealed.pop(0)
        lane = self.state.touch(batch.lane)
        pending = lane.register(batch, batch.first).pending
        assert pending is not None
        if fate is not None:
            lane.finish(pending, fate)
        if fate is Fate.PARKED:
            self.parked.append(batch)
        _store(self.pending, self.state.take())

    def replay(self, fate: Fate | None) -> None:
        """Take the batch that was parked last up again, and end it so."""
        batch = self.parked.pop()
        lane = self.state.touch(batch.lane)
        pending = lane.replay(batch, 10_000 + self._steps).pending
        assert pending is not None
        if fate is not None:
            lane.finish(pending, fate)
        _store(self.pending, self.state.take())

    def read(self) -> tuple[Ledger, list[HourlyAccount]]:
        windows, pending = {0: [*self.windows.items()]}, [{0: [*self.pending.items()]}]
        ledger = read_ledger(windows, pending)
        return ledger, read_hours(ledger, windows, pending)


def _store(table: dict[bytes, bytes], groups: list[list[tuple[bytes, bytes | None]]]) -> None:
    for key, value in (row for group in groups for row in group):
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def total(account: HourlyAccount) -> Figures:
    added = Figures()
    for figures in (account.older, account.on_the_way, *account.hours.values()):
        added.add(figures)
    return added


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.sampled_from(["crm", "crm~1", "mail"]), st.integers(1, 25)),
        st.tuples(st.just("finish"), st.sampled_from([None, *Fate]), st.integers(0, 3)),
        st.tuples(st.just("replay"), st.sampled_from([None, *Fate]), st.just(0)),
        st.tuples(st.just("pass"), st.none(), st.sampled_from([1, 2, 200])),
    ),
    max_size=40,
)


@given(_steps, st.integers(-10, 500))
def test_the_hours_and_what_is_older_are_the_whole(steps: list[tuple], shown_from: int):
    worker, hour = Worker(), 0
    for what, how, number in steps:
        if what == "feed":
            worker.feed(how, number, hour)
        elif what == "pass":
            hour += number
        elif what == "finish" and worker.sealed:
            worker.finish(how)
        elif what == "replay" and worker.parked:
            worker.replay(how)
    ledger, accounts = worker.read()
    assert ledger.is_balanced
    for account, whole in zip(accounts, ledger.accounts, strict=True):
        assert account.problems == []
        assert account.integration == whole.integration
        for each in (account, account.since(FIRST_HOUR + shown_from)):
            assert total(each) == Figures.of(whole)
            assert all(figures.is_plausible for figures in (each.older, each.on_the_way, *each.hours.values()))
        assert not any(each < FIRST_HOUR + shown_from for each in account.since(FIRST_HOUR + shown_from).hours)


def test_an_event_belongs_to_the_hour_in_which_its_window_was_opened():
    worker = Worker()
    worker.feed("crm", 7, hour=0)
    worker.feed("crm", 8, hour=1)
    worker.finish(Fate.DELIVERED)
    ((account,),) = worker.read()[1:]
    assert account.hours == {
        FIRST_HOUR: Figures(matched=10, delivered=10),
        FIRST_HOUR + 1: Figures(matched=5, open=5),
    }


def test_what_is_sealed_and_not_registered_is_on_the_way():
    worker = Worker()
    worker.feed("crm", 10, hour=0)
    ((account,),) = worker.read()[1:]
    assert account.on_the_way == Figures(matched=10, waiting=10)
    assert account.hours == {}


def _tampered(**changes: int) -> HourlyAccount:
    worker = Worker()
    worker.feed("crm", 30, hour=0)
    worker.finish(Fate.DELIVERED)
    worker.finish(None)
    worker.finish(Fate.PARKED)
    key = row_key("crm", RowKind.HOUR, FIRST_HOUR)
    row = decode_row(HourRow, key, worker.pending[key])
    figures = {name: getattr(row, name) + changes.get(name, 0) for name in row.__struct_fields__ if name != "version"}
    worker.pending[key] = encode_row(HourRow(ROW_VERSION, **figures))
    ledger, (account,) = worker.read()
    assert ledger.is_balanced
    return account


def test_an_hour_that_counts_more_than_the_whole_is_found():
    assert _tampered(registered=1, delivered=1).problems


def test_an_hour_whose_waiting_events_have_no_batch_is_found():
    assert _tampered(delivered=-1).problems


def test_an_hour_that_lost_events_is_taken_for_older_only_where_they_are_done():
    assert not _tampered(registered=-1, delivered=-1).problems
    assert _tampered(registered=-1).problems


def test_its_json_has_hours_as_times():
    worker = Worker()
    worker.feed("crm", 3, hour=0)
    ((account,),) = worker.read()[1:]
    (hour,) = account.as_json()["hours"]
    assert hour["at"] == FIRST_HOUR * 3600
    assert hour["open"] == 3
