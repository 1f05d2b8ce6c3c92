"""Points in time as people write and read them: in UTC."""

from datetime import UTC, datetime

from pipeline.model.units import parse_duration

NOW = "now"


def parse_time(text: str, now: float) -> float:
    """Read ``2026-11-22T10:00Z``, ``2026-11-22``, ``2h`` (so long before ``now``) or ``now`` as UNIX seconds.

    A time without a zone is UTC. Raises ``ValueError`` with what to write instead.
    """
    if text.strip() == NOW:
        return now
    try:
        return parse_fixed_time(text)
    except ValueError:
        pass
    try:
        return now - parse_duration(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time; write for example 2026-11-22T10:00Z, 2026-11-22, or 2h for two hours ago"
        ) from None


def parse_fixed_time(text: str) -> float:
    """Read ``2026-11-22T10:00Z`` or ``2026-11-22`` as UNIX seconds, a time without a zone as UTC.

    Raises ``ValueError`` with what to write instead.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; write for example 2026-11-22T10:00Z or 2026-11-22") from None


def format_time(at: float) -> str:
    """UNIX seconds as ``2026-11-22T10:00:00Z``, with milliseconds where there are any."""
    milliseconds = round(at * 1000)
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rest = milliseconds % 1000
    return f"{moment}.{rest:03d}Z" if rest else f"{moment}Z"


def format_hour(hour: int) -> str:
    """An hour (UNIX seconds / 3600) as ``2026-11-22 10:00``, in UTC."""
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%d %H:00")
