from pipeline.delivery.breaker import BreakerRow
from pipeline.delivery.rows import ROW_VERSION, BatchRow, LaneRow, RowKind, encode_row, lane_key, row_key
from pipeline.model.batch import Request, decode_batch
from pipeline.replay.held import belongs_to, held_lanes, resume_record

NOW_S = 1_700_000_000.0


def test_lanes_that_are_halted_or_whose_breaker_is_open_are_found_with_what_waits_in_them():
    breaker = BreakerRow(failures=14, opened_at=NOW_S)
    table = {
        lane_key("crm"): encode_row(LaneRow(ROW_VERSION, 40, halted_for="abc")),
        row_key("crm", RowKind.BATCH, 0): encode_row(BatchRow(ROW_VERSION, 10, 0, 1, 0, 0.0, NOW_S)),
        row_key("crm", RowKind.BATCH, 10): encode_row(
            BatchRow(ROW_VERSION, 40, 1, 1, 0, 0.0, NOW_S, ((10, 11), (38, 40)))
        ),
        lane_key("crm~backfill"): encode_row(LaneRow(ROW_VERSION, 0, breaker=breaker)),
        lane_key("crm~1"): encode_row(LaneRow(ROW_VERSION, 0)),
    }
    halted, broken = held_lanes({"http": {3: table.items()}}, now=NOW_S)
    assert (halted.lane, halted.partition, halted.waiting_batches, halted.waiting_events) == ("crm", 3, 2, 13)
    assert halted.why == "halted: the endpoint said that it is gone"
    assert (broken.lane, broken.waiting_batches) == ("crm~backfill", 0)
    assert broken.why == "breaker open since 2023-11-14T22:13:20Z, after 14 failures"
    assert halted.as_json()["halted"]
    assert not halted.as_json()["breaker_open"]


def test_a_lane_whose_next_try_is_far_off_is_held_back_and_one_that_is_about_to_be_tried_is_not():
    table = {
        **{lane_key(lane): encode_row(LaneRow(ROW_VERSION, 20)) for lane in ("crm", "crm~1")},
        row_key("crm", RowKind.BATCH, 0): encode_row(BatchRow(ROW_VERSION, 10, 0, 1, 1, NOW_S + 7_200, NOW_S)),
        row_key("crm", RowKind.BATCH, 10): encode_row(BatchRow(ROW_VERSION, 20, 1, 1, 0, 0.0, NOW_S)),
        row_key("crm~1", RowKind.BATCH, 0): encode_row(BatchRow(ROW_VERSION, 20, 2, 1, 1, NOW_S + 8, NOW_S)),
    }
    (held,) = held_lanes({"http": {3: table.items()}}, now=NOW_S)
    assert (held.lane, held.waiting_batches, held.is_halted, held.later_at) == ("crm", 2, False, NOW_S + 7_200)
    assert held.why == "waits until 2023-11-15T00:13:20Z for its next try, as the endpoint or `retry` asks"


def test_only_rows_of_the_integration_that_tell_of_lanes_and_batches_are_asked_for():
    keys = (b"crm", b"crm/0", b"crm~backfill/0", b"crm!0", b"crm@1", b"crm-2", b"mail/0")
    assert [belongs_to("crm", key) for key in keys] == [True, True, True, False, False, False, False]


def test_a_record_that_asks_to_resume_holds_no_events():
    asked = decode_batch(resume_record("crm~1", NOW_S))
    assert (asked.lane, asked.request, asked.event_count, asked.ends) == ("crm~1", Request.RESUME, 0, b"")
