"""What of deliveries people are told."""

import pytest

from pipeline.clock import ManualClock
from pipeline.delivery.breaker import BreakerState, Change
from pipeline.delivery.observers import DeliveryObservers
from pipeline.delivery.rows import Fate
from pipeline.delivery.views import LaneView
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.notices.delivery import REFUSED_IN_A_ROW, DeliveryNotices, WaitWatch, look_every_s
from pipeline.notices.notice import Cause, Notice
from pipeline.notices.notices import Notices

HOUR_S = 3600.0
OK = Outcome(Verdict.DELIVERED, "200 OK")
UNAUTHORIZED = Outcome(Verdict.REFUSED, "401 Unauthorized", status=401, hint=Hint.UNAUTHORIZED)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def notices(clock):
    return Notices(clock)


@pytest.fixture
def deliveries(notices):
    return DeliveryNotices(notices)


def told(notices: Notices) -> list[Cause]:
    return [notice.cause for notice in notices.take()]


def opened(was: BreakerState = BreakerState.CLOSED) -> Change:
    return Change(BreakerState.OPEN, was, "10 tries failed one after the other: 500", 1.0, 31.0)


def closed() -> Change:
    return Change(BreakerState.CLOSED, BreakerState.PROBING, "the endpoint takes batches again", 1.0)


def test_a_breaker_that_opens_and_closes_is_told_twice(deliveries, notices):
    deliveries.breaker_changed("crm", opened())
    deliveries.breaker_changed("crm", Change(BreakerState.PROBING, BreakerState.OPEN, "", 1.0))
    deliveries.breaker_changed("crm", opened(BreakerState.PROBING))
    deliveries.breaker_changed("crm", closed())
    assert told(notices) == [Cause.BREAKER_OPENED, Cause.BREAKER_CLOSED]


def hoped_for() -> Change:
    return Change(BreakerState.CLOSED, BreakerState.OPEN, "resumed by hand", 1.0, is_hoped_for=True)


def test_a_breaker_that_is_closed_by_hand_is_told_when_the_endpoint_is_at_work(deliveries, notices):
    deliveries.breaker_changed("crm", opened())
    deliveries.breaker_changed("crm", hoped_for())
    deliveries.attempted("crm", 2, UNAUTHORIZED, None)
    deliveries.attempted("crm~1", 1, OK, None)
    assert told(notices) == [Cause.BREAKER_OPENED]
    deliveries.attempted("crm", 3, OK, None)
    deliveries.attempted("crm", 1, OK, None)
    (notice,) = notices.take()
    assert (notice.cause, notice.detail) == (Cause.BREAKER_CLOSED, "lane crm: it was resumed by hand")


def test_a_breaker_that_is_closed_by_hand_in_vain_is_still_told_as_open(deliveries, notices, clock):
    deliveries.breaker_changed("crm", opened())
    deliveries.breaker_changed("crm", hoped_for())
    deliveries.breaker_changed("crm", opened())
    assert told(notices) == [Cause.BREAKER_OPENED]
    clock.move(HOUR_S)
    assert told(notices) == [Cause.BREAKER_OPENED]
    deliveries.attempted("crm", 1, OK, None)
    assert told(notices) == [], "that it works, the breaker says when it closes"


def test_a_notice_names_the_lane_and_the_reason(deliveries, notices):
    deliveries.breaker_changed("crm~3", opened())
    (notice,) = notices.take()
    assert notice.integration == "crm"
    assert notice.detail == "lane crm~3: 10 tries failed one after the other: 500"


def test_parked_batches_are_told_and_delivered_and_discarded_ones_are_not(deliveries, notices):
    deliveries.finished("crm", 100, Fate.DELIVERED, 1.0, "")
    deliveries.finished("crm", 100, Fate.DISCARDED, 1.0, "refused: 400")
    assert told(notices) == []
    deliveries.finished("crm", 100, Fate.PARKED, 12.4, "refused: the endpoint answered 400 Bad Request")
    (notice,) = notices.take()
    assert notice.cause is Cause.BATCHES_PARKED
    assert "100 events was parked after 12s, refused: the endpoint answered 400 Bad Request; " in notice.detail


