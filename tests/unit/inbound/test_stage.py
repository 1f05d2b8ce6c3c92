"""What the inbound stage does, case by case; the random stories are in ``test_stage_model``."""

import msgspec
import pytest

from pipeline.errors import CodecError
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest
from pipeline.inbound.rows import COUNTS, KEYS, PROGRESS_KEY, decode_counts, decode_subject, key_row, subject_key
from pipeline.inbound.stage import KEY_KEPT_S, InboundStage, InboundWrites
from pipeline.inbound.tail import TailEvent

NOW_S = 1_700_000_000.0


class Partition:
    """A stage with its table."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.marks = {"orders": 1}
        self.subjects = {"orders", "leads", "segment:APP"}
        self.offset = -1
        self.stage = self.opened()

    def opened(self) -> InboundStage:
        return InboundStage(
            self.table.get,
            lambda first: iter(sorted(row for row in self.table.items() if row[0] >= first)),
            is_subject=self.subjects.__contains__,
            secret_mark=lambda webhook: self.marks.get(webhook, 0),
        )

    def receive(self, *requests: InboundRequest) -> InboundWrites:
        for request in requests:
            self.offset += 1
            self.stage.apply(self.offset, request)
        return self.write()

    def write(self) -> InboundWrites:
        writes = self.stage.take()
        for group in writes.groups:
            for key, value in group:
                if value is None:
                    self.table.pop(key, None)
                else:
                    self.table[key] = value
        self.stage.stored(writes)
        return writes


def request(outcome: Outcome = Outcome.ACCEPTED, *keys: str, at_s: float = NOW_S, **more) -> InboundRequest:
    events = [
        InboundEvent(key=key, uuid=f"uuid of {key}", event=msgspec.Raw(b'{"uuid":"uuid of %b"}' % key.encode()))
        for key in keys
    ]
    given = {"source": "webhook", "webhook_id": "orders", "request_id": "r", **more}
    return InboundRequest(at_s=at_s, outcome=outcome, status=outcome.status, events=events, **given)


@pytest.fixture
def partition() -> Partition:
    return Partition()


def test_an_event_goes_out_under_its_users_key(partition):
    writes = partition.receive(request(Outcome.ACCEPTED, "a", user_key="jane"))
    assert writes.events == [(b"jane", b'{"uuid":"uuid of a"}')]


def test_a_repetition_is_counted_as_such_and_fires_nothing(partition):
    partition.receive(request(Outcome.ACCEPTED, "a"))
    writes = partition.receive(request(Outcome.ACCEPTED, "a"))
    assert writes.events == []
    (key,) = [key for key in partition.table if key.startswith(COUNTS)]
    row = decode_counts(partition.table[key])
    assert (row.requests, row.events, row.repeated_events) == ({"accepted": 1, "duplicate": 1}, 1, 1)


def test_a_repetition_is_known_before_the_first_is_stored(partition):
    writes = partition.receive(request(Outcome.ACCEPTED, "a"), request(Outcome.ACCEPTED, "a"))
    assert len(writes.events) == 1


def test_a_segment_call_that_was_cut_differently_takes_what_is_new(partition):
    call = {"source": "segment", "webhook_id": "", "application": "APP"}
    partition.receive(request(Outcome.ACCEPTED, "a", "b", **call))
    writes = partition.receive(request(Outcome.ACCEPTED, "b", "c", **call))
    assert [value for _, value in writes.events] == [b'{"uuid":"uuid of c"}']
    assert writes.figures.events == {("segment", "taken"): 1, ("segment", "repeated"): 1, ("segment", "disregarded"): 0}
    assert partition.stage.tally.totals("segment:APP").succeeded == 2


def test_strangers_share_one_row(partition):
    partition.receive(*(request(Outcome.UNKNOWN_WEBHOOK, webhook_id=f"w{number}") for number in range(100)))
    assert [key for key in partition.table if key.startswith(b"s/")] == [subject_key("?")]
    assert decode_subject(partition.table[subject_key("?")]).received == 100


def rejected(count: int, **more) -> list[InboundRequest]:
    return [request(Outcome.AUTH_REJECTED, **more) for _ in range(count)]


def test_the_fifth_wrong_secret_in_a_row_is_told_and_no_other(partition):
    assert partition.receive(*rejected(4)).rejected == []
    (run,) = partition.receive(*rejected(1)).rejected
    assert (run.webhook_id, run.requests) == ("orders", 5)
    assert partition.receive(*rejected(20)).rejected == []


def test_it_is_told_again_after_a_request_that_was_taken(partition):
    partition.receive(*rejected(5))
    assert partition.receive(request(Outcome.ACCEPTED, "a")).mended == ["orders"]
    assert len(partition.receive(*rejected(5)).rejected) == 1


def test_another_secret_begins_a_new_run(partition):
    partition.receive(*rejected(5))
    partition.marks["orders"] = 2
    assert partition.receive(*rejected(4)).rejected == []
    assert len(partition.receive(*rejected(1)).rejected) == 1


def test_a_request_with_the_right_secret_ends_a_run_though_its_user_is_unknown(partition):
    writes = partition.receive(*rejected(4), request(Outcome.USER_NOT_FOUND), *rejected(4))
    assert writes.rejected == []


def test_a_request_whose_secret_nobody_looked_at_neither_ends_nor_lengthens_a_run(partition):
    assert partition.receive(*rejected(4), request(Outcome.BUSY), request(Outcome.METHOD_NOT_ALLOWED)).rejected == []
    assert len(partition.receive(*rejected(1)).rejected) == 1


def test_a_run_goes_on_after_a_restart_and_is_told_once(partition):
    partition.receive(*rejected(3))
    partition.stage = partition.opened()
    assert len(partition.receive(*rejected(2)).rejected) == 1
    partition.stage = partition.opened()
    assert partition.receive(*rejected(5)).rejected == []


def test_the_row_of_an_event_that_waits_in_the_tail_does_not_hide_it(partition):
    """The offset in the row stays before an event that was written for a request that has not come again yet."""
    stage = partition.stage
    stage.take_up([TailEvent("uuid of a", NOW_S, 0)], 1)
    partition.receive(request(Outcome.USER_NOT_FOUND))
    assert partition.opened().output_offset == 0
    assert partition.receive(request(Outcome.ACCEPTED, "a")).events == []
    assert partition.opened().output_offset == 1


def test_events_of_others_are_noticed_by_the_offsets_of_the_own_ones(partition):
    stage = partition.stage
    stage.take_up([], 10)
    stage.acknowledged(11, 2)
    assert stage.take_unread() == []
    stage.acknowledged(17, 2)
    assert stage.take_unread() == [range(12, 16)]
    assert stage.take_unread() == []


def test_a_topic_of_requests_that_was_made_again_is_followed_anew(partition):
    partition.receive(*(request(Outcome.ACCEPTED, f"{number}") for number in range(5)))
    partition.offset = -1
    writes = partition.receive(request(Outcome.ACCEPTED, "new", at_s=NOW_S + 60))
    assert len(writes.events) == 1
    assert writes.figures.restarts == 1


def test_a_request_that_is_read_again_is_skipped(partition):
    partition.receive(request(Outcome.ACCEPTED, "a"), request(Outcome.USER_NOT_FOUND))
    partition.offset = -1
    writes = partition.receive(request(Outcome.ACCEPTED, "a"), request(Outcome.USER_NOT_FOUND))
    assert (writes.events, writes.groups, writes.figures.skipped) == ([], [], 2)


def test_a_key_is_kept_while_requests_of_its_day_may_still_come(partition):
    partition.receive(request(Outcome.ACCEPTED, "a"))
    partition.stage.sweep(NOW_S + 2 * KEY_KEPT_S, 100)
    partition.write()
    assert key_row("a") in partition.table
    partition.receive(request(Outcome.USER_NOT_FOUND, at_s=NOW_S + 2 * KEY_KEPT_S))
    partition.stage.sweep(NOW_S + 2 * KEY_KEPT_S, 100)
    partition.write()
    assert not [key for key in partition.table if key.startswith(KEYS)]


def test_a_webhook_that_is_gone_for_a_day_leaves_no_row(partition):
    partition.receive(request(webhook_id="leads"))
    partition.subjects.remove("leads")
    partition.receive(request(at_s=NOW_S + 2 * KEY_KEPT_S))
    partition.stage.sweep(NOW_S + 2 * KEY_KEPT_S, 100)
    partition.write()
    assert subject_key("leads") not in partition.table
    assert subject_key("orders") in partition.table


def test_memory_does_not_grow_with_keys(partition):
    for number in range(1000):
        partition.receive(request(Outcome.ACCEPTED, f"{number}", at_s=NOW_S + 60 * number))
    assert partition.stage.unstored_keys == 0
    assert len(partition.stage.tally._slots) == 1


def test_a_row_of_a_newer_version_says_what_to_do(partition):
    partition.table[PROGRESS_KEY] = msgspec.msgpack.encode((9, 1, 1.0, 1))
    with pytest.raises(CodecError, match="start the version of distributary that wrote it"):
        partition.opened()
