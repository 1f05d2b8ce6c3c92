"""The pause that an endpoint asks for with ``Retry-After``."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_S = 86_400.0
_MAX_DIGITS = 9


def retry_after_s(value: str | None, *, now_s: float, longest_s: float = LONGEST_RETRY_AFTER_S) -> float | None:
    """Seconds to wait from ``now_s`` (UNIX seconds) on, at most ``longest_s``; ``None`` where ``value`` says nothing.

    ``value`` is the header as it came: a number of seconds, or a date in any of HTTP's three spellings. A date that has
    passed means no pause. Anything else is ignored, as if the header were not there.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), longest_s) if len(text.lstrip("0")) <= _MAX_DIGITS else longest_s
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)  # a date without a zone, and HTTP's dates are in GMT
        distance_s = (moment - datetime.fromtimestamp(now_s, UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(distance_s, 0.0), longest_s)