def test_one_event_is_not_told_as_several(deliveries, notices):
    deliveries.finished("crm", 1, Fate.PARKED, 12.4, "")
    (notice,) = notices.take()
    assert notice.detail.startswith("a batch of lane crm with 1 event was parked after 12s; ")


def test_an_endpoint_that_is_gone_is_told(deliveries, notices):
    deliveries.halted("crm", "the endpoint answered 410 Gone")
    (notice,) = notices.take()
    assert notice.cause is Cause.ENDPOINT_GONE
    assert notice.detail.startswith("lane crm: the endpoint answered 410 Gone; what waits is kept.")


def test_a_second_end_of_an_endpoint_is_told_an_hour_later_unless_the_lane_was_tried_again(deliveries, notices, clock):
    deliveries.halted("crm", "410 Gone")
    deliveries.halted("crm~1", "410 Gone")
    deliveries.halted("crm~2", "410 Gone")
    notices.take()
    deliveries.started("crm~2", 2, 60.0)
    clock.move(HOUR_S)
    (notice,) = notices.take()
    assert notice.detail.startswith("lane crm~1: ")
    deliveries.halted("crm~1", "410 Gone")
    deliveries.started("crm~1", 3, 60.0)
    clock.move(HOUR_S)
    assert told(notices) == []


def test_refused_credentials_are_told_after_five_in_a_row(deliveries, notices):
    for _ in range(REFUSED_IN_A_ROW - 1):
        deliveries.attempted("crm", 1, UNAUTHORIZED, None)
    assert told(notices) == []
    deliveries.attempted("crm", 1, UNAUTHORIZED, None)
    assert told(notices) == [Cause.CREDENTIALS_REFUSED]


def test_a_delivery_between_them_starts_the_count_anew(deliveries, notices):
    for outcome in [UNAUTHORIZED] * 4 + [OK] + [UNAUTHORIZED] * 4:
        deliveries.attempted("crm", 1, outcome, None)
    assert told(notices) == []


def test_refused_credentials_that_are_taken_again_are_not_told_an_hour_later(deliveries, notices, clock):
    for _ in range(REFUSED_IN_A_ROW + 1):
        deliveries.attempted("crm~1", 1, UNAUTHORIZED, None)
    notices.take()
    deliveries.attempted("crm~2", 2, OK, None)
    clock.move(HOUR_S)
    assert told(notices) == []


def test_refused_credentials_that_go_on_being_refused_are_told_an_hour_later(deliveries, notices, clock):
    for _ in range(REFUSED_IN_A_ROW + 1):
        deliveries.attempted("crm", 1, UNAUTHORIZED, None)
    notices.take()
    clock.move(HOUR_S)
    assert told(notices) == [Cause.CREDENTIALS_REFUSED]


def test_refusals_of_different_integrations_are_not_added_up(deliveries, notices):
    for _ in range(4):
        deliveries.attempted("crm", 1, UNAUTHORIZED, None)
        deliveries.attempted("shop", 1, UNAUTHORIZED, None)
    assert told(notices) == []


def test_of_test_events_nothing_is_told(deliveries, notices):
    deliveries.finished("crm~test", 1, Fate.PARKED, 1.0, "")
    deliveries.halted("crm~test", "410 Gone")
    deliveries.breaker_changed("crm~test", opened())
    assert told(notices) == []


def lane(name: str, oldest_sealed_at: float | None, oldest_parked_at: float | None = None, count: int = 0) -> LaneView:
    values = dict.fromkeys(LaneView._fields, 0)
    counts = dict.fromkeys(("waiting_batches", "waiting_events", "replayable_batches"), count)
    oldest = {"oldest_sealed_at": oldest_sealed_at, "oldest_parked_at": oldest_parked_at}
    return LaneView(**{**values, **counts, **oldest, "lane": name})


@pytest.mark.parametrize(("hours", "is_told"), [(1.9, False), (2.1, True)])
def test_a_batch_that_has_waited_for_two_thirds_of_its_time_is_told(clock, notices, hours, is_told):
    watch = WaitWatch(notices, clock, {"crm": 3 * HOUR_S})
    watch.check([lane("crm", clock.wall_s() - hours * HOUR_S)])
    assert told(notices) == ([Cause.WAITING_LONG] if is_told else [])


