import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CodecError
from pipeline.windows.rows import (
    SourceKey,
    WindowKey,
    WindowRow,
    decode_source_row,
    decode_window_row,
    encode_source_row,
    encode_window_row,
    parse_key,
    source_key,
    window_key,
)


@given(lane=st.from_regex(r"[a-z0-9-]{1,64}(~[0-9]{1,4})?", fullmatch=True), slot=st.integers(0, 10**6))
def test_a_window_key_tells_its_lane_and_slot(lane: str, slot: int) -> None:
    assert parse_key(window_key(lane, slot)) == WindowKey(lane, slot)


@given(topic=st.from_regex(r"[a-zA-Z0-9._-]{1,80}", fullmatch=True), partition=st.integers(0, 10**4))
def test_a_source_key_tells_its_topic_and_partition(topic: str, partition: int) -> None:
    found = parse_key(source_key(topic, partition))
    assert isinstance(found, SourceKey)
    assert found == (topic, partition)


def test_a_row_is_read_as_it_was_written() -> None:
    row = decode_window_row(b"crm/2", encode_window_row(1000, 40, 2, 77, 1.5, b"12345678", b"{},{}"))
    assert row == WindowRow(1, 1000, 40, 2, 77, 1.5, b"12345678", b"{},{}")
    assert (row.row_first, row.row_end) == (1040, 1042)
    assert decode_source_row(b"@t/0", encode_source_row(2, 1, 99, 1_700_000_000_000, 7)).source_offset == 99


@pytest.mark.parametrize("key", [b"", b"crm", b"/3", b"crm/", b"crm/x", b"crm/-1", b"\xff/1"])
def test_a_foreign_key_is_an_error(key: bytes) -> None:
    with pytest.raises(CodecError, match="table windows"):
        parse_key(key)


@pytest.mark.parametrize("value", [b"", b"nonsense", msgspec.msgpack.encode([1, 2, 3]), msgspec.msgpack.encode({})])
def test_a_foreign_value_is_an_error_that_names_the_row(value: bytes) -> None:
    with pytest.raises(CodecError, match="crm/7"):
        decode_window_row(b"crm/7", value)
    with pytest.raises(CodecError, match="@t/7"):
        decode_source_row(b"@t/7", value)


def test_a_row_of_another_version_says_so() -> None:
    value = msgspec.msgpack.encode((9, 0, 0, 1, 5, 1.0, b"", b"{}"))
    with pytest.raises(CodecError, match="version 9"):
        decode_window_row(b"crm/0", value)


def test_a_row_whose_end_positions_do_not_fit_its_count_is_an_error() -> None:
    with pytest.raises(CodecError, match="3 events"):
        decode_window_row(b"crm/0", encode_window_row(0, 0, 3, 5, 1.0, b"1234", b"{}"))


def test_a_row_of_one_event_costs_little_more_than_the_event() -> None:
    event = b"x" * 377
    row = encode_window_row(5_000_000, 99, 1, 40_000_000, None, b"", event)
    tombstone_and_record_framing = len(window_key("customer-0042", 99)) + 2 * 9
    assert len(row) + len(window_key("customer-0042", 99)) + tombstone_and_record_framing <= 1.2 * len(event)
