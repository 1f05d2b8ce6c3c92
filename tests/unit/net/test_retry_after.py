from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.net.retry_after import LONGEST_RETRY_AFTER_S, retry_after_s

NOW_S = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()


@given(st.integers(min_value=0, max_value=86_400))
def test_seconds_are_taken_as_they_are(seconds: int) -> None:
    assert retry_after_s(str(seconds), now_s=NOW_S) == seconds


@given(st.integers(min_value=0, max_value=86_400))
def test_a_date_is_the_distance_to_it(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW_S + seconds, UTC), usegmt=True)
    assert retry_after_s(date, now_s=NOW_S) == seconds


@pytest.mark.parametrize(
    "date", ["Sun, 01 Mar 2026 12:00:30 GMT", "Sunday, 01-Mar-26 12:00:30 GMT", "Sun Mar  1 12:00:30 2026"]
)
def test_all_three_spellings_of_a_date_are_read(date: str) -> None:
    assert retry_after_s(date, now_s=NOW_S) == 30


def test_a_date_that_has_passed_asks_for_no_pause() -> None:
    assert retry_after_s("Sun, 01 Mar 2020 12:00:00 GMT", now_s=NOW_S) == 0


@pytest.mark.parametrize("value", ["86401", "9" * 5000, "Sun, 01 Mar 2099 12:00:00 GMT"])
def test_a_pause_is_at_most_a_day(value: str) -> None:
    assert retry_after_s(value, now_s=NOW_S) == LONGEST_RETRY_AFTER_S


def test_leading_zeros_and_blanks_do_no_harm() -> None:
    assert retry_after_s("  000000000000007 ", now_s=NOW_S) == 7


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-1", "1.5", "1e3", "٣", "²", "+5", "inf", "nan", "0x10", "1 2", "Mon"]
)
def test_anything_else_is_ignored(value: str | None) -> None:
    assert retry_after_s(value, now_s=NOW_S) is None


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d{1,3}:\d{1,3} ([A-Z]{3}|[+-]\d{1,6})")
)
def test_no_text_at_all_breaks_it(value: str) -> None:
    found = retry_after_s(value, now_s=NOW_S)
    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER_S
