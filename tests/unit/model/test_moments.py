import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.moments import format_hour, format_time, parse_fixed_time, parse_time

NOW = 1_795_341_600.0  # 2026-11-22 10:00 UTC


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T10:00Z", NOW),
        ("2026-11-22T10:00", NOW),
        ("2026-11-22T11:00+01:00", NOW),
        ("2026-11-22 10:00:00.250Z", NOW + 0.25),
        ("2026-11-22", NOW - 10 * 3600),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, at: float):
    assert parse_fixed_time(text) == parse_time(text, 0.0) == at


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("90m", 5400), ("250ms", 0.25), ("now", 0)])
def test_a_duration_is_so_long_ago(text: str, seconds: float):
    assert parse_time(text, NOW) == NOW - seconds


@pytest.mark.parametrize("text", ["", "yesterday", "10:00", "2h ago", "2026-13-01", "7"])
def test_what_is_no_time_is_refused_with_what_to_write(text: str):
    with pytest.raises(ValueError, match="2026-11-22T10:00Z"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["2h", "now"])
def test_a_fixed_time_depends_on_no_clock(text: str):
    with pytest.raises(ValueError, match="2026-11-22T10:00Z"):
        parse_fixed_time(text)


@given(st.integers(0, 4_000_000_000_000))
def test_what_is_written_is_read_back_to_the_millisecond(milliseconds: int):
    assert parse_fixed_time(format_time(milliseconds / 1000)) == milliseconds / 1000


def test_an_hour_is_shown_by_its_beginning():
    assert format_hour(int(NOW // 3600)) == "2026-11-22 10:00"
