"""What is learned from events: each pair once, as much as is allowed, and a device that changes hands again."""

from dataclasses import dataclass
from itertools import pairwise

from pipeline.users.learning import WITHOUT_LIMIT, Learner

NOW_S = 1_700_000_000.0


@dataclass
class Event:
    hwid: str | None = "H1"
    user_id: str | None = "u1"
    email: str | None = None
    application_code: str = "32E5A-9B411"
    platform: str = "iOS"
    timestamp: int = int(NOW_S) - 10


def learned(learner, *events, at_s=NOW_S):
    learner.look(events)
    return [(each.hwid, each.user_id) for each in learner.take(at_s)]


def test_a_pair_is_handed_on_once():
    learner = Learner()
    assert learned(learner, Event(), Event()) == [("H1", "u1")]
    assert learned(learner, Event()) == []


def test_a_device_that_goes_to_and_fro_is_handed_on_each_time():
    learner = Learner()
    pairs = [learned(learner, Event(user_id=each)) for each in ("u1", "u2", "u1")]
    assert pairs == [[("H1", "u1")], [("H1", "u2")], [("H1", "u1")]]


def test_of_two_in_one_run_the_later_counts():
    learner = Learner()
    assert learned(learner, Event(user_id="u1"), Event(user_id="u2")) == [("H1", "u2")]
    assert learned(learner, Event(user_id="u1"), Event(user_id="u2")) == []


def test_the_same_device_in_two_applications_is_two():
    learner = Learner()
    assert len(learned(learner, Event(), Event(application_code="B"))) == 2
    assert learned(learner, Event(), Event(application_code="B")) == []


def test_users_without_a_device_are_learned_too():
    learner = Learner()
    assert learned(learner, Event(hwid=None), Event(hwid="", user_id="u2")) == [(None, "u1"), (None, "u2")]
    assert learned(learner, Event(hwid=None), Event(hwid="", user_id="u2")) == []


def test_more_than_is_allowed_in_a_second_is_learned_later():
    learner = Learner(learned_a_second=10)
    events = [Event(hwid=f"H{number}") for number in range(25)]
    got = [pair for second in range(4) for pair in learned(learner, *events, at_s=NOW_S + second)]
    assert sorted(got) == sorted((f"H{number}", "u1") for number in range(25))


def test_of_more_events_than_are_looked_at_in_a_second_a_part_is_learned():
    learner = Learner(looked_at_a_second=64)
    learner.take(NOW_S)
    for run in range(320):
        learner.look([Event(hwid=f"H{64 * run + number}") for number in range(64)])
    looked_at = len(learner.take(NOW_S))
    assert 64 * 9 <= looked_at <= 64 * 11
    learner.take(NOW_S + 1)
    assert learned(learner, Event(hwid="late"), at_s=NOW_S + 1) == [("late", "u1")]


def test_memory_is_bounded_and_what_is_still_seen_stays_known():
    learner = Learner(remembered=100)
    for number in range(1000):
        learned(learner, Event(hwid="often"), Event(hwid=f"H{number}"), at_s=NOW_S + number)
        assert len(learner._young) + len(learner._old) <= 204
    assert learned(learner, Event(hwid="often"), at_s=NOW_S + 1000) == []


def test_a_pair_that_is_seen_all_the_time_is_handed_on_again_each_hour():
    learner = Learner(remembered=3)
    handed_on_s = [
        second
        for second in range(0, 4 * 3600, 600)
        if ("H1", "u1") in learned(learner, Event(), Event(hwid=f"D{second}"), at_s=NOW_S + second)
    ]
    assert len(handed_on_s) == 4
    assert all(later - earlier >= 3600 for earlier, later in pairwise(handed_on_s))


def test_a_time_to_come_is_not_believed():
    learner = Learner()
    learner.look([Event(timestamp=int(NOW_S) + 10**6)])
    [seen] = learner.take(NOW_S)
    assert seen.at_us == NOW_S * 1e6


def test_identifiers_that_cannot_be_stored_are_left_out():
    learner = Learner()
    assert learned(learner, Event(hwid="x" * 600)) == []


def test_without_a_limit_every_pair_of_every_run_is_handed_on():
    learner = Learner(looked_at_a_second=WITHOUT_LIMIT, learned_a_second=WITHOUT_LIMIT)
    runs = [[Event(hwid=f"H{number}-{run}", user_id=f"u{number}-{run}") for number in range(1000)] for run in range(5)]
    assert [len(learned(learner, *run)) for run in runs] == [1000] * 5