def test_what_does_not_wait_or_has_no_integration_any_more_is_not_told(clock, notices):
    watch = WaitWatch(notices, clock, {"crm": HOUR_S})
    watch.check([lane("crm", None), lane("removed", 1.0), lane("crm~test", 1.0)])
    assert told(notices) == []


@pytest.mark.parametrize(
    ("max_wait_s", "every_s"), [([], 60), ([3 * 24 * HOUR_S], 60), ([HOUR_S, 60.0], 10), ([15.0], 2.5), ([1.0], 1)]
)
def test_the_shorter_a_batch_may_wait_the_more_often_it_is_looked_at(max_wait_s, every_s):
    assert look_every_s(max_wait_s) == pytest.approx(every_s)


def test_a_batch_that_goes_on_waiting_is_told_once_an_hour(clock, notices):
    watch = WaitWatch(notices, clock, {"crm": 72 * HOUR_S})
    waiting = lane("crm", clock.wall_s() - 60 * HOUR_S)
    taken: list[Notice] = []
    for _ in range(2 * 60 + 1):
        watch.check([waiting])
        taken += notices.take()
        clock.move(60)
    assert len(taken) == 3


def test_what_waited_for_long_and_is_gone_is_not_told_an_hour_later(clock, notices):
    watch = WaitWatch(notices, clock, {"crm": HOUR_S})
    long_ago = clock.wall_s() - 0.9 * HOUR_S
    for _ in range(2):
        watch.check([lane("crm", long_ago), lane("crm~1", long_ago)])
    notices.take()
    watch.check([lane("crm", None)])
    clock.move(HOUR_S)
    assert told(notices) == []


def test_one_batch_of_one_event_that_waits_is_not_told_as_several(clock, notices):
    WaitWatch(notices, clock, {"crm": 3 * HOUR_S}).check([lane("crm", clock.wall_s() - 2.5 * HOUR_S, count=1)])
    (notice,) = notices.take()
    assert notice.detail.startswith("lane crm: 1 batch with 1 event waits, the oldest for ")


@pytest.mark.parametrize(("days", "is_told"), [(5.9, False), (6.1, True), (6.9, True), (7.1, False)])
def test_a_parked_batch_on_its_last_day_is_told(clock, notices, days, is_told):
    WaitWatch(notices, clock, {}).check([lane("crm", None, clock.wall_s() - days * 24 * HOUR_S)])
    assert told(notices) == ([Cause.PARKED_EXPIRING] if is_told else [])


def test_a_notice_of_parked_batches_says_how_many_there_are_and_how_long_they_last(clock, notices):
    WaitWatch(notices, clock, {}).check([lane("crm~1", None, clock.wall_s() - 6.5 * 24 * HOUR_S, count=3)])
    (notice,) = notices.take()
    assert notice.integration == "crm"
    assert notice.detail.startswith("lane crm~1: the oldest of 3 parked batches can be replayed for 12h more; ")


def test_parked_batches_that_were_replayed_are_not_told_an_hour_later(clock, notices):
    watch = WaitWatch(notices, clock, {})
    for _ in range(2):
        watch.check([lane("crm", None, clock.wall_s() - 6.5 * 24 * HOUR_S)])
    notices.take()
    watch.check([lane("crm", None)])
    clock.move(HOUR_S)
    assert told(notices) == []


def test_several_observers_are_all_told(clock):
    both = Notices(clock), Notices(clock)
    observers = DeliveryObservers(*map(DeliveryNotices, both))
    observers.started("crm", 1, 0.0)
    observers.attempted("crm", 1, OK, None)
    observers.arrived("crm", 1)
    observers.repeated("crm", 1)
    observers.spilled("crm", 1)
    observers.halted("crm", "410")
    observers.finished("crm", 1, Fate.PARKED, 1.0, "")
    observers.breaker_changed("crm", opened())
    expected = [Cause.ENDPOINT_GONE, Cause.BATCHES_PARKED, Cause.BREAKER_OPENED]
    assert [told(notices) for notices in both] == [expected, expected]
