"""Timestamps of RFC 3339, taken and refused as the vendor's service does it.

That service reads them with Go's ``time.Time``, which takes a little more than RFC 3339 (an hour of one digit, a comma before
the fraction, offsets of 24 hours), and whose messages callers see in the answer. So the same texts are taken, and the
messages are the same, character by character.
"""

import calendar
import re
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

LAYOUT: Final = "2006-01-02T15:04:05Z07:00"
"""RFC 3339 as Go writes it: the time of its reference in the place of each part."""

NOT_A_STRING: Final = "Time.UnmarshalJSON: input is not a JSON string"
"""What the vendor says to a timestamp that is a number, a boolean, an object or an array."""

_LONGEST_QUOTED: Final = 200
"""Bytes of a refused text that go into the answer; the vendor's service sends back all, however long."""

_USUAL: Final = re.compile(
    r"(\d{4}-(?:0[1-9]|1[0-2])-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_FRACTION: Final = re.compile(r"[.,](\d+)", re.ASCII)
_ZONE: Final = re.compile(r"(.)(..):(..)", re.DOTALL)
_NANOSECOND_DIGITS: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_CYCLE_YEARS: Final = 400
_CYCLE_DAYS: Final = 146_097
_DAY_S: Final = 86_400
_ZONE_CHARACTERS: Final = len("+07:00")
_MOST_ZONE_HOURS: Final = 24
_MOST_ZONE_MINUTES: Final = 60
_FIRST_BEYOND_ASCII: Final = "\x80"


class Moment(NamedTuple):
    """A point in time: whole UNIX seconds (negative before 1970) and nanoseconds beyond them."""

    seconds: int
    nanoseconds: int

    def text(self) -> str:
        """The same text for the same point in time, whatever zone or precision it was written with."""
        return f"{self.seconds}.{self.nanoseconds:09d}"


class TimestampError(ValueError):
    """A text that is no timestamp, in the vendor's words."""


def read_rfc3339(text: str) -> Moment:
    """Read ``2024-08-16T09:07:51.123Z``; raises ``TimestampError`` where the vendor's service refuses it."""
    usual = _USUAL.fullmatch(text)
    if usual is not None:
        try:
            whole = datetime.fromisoformat(usual[1] + usual[3])
            return Moment(int((whole - _EPOCH).total_seconds()), _nanoseconds(usual[2] or ""))
        except (ValueError, OverflowError):  # the 30th of February, the year 0
            pass
    return _Reading(text).moment()


class _Reading:
    """Reads part by part, so as to tell at which the vendor's service stops, and what it says there."""

    def __init__(self, text: str) -> None:
        # One character a byte, since the vendor's service counts, cuts and shows bytes.
        self._text = self._rest = text.encode("utf-8", "surrogatepass").decode("latin-1")

    def moment(self) -> Moment:
        year = self._year()
        self._literal("-")
        month = self._number("01", "month", 1, 12, digits=2)
        self._literal("-")
        day = self._number("02", "day", 0, 99, digits=2)
        self._literal("T")
        hour = self._number("15", "hour", 0, 23, digits=1)
        self._literal(":")
        minute = self._number("04", "minute", 0, 59, digits=2)
        self._literal(":")
        second = self._number("05", "second", 0, 59, digits=2)
        fraction = _FRACTION.match(self._rest)
        if fraction is not None:
            self._rest = self._rest[fraction.end() :]
        offset_s = self._zone()
        if self._rest:
            raise self._unacceptable(f"extra text: {_quoted(self._rest)}")
        if not 1 <= day <= calendar.monthrange(year or _CYCLE_YEARS, month)[1]:
            raise self._unacceptable("day out of range")
        # Go has a year 0, Python has not; the calendar repeats itself after 400 years.
        days = date(year, month, day).toordinal() if year else date(_CYCLE_YEARS, month, day).toordinal() - _CYCLE_DAYS
        seconds = (days - _EPOCH_DAY) * _DAY_S + hour * 3600 + minute * 60 + second - offset_s
        return Moment(seconds, _nanoseconds(fraction[1] if fraction else ""))

    def _year(self) -> int:
        digits = self._rest[:4]
        if re.fullmatch(r"\d{4}", digits, re.ASCII) is None:
            raise self._unreadable("2006")
        self._rest = self._rest[4:]
        return int(digits)

    def _literal(self, expected: str) -> None:
        if not self._rest.startswith(expected):
            raise self._unreadable(expected)
        self._rest = self._rest[1:]

    def _number(self, layout: str, name: str, least: int, most: int, *, digits: int) -> int:
        """A number of two digits, or of one where ``digits`` is 1."""
        found = re.match(r"\d{1,2}", self._rest, re.ASCII)
        if found is None or len(found[0]) < digits:
            raise self._unreadable(layout)
        self._rest = self._rest[found.end() :]
        value = int(found[0])
        if not least <= value <= most:
            raise self._unacceptable(f"{name} out of range")
        return value

    def _zone(self) -> int:
        """Seconds east of Greenwich."""
        if self._rest.startswith("Z"):
            self._rest = self._rest[1:]
            return 0
        zone = _ZONE.match(self._rest)
        if zone is None:
            raise self._unreadable("Z07:00")
        sign, hours, minutes = zone[1], _two_digits(zone[2]), _two_digits(zone[3])
        # The vendor's service looks at the ranges before it looks whether it could read the numbers.
        if minutes is not None and hours is not None and minutes > _MOST_ZONE_MINUTES:
            self._rest = self._rest[_ZONE_CHARACTERS:]
            raise self._unacceptable("time zone offset minute out of range")
        if hours is not None and hours > _MOST_ZONE_HOURS:
            self._rest = self._rest[_ZONE_CHARACTERS:]
            raise self._unacceptable("time zone offset hour out of range")
        if hours is None or minutes is None or sign not in "+-":
            raise self._unreadable("Z07:00")
        self._rest = self._rest[_ZONE_CHARACTERS:]
        offset_s = hours * 3600 + minutes * 60
        return offset_s if sign == "+" else -offset_s

    def _unreadable(self, layout: str) -> TimestampError:
        return TimestampError(
            f"parsing time {_quoted(self._text)} as {_quoted(LAYOUT)}: cannot parse {_quoted(self._rest)} as {_quoted(layout)}"
        )

    def _unacceptable(self, problem: str) -> TimestampError:
        return TimestampError(f"parsing time {_quoted(self._text)}: {problem}")


def _two_digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _nanoseconds(fraction: str) -> int:
    return int(fraction[:_NANOSECOND_DIGITS].ljust(_NANOSECOND_DIGITS, "0")) if fraction else 0


def _quoted(text: str) -> str:
    """``text``, one character a byte, as Go's package ``time`` quotes: what is not printable ASCII in hexadecimal digits."""
    pieces = ['"']
    for character in text[:_LONGEST_QUOTED]:
        if character in '"\\':
            pieces.append(f"\\{character}")
        elif " " <= character < _FIRST_BEYOND_ASCII:
            pieces.append(character)
        else:
            pieces.append(f"\\x{ord(character):02x}")
    if len(text) > _LONGEST_QUOTED:
        pieces.append("...")
    pieces.append('"')
    return "".join(pieces)
