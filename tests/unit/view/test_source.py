"""What the pieces of a source's answer say: lanes, decoded rows, sentences, offsets, signatures between workers."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.view.key_history import Judge
from agents.view.sources.offsets import Look, standing_of
from agents.view.sources.workers import spans_of
from pipeline.errors import SignInError
from pipeline.view.columns import Column, Kind
from pipeline.view.decoded import decode_record, decode_table_row, key_bytes, key_text, read_key
from pipeline.view.lane_rows import LaneState, add_rows, figures_of, lane_row
from pipeline.view.peer_signature import (
    NONCE_HEADER,
    SIGNATURE_HEADER,
    WINDOW_S,
    RequestCheck,
    derive_key,
    is_answer_of_a_peer,
    sign_answer,
    sign_request,
)
from pipeline.view.query import Operator, Query
from pipeline.view.sentence import sentence
from pipeline.windows.lane import LaneView
from pipeline.windows.rows import encode_window_row, window_key

NOW = 1_700_000_000.0
HERE = "http://127.0.0.1:6066"

# signatures


def signed(now: float = NOW, key: bytes = b"key", audience: str = HERE, path: str = "/-/rows", body: bytes = b"{}"):
    return sign_request(key, audience, path, body, now)


def test_a_signed_request_is_admitted():
    check = RequestCheck(b"key", HERE)
    assert check.admit(headers := signed(), "/-/rows", b"{}", NOW) == headers[NONCE_HEADER]


def test_a_request_is_admitted_once():
    check, headers = RequestCheck(b"key", HERE), signed()
    check.admit(headers, "/-/rows", b"{}", NOW)
    with pytest.raises(SignInError, match="seen before"):
        check.admit(headers, "/-/rows", b"{}", NOW + 1)


@pytest.mark.parametrize(
    ("headers", "path", "body"),
    [
        (signed(key=b"other"), "/-/rows", b"{}"),
        (signed(audience="http://127.0.0.1:6067"), "/-/rows", b"{}"),
        (signed(), "/-/integrations/lead", b"{}"),
        (signed(), "/-/rows", b"[]"),
        ({}, "/-/rows", b"{}"),
        ({**signed(), SIGNATURE_HEADER: "é"}, "/-/rows", b"{}"),
    ],
    ids=["another key", "another worker", "another path", "another body", "no signature", "no hexadecimal"],
)
def test_what_was_not_signed_so_is_refused(headers, path, body):
    with pytest.raises(SignInError):
        RequestCheck(b"key", HERE).admit(headers, path, body, NOW)


@pytest.mark.parametrize("off_s", [-WINDOW_S - 2, WINDOW_S + 2])
def test_a_request_counts_near_its_time_only(off_s: float):
    with pytest.raises(SignInError, match="clocks"):
        RequestCheck(b"key", HERE).admit(signed(NOW + off_s), "/-/rows", b"{}", NOW)


def test_a_request_cannot_be_repeated_for_as_long_as_it_counts():
    check, headers = RequestCheck(b"key", HERE), signed(NOW + WINDOW_S)
    check.admit(headers, "/-/rows", b"{}", NOW)
    with pytest.raises(SignInError):
        check.admit(headers, "/-/rows", b"{}", NOW + 2 * WINDOW_S)


def test_all_workers_derive_the_same_key_whatever_the_order_of_the_secrets():
    assert derive_key("app", ["a", "b"]) == derive_key("app", ["b", "a"])


def test_the_key_depends_on_the_app_and_each_secret():
    keys = {derive_key("app", ["a"]), derive_key("other", ["a"]), derive_key("app", ["b"]), derive_key("app", [])}
    assert len(keys) == 4


def test_an_answer_shows_that_its_sender_knows_the_key():
    assert is_answer_of_a_peer(b"key", "nonce", sign_answer(b"key", "nonce"))
    assert not is_answer_of_a_peer(b"key", "nonce", sign_answer(b"other", "nonce"))


# lanes


def lane(first: int, end: int, opened_at: float | None = NOW) -> dict:
    [figures] = figures_of(3, [LaneView("crm", first, end, 10, opened_at)], [("http", [])])
    return lane_row(figures, None)


def test_what_is_sealed_and_not_yet_known_to_the_delivery_waits():
    row = lane(40, 50)
    assert (row["matched"], row["open"], row["waiting"], row["missing"]) == (50, 10, 40, 0)


def test_two_lanes_of_an_integration_add_up():
    row = add_rows(lane(40, 50, NOW), lane(0, 5, NOW - 60))
    assert (row["matched"], row["open"], row["waiting"]) == (55, 15, 40)
    assert row["opened_at"] == NOW - 60


@pytest.mark.parametrize("other", list(LaneState))
def test_the_worst_state_of_several_lanes_counts(other: LaneState):
    row = add_rows({**lane(0, 1), "state": "ok"}, {**lane(0, 1), "state": other.value})
    assert row["state"] == other.value


# decoded rows


def test_a_window_row_is_decoded_with_its_events():
    value = encode_window_row(10, 0, 1, 5, NOW, b"", b'{"event_name":"x"}')
    decoded = decode_table_row("windows", window_key("crm", 0), value, frozenset(), sections={}, with_events=True)
    assert (decoded.lane, decoded.integration) == ("crm", "crm")
    assert decoded.value["shown"] == [{"event_name": "x"}]


@pytest.mark.parametrize("table", ["windows", "pending-http", "integrations", "another"])
@given(key=st.binary(min_size=1), value=st.none() | st.binary())
def test_any_row_can_be_shown(table: str, key: bytes, value: bytes | None):
    decoded = decode_table_row(table, key, value, frozenset(), sections={}, with_events=True)
    assert decoded.kind
    assert read_key(table, key).kind


@pytest.mark.parametrize("kind", ["source", "routed", "batches", "parked", "attempts", "notices", "dead-letters"])
@given(value=st.none() | st.binary())
def test_any_record_can_be_shown(kind: str, value: bytes | None):
    assert decode_record(kind, value, frozenset()).kind


@given(st.binary(min_size=1))
def test_a_key_as_it_is_shown_leads_back_to_it(key: bytes):
    assert key_bytes(key_text(key)) == key


@pytest.mark.parametrize("text", ["0xZZ", "0x0", "0x\u0660\u0660"])
def test_a_text_that_is_no_key_says_what_one_is(text):
    with pytest.raises(ValueError, match="two hexadecimal digits"):
        key_bytes(text)


def test_settings_of_an_unknown_kind_show_no_values():
    value = b'{"id":"x","settings":{"kind":"fax","pin":"1234"},"revision":1,"changed_at":1.0,"changed_by":"ada","version":1}'
    decoded = decode_table_row("integrations", b"i/x", value, frozenset(), sections={})
    assert decoded.value["settings"] == {"kind": "fax"}


@pytest.mark.parametrize("value", [b'{"authorization":"Bearer hush","version":99}', b"Bearer hush"])
def test_what_cannot_be_read_of_an_integration_is_not_shown(value: bytes):
    decoded = decode_table_row("integrations", b"i/x", value, frozenset(), sections={})

    assert (decoded.kind, decoded.value) == ("unknown", None)
    assert "hush" not in decoded.problem


# who counts


class Written:
    def __init__(self, key: bytes, value: bytes = b"", claim: bytes | None = None) -> None:
        self.key, self.value = key, value
        self.headers = [("claim", claim)] if claim else []


FIRST, SECOND = b"\0\0\0\1aaaa", b"\0\0\0\2bbbb"


def judged(*records: Written) -> list[bool]:
    judge = Judge()
    return [judge.counts(record) for record in records]


def test_a_row_under_the_newest_claim_counts():
    assert judged(Written(b"\0claim", FIRST, FIRST), Written(b"k", claim=FIRST)) == [True, True]


def test_a_row_of_a_former_owner_after_the_claim_does_not_count():
    assert judged(
        Written(b"\0claim", FIRST, FIRST), Written(b"\0claim", SECOND, SECOND), Written(b"k", claim=FIRST)
    ) == [True, True, False]


def test_read_from_the_middle_whoever_writes_counts():
    assert judged(Written(b"k", claim=SECOND), Written(b"k", claim=FIRST)) == [True, False]


# offsets


def test_lag_in_time_is_since_the_end_passed_the_oldest_record_that_waits():
    looks = deque([Look(NOW, 100, 100), Look(NOW + 2, 150, 100), Look(NOW + 4, 200, 120)])
    standing = standing_of(looks)
    assert (standing.lag, standing.lag_s) == (80, 2.0)


def test_without_lag_there_is_none_in_time():
    assert standing_of(deque([Look(NOW, 5, 5)])).lag_s == 0.0


def test_rates_are_over_the_last_seconds():
    looks = deque(Look(NOW + 2 * number, 100 * number, 50 * number) for number in range(20))
    standing = standing_of(looks)
    assert (standing.arriving_s, standing.committed_s) == (50.0, 25.0)


def test_nothing_is_said_of_what_was_never_committed():
    standing = standing_of(deque([Look(NOW, 5, None)]))
    assert (standing.lag, standing.lag_s, standing.committed_s) == (None, None, None)


def test_numbers_are_told_as_spans():
    assert spans_of([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


# sentences

COLUMNS = (Column("platform", "Platform"), Column("at", "Time", Kind.TIME), Column("status", "Status", Kind.INTEGER))


def test_a_heading_says_what_is_shown_and_how():
    query = Query(sort="at", is_descending=True).where("platform", "Email")
    said = sentence("attempts", query, COLUMNS, matching=147, shown=50)
    assert said == "50 of 147 attempts where platform is Email, sorted by time, the newest first"


def test_a_heading_of_nothing_says_so():
    said = sentence("attempts", Query(sort="at").where("status", 499, Operator.GREATER), COLUMNS, matching=0, shown=0)
    assert said == "No attempts where status is above 499"
