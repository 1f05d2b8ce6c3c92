"""What a worker's parts tell, until somebody takes it."""

import json

import pytest

from pipeline.clock import ManualClock
from pipeline.errors import CodecError
from pipeline.notices.notice import Cause, Notice, decode_notice, encode_notice, webhook_body
from pipeline.notices.notices import Notices
from pipeline.notices.rule import PAUSE_S


@pytest.fixture
def clock():
    return ManualClock()


def test_what_is_told_can_be_taken_once(clock):
    notices = Notices(clock, make_id=lambda: "1")
    notices.tell(Cause.BATCHES_PARKED, "crm", "a batch was parked")
    assert notices.take() == [Notice("1", Cause.BATCHES_PARKED, clock.wall_s(), "a batch was parked", "crm")]
    assert notices.take() == []


def test_every_notice_has_an_id_of_its_own(clock):
    notices = Notices(clock)
    for number in range(50):
        notices.tell(Cause.BATCHES_PARKED, f"i{number}", "")
    assert len({notice.id for notice in notices.take()}) == 50


def test_what_was_held_back_is_there_when_its_time_has_come(clock):
    notices = Notices(clock)
    for _ in range(3):
        notices.tell(Cause.BATCHES_PARKED, "crm", "parked")
    assert len(notices.take()) == 1
    clock.move(PAUSE_S)
    (notice,) = notices.take()
    assert notice.suppressed == 1
    assert notice.at == clock.wall_s()


def test_where_nobody_takes_them_the_oldest_are_dropped_and_counted(clock):
    lost = []
    notices = Notices(clock, most_waiting=3, on_lost=lost.append)
    for number in range(5):
        notices.tell(Cause.BATCHES_PARKED, f"i{number}", "")
    assert [notice.integration for notice in notices.take()] == ["i2", "i3", "i4"]
    assert lost == [1, 1]


def test_what_is_told_is_counted_by_cause_and_what_is_held_back_is_not(clock):
    told = []
    notices = Notices(clock, on_told=told.append)
    notices.tell(Cause.ENDPOINT_GONE, "crm", "")
    notices.tell(Cause.ENDPOINT_GONE, "crm", "")
    assert told == [Cause.ENDPOINT_GONE]


def test_a_record_is_plain_json_and_comes_back_the_same():
    notice = Notice("7", Cause.SOURCE_RECREATED, 1.5, "offsets start again")
    value = encode_notice(notice)
    assert json.loads(value) == {"id": "7", "cause": "source_recreated", "at": 1.5, "detail": "offsets start again"}
    assert decode_notice(value) == notice


def test_a_record_of_something_else_is_said_to_be_none():
    with pytest.raises(CodecError, match="is no notice"):
        decode_notice(b'{"id": 7}')


def test_the_webhook_is_told_which_deployment_it_is_and_one_line_for_people():
    notice = Notice("7", Cause.BREAKER_OPENED, 1.5, "lane crm: 500", "crm", suppressed=4)
    assert json.loads(webhook_body(notice, "events-eu")) == {
        "id": "7",
        "app": "events-eu",
        "cause": "breaker_opened",
        "at": 1.5,
        "text": "events-eu: crm: endpoint fails, nothing is sent for a while: lane crm: 500 (and 4 times more before)",
        "detail": "lane crm: 500",
        "integration": "crm",
        "suppressed": 4,
    }


@pytest.mark.parametrize(
    ("suppressed", "more"), [(0, "d"), (1, "d (and once more before)"), (2, "d (and 2 times more before)")]
)
def test_the_line_for_people_says_how_many_were_held_back(suppressed, more):
    assert Notice("1", Cause.BATCHES_PARKED, 0.0, "d", "crm", suppressed).text == f"crm: batches were parked: {more}"


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words(cause):
    assert Notice("1", cause, 0.0, "detail").text.endswith(": detail")
