"""The oracle itself: which repeats it lets pass, and which it does not."""

import pytest

from tests.conservation.arrivals import Arrival
from tests.conservation.journal import Entry, Journal
from tests.conservation.oracle import MEASURED_WITHIN_S, RECORDED_WITHIN_S, Expectation, Findings, check_received

WORKER, ALLOWED_S = "worker-1", RECORDED_WITHIN_S + MEASURED_WITHIN_S
START = Entry(0.0, "start", WORKER)
ASLEEP = [START, Entry(10.0, "pause worker", WORKER), Entry(20.0, "resume worker", WORKER)]


def judged(first_s: float, again_s: float, *entries: Entry) -> Findings:
    """What is found of a batch that came twice, where this was done."""
    journal = Journal()
    journal.entries += entries
    arrivals = [Arrival(at_s, "crm:0-1", ["a"]) for at_s in (first_s, again_s)]
    return check_received(Expectation([], []), arrivals, journal)


def test_a_repeat_without_a_kill_is_a_problem():
    assert judged(5.0, 6.0, START).unexplained.total() == 1


@pytest.mark.parametrize(("before_s", "unexplained"), [(ALLOWED_S - 0.01, 0), (ALLOWED_S + 0.01, 1)])
def test_a_batch_that_was_finished_well_before_a_kill_is_not_to_come_again(before_s: float, unexplained: int):
    kill = Entry(10.0, "kill worker", WORKER)
    assert judged(10.0 - before_s, 15.0, START, kill).unexplained.total() == unexplained


@pytest.mark.parametrize(("again_s", "unexplained"), [(19.9, 1), (20.05, 0), (20.1 + MEASURED_WITHIN_S + 0.01, 1)])
def test_a_worker_that_slept_too_long_may_end_what_it_had_in_flight_until_it_has_ended(
    again_s: float, unexplained: int
):
    ended = Entry(20.1, "ended by itself", WORKER)
    found = judged(15.0, again_s, *ASLEEP, ended, Entry(20.2, "start", WORKER))
    assert found.unexplained.total() == unexplained


def test_one_that_slept_and_goes_on_may_not():
    assert judged(15.0, 20.05, *ASLEEP, Entry(30.0, "kill worker", WORKER)).unexplained.total() == 1
