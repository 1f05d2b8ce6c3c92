"""The breaker, by examples and against an obvious model."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.delivery.breaker import Breaker, BreakerRow, BreakerState, Change, endpoint_works
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.integration import BreakerSettings

NOW = 1_700_000_000.0
LANE = "crm"


def ended(breaker: Breaker, succeeded, now: float, *, started_at: float | None = None, **keys) -> Change | None:
    """A try ended: the probe, where one is under way, unless ``started_at`` says otherwise."""
    began = started_at if started_at is not None else breaker.row.probe_at or now
    return breaker.on_try_ended(succeeded, now, started_at=began, **keys)


def failed_for(breaker: Breaker, tries: int, seconds: float, start: float = NOW) -> list[Change | None]:
    """As many failures, the last of them so many seconds after the first."""
    return [ended(breaker, False, start + seconds * number / (tries - 1)) for number in range(tries)]


def opened(**keys) -> Breaker:
    breaker = Breaker(LANE, BreakerSettings(**keys))
    failed_for(breaker, 10, 10.0)
    assert breaker.is_open
    return breaker


def probed(breaker: Breaker, *, succeeded: bool) -> Change | None:
    at = breaker.next_probe_at
    assert at is not None
    assert breaker.may_try(at)
    breaker.on_probe_started(at)
    return ended(breaker, succeeded, at)


def test_ten_failures_over_ten_seconds_open_it_and_the_change_says_why():
    breaker = Breaker(LANE, BreakerSettings())
    changes = [ended(breaker, False, NOW + second, detail="500 Oops") for second in (0, 1, 2, 3, 4, 5, 6, 7, 8)]
    assert changes == [None] * 9

    change = ended(breaker, False, NOW + 10, detail="500 Oops")

    assert change is not None
    assert (change.state, change.was) == (BreakerState.OPEN, BreakerState.CLOSED)
    assert change.reason == "10 tries failed one after the other: 500 Oops"
    assert change.opened_at == NOW + 10


def test_ten_failures_within_a_moment_do_not_open_it():
    assert failed_for(Breaker(LANE, BreakerSettings()), 10, 0.5) == [None] * 10


def test_ten_failures_within_a_moment_open_it_where_a_batch_used_up_its_schedule_among_them():
    breaker = Breaker(LANE, BreakerSettings())
    ended(breaker, False, NOW, is_exhausted=True)
    assert failed_for(breaker, 9, 0.1)[-1] is not None


def test_a_success_among_the_failures_starts_the_count_anew():
    breaker = Breaker(LANE, BreakerSettings())
    failed_for(breaker, 9, 9.0)
    assert ended(breaker, True, NOW + 9) is None
    assert failed_for(breaker, 9, 60.0, NOW + 10) == [None] * 9


def test_while_it_is_open_nothing_passes_before_the_pause_is_over():
    breaker = opened()
    at = breaker.next_probe_at
    assert at is not None
    assert NOW + 10 + 30 <= at <= NOW + 10 + 30 * 1.25
    assert not breaker.may_try(at - 0.001)
    assert breaker.may_try(at)


def test_one_probe_goes_and_no_other_while_it_is_under_way():
    breaker = opened()
    at = breaker.next_probe_at
    change = breaker.on_probe_started(at)
    assert (change.state, change.was) == (BreakerState.PROBING, BreakerState.OPEN)
    assert not breaker.may_try(at)
    assert not breaker.may_try(at + 600)


def test_a_probe_that_succeeds_closes_it():
    breaker = opened()
    change = probed(breaker, succeeded=True)
    assert (change.state, change.was) == (BreakerState.CLOSED, BreakerState.PROBING)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.may_try(NOW)
    assert breaker.row == BreakerRow()


def test_pauses_double_up_to_ten_minutes():
    breaker = opened()
    pauses = [breaker.row.pause_s]
    for _ in range(7):
        assert probed(breaker, succeeded=False).was is BreakerState.PROBING
        pauses.append(breaker.row.pause_s)
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_probe_that_fails_keeps_the_time_when_it_opened_first():
    breaker = opened()
    change = probed(breaker, succeeded=False)
    assert change.opened_at == NOW + 10
    assert change.reason == "the endpoint still fails"


def test_a_probe_that_was_called_off_lets_another_one_go():
    breaker = opened()
    at = breaker.next_probe_at
    breaker.on_probe_started(at)
    breaker.on_try_abandoned(started_at=at)
    assert breaker.may_try(at)


def test_a_probe_is_waited_for_however_long_it_takes():
    breaker = opened()
    breaker.on_probe_started(breaker.next_probe_at)
    assert not breaker.may_try(breaker.row.probe_at + 1e6)


def test_an_old_try_that_fails_while_the_probe_is_under_way_changes_nothing():
    breaker = opened()
    breaker.on_probe_started(breaker.next_probe_at)
    before = breaker.row
    assert ended(breaker, False, before.probe_at + 1, started_at=NOW + 9, is_exhausted=True) is None
    assert breaker.row == before


def test_an_old_try_that_is_called_off_while_the_probe_is_under_way_lets_no_other_one_go():
    breaker = opened()
    breaker.on_probe_started(breaker.next_probe_at)
    breaker.on_try_abandoned(started_at=NOW + 9)
    assert not breaker.may_try(breaker.row.probe_at + 1)


def test_an_old_try_that_succeeds_while_the_probe_is_under_way_closes_it():
    breaker = opened()
    breaker.on_probe_started(breaker.next_probe_at)
    change = ended(breaker, True, breaker.row.probe_at + 1, started_at=NOW + 9)
    assert (change.state, change.was) == (BreakerState.CLOSED, BreakerState.PROBING)


def test_a_probe_that_ends_after_an_old_try_is_still_the_probe():
    breaker = opened()
    breaker.on_probe_started(breaker.next_probe_at)
    ended(breaker, False, breaker.row.probe_at + 1, started_at=NOW + 9)
    assert ended(breaker, False, breaker.row.probe_at + 2).was is BreakerState.PROBING


def test_what_was_under_way_when_it_opened_cannot_prolong_the_pause_but_can_close_it():
    breaker = opened()
    before = breaker.next_probe_at
    assert ended(breaker, False, NOW + 20, started_at=NOW + 9) is None
    assert breaker.next_probe_at == before
    assert ended(breaker, True, NOW + 21).state is BreakerState.CLOSED


def test_lanes_that_opened_together_probe_at_different_times():
    times = set()
    for number in range(50):
        breaker = Breaker(f"lane-{number}", BreakerSettings())
        failed_for(breaker, 10, 10.0)
        times.add(breaker.next_probe_at)
    assert len(times) > 40


def test_a_stored_breaker_goes_on_where_it_was():
    breaker = opened()
    probed(breaker, succeeded=False)
    row = msgspec.msgpack.decode(msgspec.msgpack.encode(breaker.row), type=BreakerRow)
    restored = Breaker(LANE, BreakerSettings(), row)
    assert restored.row == breaker.row
    assert restored.next_probe_at == breaker.next_probe_at


def test_a_probe_that_a_killed_worker_had_under_way_does_not_hold_up_the_next_one():
    breaker = opened()
    at = breaker.next_probe_at
    breaker.on_probe_started(at)
    assert Breaker(LANE, BreakerSettings(), breaker.row).may_try(at)


def test_a_disabled_breaker_stays_closed_also_where_it_was_stored_open():
    off = BreakerSettings(enabled=False)
    assert failed_for(Breaker(LANE, off), 100, 1000.0) == [None] * 100
    assert Breaker(LANE, off, opened().row).may_try(NOW)


def test_somebody_can_close_it():
    change = opened().close()
    assert (change.state, change.reason, change.is_hoped_for) == (BreakerState.CLOSED, "resumed by hand", True)


@pytest.mark.parametrize(
    ("outcome", "works"),
    [
        (Outcome(Verdict.DELIVERED, "200 OK"), True),
        (Outcome(Verdict.RETRY, "500"), False),
        (Outcome(Verdict.RETRY, "no answer"), False),
        (Outcome(Verdict.RETRY, "429", hint=Hint.THROTTLED), False),
        (Outcome(Verdict.RETRY, "3 of 10 failed", arrived=((0, 7),)), True),
        (Outcome(Verdict.RETRY, "others are left", is_left=True), True),
        (Outcome(Verdict.REFUSED, "400"), True),
        (Outcome(Verdict.REFUSED, "413", hint=Hint.TOO_LARGE), True),
        (Outcome(Verdict.REFUSED, "401", hint=Hint.UNAUTHORIZED), False),
        (Outcome(Verdict.REFUSED, "410", hint=Hint.GONE), False),
    ],
    ids=lambda value: value.detail if isinstance(value, Outcome) else "",
)
def test_refusing_a_batch_is_work_and_refusing_whoever_asks_is_none(outcome, works):
    assert endpoint_works(outcome) is works


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1000)), max_size=60), st.integers(1, 12), st.floats(0, 60))
def test_equal_stories_give_equal_states_and_a_stored_one_ends_as_one_that_was_not(story, tries, after_s):
    chosen = BreakerSettings(after_tries=tries, after=after_s)
    kept, stored, now = Breaker(LANE, chosen), Breaker(LANE, chosen), NOW
    for succeeded, step_s in story:
        now += step_s
        if kept.is_open and kept.may_try(now):
            kept.on_probe_started(now)
            stored.on_probe_started(now)
        assert ended(kept, succeeded, now) == ended(stored, succeeded, now)
        stored = Breaker(LANE, chosen, stored.row)
    assert kept.row == stored.row


class AgainstAModel(RuleBasedStateMachine):
    """The model remembers every failure since the last success, and derives everything anew each time."""

    @initialize(tries=st.integers(1, 6), after_s=st.sampled_from([0.0, 5.0]), pause_s=st.sampled_from([1.0, 30.0]))
    def start(self, tries, after_s, pause_s):
        self.settings = BreakerSettings(after_tries=tries, after=after_s, pause=pause_s, max_pause=100.0)
        self.breaker = Breaker(LANE, self.settings)
        self.now = NOW
        self.failures: list[tuple[float, bool]] = []
        self.failed_probes = -1  # below 0: closed
        self.opened_at = 0.0
        self.is_probing = False

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 7.0, 40.0, 200.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.failed_probes >= 0 and not self.is_probing and self.breaker.may_try(self.now))
    @rule()
    def a_probe_begins(self):
        self.breaker.on_probe_started(self.now)
        self.is_probing = True

    @rule()
    def a_try_succeeds(self):
        change = ended(self.breaker, True, self.now)
        assert (change is not None) == (self.failed_probes >= 0)
        self.failures, self.failed_probes, self.is_probing = [], -1, False

    @rule(is_exhausted=st.booleans())
    def a_try_fails(self, is_exhausted):
        was_closed = self.failed_probes < 0
        change = ended(self.breaker, False, self.now, is_exhausted=is_exhausted)
        self.failures.append((self.now, is_exhausted))
        if was_closed:
            lasted_s = self.now - self.failures[0][0]
            opens = len(self.failures) >= self.settings.after_tries and (
                lasted_s >= self.settings.after_s or any(exhausted for _, exhausted in self.failures)
            )
        else:
            opens = self.is_probing
        assert (change is not None) == opens
        if opens:
            self.failed_probes += 1
            self.opened_at, self.is_probing = self.now, False

    @precondition(lambda self: self.failed_probes >= 0)
    @rule(is_exhausted=st.booleans(), ends=st.booleans())
    def a_try_from_before_it_opened_fails_or_is_called_off(self, is_exhausted, ends):
        before, long_ago = self.breaker.row, NOW - 1.0
        if ends:
            assert ended(self.breaker, False, self.now, started_at=long_ago, is_exhausted=is_exhausted) is None
        else:
            self.breaker.on_try_abandoned(started_at=long_ago)
        assert self.breaker.row == before

    @rule()
    def the_worker_is_restarted(self):
        self.breaker = Breaker(LANE, self.settings, self.breaker.row)
        self.is_probing = False

    @invariant()
    def it_lets_through_what_the_model_lets_through(self):
        if not hasattr(self, "settings"):
            return
        if self.failed_probes < 0:
            assert self.breaker.may_try(self.now)
            assert self.breaker.state is BreakerState.CLOSED
            return
        pause_s = min(self.settings.pause_s * 2**self.failed_probes, self.settings.max_pause_s)
        assert self.breaker.row.pause_s == pause_s
        if self.is_probing:
            assert not self.breaker.may_try(self.now)
        else:
            assert not self.breaker.may_try(self.opened_at + pause_s - 0.01)
            assert self.breaker.may_try(self.opened_at + pause_s * 1.25)


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
