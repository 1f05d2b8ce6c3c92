import calendar
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.inbound.segment.rfc3339 import LAYOUT, TimestampError, read_rfc3339

# What Go 1.26's time.Time says to each, asked of it: the words that callers of the vendor's service know.
REFUSED_IN_GOS_WORDS = [
    ("bad", f'parsing time "bad" as "{LAYOUT}": cannot parse "bad" as "2006"'),
    ("", f'parsing time "" as "{LAYOUT}": cannot parse "" as "2006"'),
    ("2024-13-01T00:00:00Z", 'parsing time "2024-13-01T00:00:00Z": month out of range'),
    ("2024-02-30T00:00:00Z", 'parsing time "2024-02-30T00:00:00Z": day out of range'),
    ("2024-02-03", f'parsing time "2024-02-03" as "{LAYOUT}": cannot parse "" as "T"'),
    ("2024-02-03T01:02:03", f'parsing time "2024-02-03T01:02:03" as "{LAYOUT}": cannot parse "" as "Z07:00"'),
    (
        "2024-02-03T01:02:03,5+25:00",
        'parsing time "2024-02-03T01:02:03,5+25:00": time zone offset hour out of range',
    ),
    ("2024-02-03T01:02:03.5Zx", 'parsing time "2024-02-03T01:02:03.5Zx": extra text: "x"'),
    ('a"b', f'parsing time "a\\"b" as "{LAYOUT}": cannot parse "a\\"b" as "2006"'),
    ("é", f'parsing time "\\xc3\\xa9" as "{LAYOUT}": cannot parse "\\xc3\\xa9" as "2006"'),
    ("2024-02-03T24:02:03Z", 'parsing time "2024-02-03T24:02:03Z": hour out of range'),
    ("2024-02-03T23:60:03Z", 'parsing time "2024-02-03T23:60:03Z": minute out of range'),
    ("2024-02-03T23:02:60Z", 'parsing time "2024-02-03T23:02:60Z": second out of range'),
    ("2024-02-03 01:02:03Z", f'parsing time "2024-02-03 01:02:03Z" as "{LAYOUT}": cannot parse " 01:02:03Z" as "T"'),
    (
        "2024-02-03T01:02:03+0530",
        f'parsing time "2024-02-03T01:02:03+0530" as "{LAYOUT}": cannot parse "+0530" as "Z07:00"',
    ),
    (
        "2024-01-16T09:07:51+25:👋",
        'parsing time "2024-01-16T09:07:51+25:\\xf0\\x9f\\x91\\x8b": time zone offset hour out of range',
    ),
    (
        "2024-08-16T09:07:51é25:61",
        f'parsing time "2024-08-16T09:07:51\\xc3\\xa925:61" as "{LAYOUT}": cannot parse "\\xc3\\xa925:61" as "Z07:00"',
    ),
]

# Taken by Go, though RFC 3339 has none of them.
TAKEN_BEYOND_THE_RFC = [
    ("2024-02-03T1:02:03Z", 1706922123, 0),
    ("2024-02-03T01:02:03,5Z", 1706922123, 500_000_000),
    ("2024-02-03T01:02:03+24:00", 1706922123 - 86_400, 0),
    ("0000-02-29T00:00:00Z", -62_162_121_600, 0),
]

moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))  # noqa: DTZ001  the zone follows
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59)


@pytest.mark.parametrize(("text", "message"), REFUSED_IN_GOS_WORDS)
def test_what_is_no_timestamp_is_refused_in_the_vendors_words(text: str, message: str) -> None:
    with pytest.raises(TimestampError) as caught:
        read_rfc3339(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "seconds", "nanoseconds"), TAKEN_BEYOND_THE_RFC)
def test_what_the_vendor_takes_beyond_the_rfc_is_taken(text: str, seconds: int, nanoseconds: int) -> None:
    assert read_rfc3339(text) == (seconds, nanoseconds)


@given(moment=moments, offset_minutes=zones, digits=st.integers(0, 9))
@example(moment=datetime(2024, 2, 29, 23, 59, 59, 999_999), offset_minutes=-330, digits=9)  # noqa: DTZ001
def test_any_moment_is_read_back_from_any_zone_and_precision(
    moment: datetime, offset_minutes: int, digits: int
) -> None:
    zoned = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset_minutes)))
    fraction = f"{moment.microsecond:06d}000"[:digits]
    sign = "-" if offset_minutes < 0 else "+"
    zone = f"{sign}{abs(offset_minutes) // 60:02d}:{abs(offset_minutes) % 60:02d}" if offset_minutes else "Z"
    text = (
        zoned.strftime("%Y").zfill(4) + zoned.strftime("-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + zone
    )
    assert read_rfc3339(text) == (calendar.timegm(moment.timetuple()), int(fraction.ljust(9, "0")))


@given(st.text() | st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:.,Z+-]{0,16}\Z"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = 0 <= read_rfc3339(text).nanoseconds < 1_000_000_000
    except TimestampError as error:
        found = str(error).startswith('parsing time "')
    assert found


def test_the_same_moment_has_the_same_text_however_it_was_written() -> None:
    written = ("2024-08-16T09:07:51.5Z", "2024-08-16T09:07:51.500000Z", "2024-08-16T11:07:51.5+02:00")
    assert {read_rfc3339(text).text() for text in written} == {"1723799271.500000000"}


def test_a_long_text_is_not_sent_back_whole() -> None:
    with pytest.raises(TimestampError) as caught:
        read_rfc3339("x" * 100_000)
    assert len(str(caught.value)) < 1000
