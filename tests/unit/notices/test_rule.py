"""Which notices are told."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.notices.notice import Cause
from pipeline.notices.rule import PAUSE_S, NoticeRule, Telling

PARKED, OPENED, CLOSED = Cause.BATCHES_PARKED, Cause.BREAKER_OPENED, Cause.BREAKER_CLOSED
WAITING = Cause.WAITING_LONG
MINUTE_S = 60.0


def test_the_first_is_told_at_once():
    assert NoticeRule().tell(PARKED, "crm", "one", 5.0) == Telling(PARKED, "crm", "one", 0)


def test_within_an_hour_no_second_one_is_told():
    rule = NoticeRule()
    rule.tell(PARKED, "crm", "one", 0.0)
    assert rule.tell(PARKED, "crm", "two", PAUSE_S - 1) is None
    assert rule.due(PAUSE_S - 1) == []


def test_the_next_one_says_how_many_were_held_back():
    rule = NoticeRule()
    for second in range(10):
        rule.tell(PARKED, "crm", str(second), float(second))
    assert rule.tell(PARKED, "crm", "later", PAUSE_S) == Telling(PARKED, "crm", "later", 9)
    assert rule.tell(PARKED, "crm", "much later", 3 * PAUSE_S) == Telling(PARKED, "crm", "much later", 0)


def test_when_the_hour_is_over_the_latest_of_those_held_back_is_told():
    rule = NoticeRule()
    for second in range(10):
        rule.tell(PARKED, "crm", str(second), float(second))
    assert rule.due(PAUSE_S) == [Telling(PARKED, "crm", "9", 8)]
    assert rule.due(3 * PAUSE_S) == []


def test_other_causes_and_other_integrations_are_told_on_their_own():
    rule = NoticeRule()
    rule.tell(PARKED, "crm", "", 0.0)
    assert rule.tell(PARKED, "shop", "", 0.0) is not None
    assert rule.tell(OPENED, "crm", "", 0.0) is not None
    assert rule.tell(PARKED, None, "", 0.0) is not None


def test_the_end_is_told_where_the_beginning_was_however_soon():
    rule = NoticeRule()
    rule.tell(OPENED, "crm", "down", 0.0, subject="crm")
    assert rule.tell(CLOSED, "crm", "up", 1.0, subject="crm") == Telling(CLOSED, "crm", "up", 0)


def test_the_end_is_not_told_where_the_beginning_was_held_back():
    rule = NoticeRule()
    for minute in range(5):
        rule.tell(OPENED, "crm", "down", minute * MINUTE_S, subject="crm")
        told = rule.tell(CLOSED, "crm", "up", minute * MINUTE_S + 1, subject="crm")
        assert (told is not None) == (minute == 0)
    assert rule.due(2 * PAUSE_S) == []
    assert rule.tell(OPENED, "crm", "down", 3 * PAUSE_S, subject="crm") == Telling(OPENED, "crm", "down", 4)


def test_the_end_of_what_began_before_a_restart_is_told():
    assert NoticeRule().tell(CLOSED, "crm", "up", 0.0, subject="crm") is not None


def test_what_began_again_and_lasts_is_told_when_the_hour_is_over_and_then_its_end_is():
    rule = NoticeRule()
    rule.tell(OPENED, "crm", "down", 0.0, subject="crm")
    rule.tell(CLOSED, "crm", "up", MINUTE_S, subject="crm")
    assert rule.tell(OPENED, "crm", "down again", 2 * MINUTE_S, subject="crm") is None
    assert rule.due(PAUSE_S) == [Telling(OPENED, "crm", "down again", 0)]
    assert rule.tell(CLOSED, "crm", "up again", PAUSE_S + 1, subject="crm") is not None


def test_of_lanes_that_fail_together_one_is_told_and_its_end():
    rule = NoticeRule()
    lanes = [f"crm~{number}" for number in range(8)]
    began = [rule.tell(OPENED, "crm", lane, 0.0, subject=lane) for lane in lanes]
    ended = [rule.tell(CLOSED, "crm", lane, 9.0, subject=lane) for lane in lanes]
    assert [telling is not None for telling in began] == [True] + [False] * 7
    assert [telling is not None for telling in ended] == [True] + [False] * 7


def test_what_is_cleared_is_not_told_later_but_counted():
    rule = NoticeRule()
    for lane in ("a", "a", "b"):
        rule.tell(WAITING, "crm", lane, 0.0, subject=lane)
    rule.clear(WAITING, "crm", "b")
    assert rule.due(PAUSE_S) == [Telling(WAITING, "crm", "a", 1)]
    rule.tell(WAITING, "crm", "a", PAUSE_S, subject="a")
    rule.clear(WAITING, "crm", "a")
    assert rule.due(3 * PAUSE_S) == []
    assert rule.tell(WAITING, "crm", "later", 3 * PAUSE_S, subject="a") == Telling(WAITING, "crm", "later", 1)


def test_to_clear_what_was_never_told_does_nothing():
    rule = NoticeRule()
    rule.clear(WAITING, "crm", "a")
    assert rule.due(PAUSE_S) == []


steps = st.lists(
    st.tuples(
        st.sampled_from([PARKED, Cause.ENDPOINT_GONE, Cause.CREDENTIALS_REFUSED]),
        st.sampled_from(["crm", "shop"]),
        st.sampled_from(["", "a", "b"]),
        st.floats(0, 2000),
        st.booleans(),
    ),
    max_size=100,
)


@given(steps)
def test_everything_is_told_or_counted_and_nothing_more_than_once_an_hour(story):
    rule, now_s, happened, told_at = NoticeRule(), 0.0, 0, {}
    counted = 0

    def note(telling: Telling) -> None:
        nonlocal counted
        key = (telling.cause, telling.integration)
        assert now_s - told_at.get(key, -PAUSE_S) >= PAUSE_S - 1e-6
        told_at[key] = now_s
        counted += 1 + telling.suppressed

    for cause, integration, subject, step_s, looks in story:
        now_s += step_s
        if looks:
            for telling in rule.due(now_s):
                note(telling)
        happened += 1
        telling = rule.tell(cause, integration, "", now_s, subject=subject)
        if telling is not None:
            note(telling)
    now_s += PAUSE_S
    for telling in rule.due(now_s):
        note(telling)
    assert counted == happened
    assert rule.due(now_s + PAUSE_S) == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 2000), st.booleans()), max_size=80))
def test_people_who_only_read_notices_know_in_the_end_what_is_open(story):
    rule, now_s = NoticeRule(), 0.0
    is_open = {"a": False, "b": False}
    believed: set[str] = set()

    def read(telling: Telling | None) -> None:
        if telling is not None:
            (believed.add if telling.cause is OPENED else believed.discard)(telling.detail)

    for lane, step_s, looks in story:
        now_s += step_s
        if looks:
            for telling in rule.due(now_s):
                read(telling)
        is_open[lane] = not is_open[lane]
        read(rule.tell(OPENED if is_open[lane] else CLOSED, "crm", lane, now_s, subject=lane))
    for _ in range(3):
        now_s += PAUSE_S
        for telling in rule.due(now_s):
            read(telling)
    assert believed == {lane for lane, open_now in is_open.items() if open_now}
