"""What an operator should look at first: figures of the whole flow in, a list of plain sentences out, the worst first.

Pure rules: whoever gathers the figures passes them in, and what is not known (``None``) is never taken for fine or for bad.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.delivery.pending import PARKED_KEPT_S
from pipeline.notices.notice import Cause
from pipeline.view.columns import Row

DAY_S: Final = 86_400.0
HOUR_S: Final = 3600.0
LAG_IS_LONG_S: Final = 30.0
"""Events that wait so long before they are matched are worth a word."""
RETENTION_SHARE: Final = 0.5
"""Of the time that Kafka keeps the source's records: a lag beyond this part of it is dangerous."""
PARKED_ENDS_WITHIN_S: Final = DAY_S
TOLD_TO_WAIT: Final = "told to wait"
"""The state of a lane whose endpoint asked to be left alone for long."""
MOST_NAMED: Final = 10
"""Integrations that have a line of their own; the rest are counted."""


class Level(enum.StrEnum):
    """How bad it is; the first is the worst."""

    CRITICAL = "critical"  # events are not delivered, or may be lost
    WARNING = "warning"  # it becomes bad if nobody looks


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing to look at: what, where, since when (UNIX seconds), how many events or records it is about.

    ``path`` and ``parameters`` lead to the rows behind it.
    """

    level: Level
    what: str
    where: str
    since: float | None
    count: int | None
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signs:
    """The figures that are looked at.

    ``totals`` is the row of source ``ledger-totals``, ``held`` are rows of source ``gates``, ``workers`` of source ``workers``;
    ``missing`` are partitions that nobody answers for, and ``silent`` the workers that said nothing. ``parked_lately`` is how
    many batches were parked in the last hour, ``dead_letters`` how many there were in the last day and the newest one's time.
    ``notices`` are rows of source ``notices``, of the last day. ``source_retention_s`` is how long Kafka keeps source
    records; ``None`` for good, or where that is not known.
    """

    now_s: float
    totals: Row | None = None
    held: Sequence[Row] = ()
    held_count: int = 0
    workers: Sequence[Row] = ()
    missing: Sequence[int] = ()
    silent: Sequence[str] = ()
    parked_lately: int = 0
    dead_letters: int = 0
    dead_letter_at: float | None = None
    notices: Sequence[Row] = ()
    source_retention_s: float | None = None
    extra: Sequence[Attention] = field(default=())


def needs_attention(signs: Signs) -> list[Attention]:
    """Everything that is wrong, the worst first, and of equals what has lasted longest."""
    found = [
        *_of_workers(signs),
        *_of_ledger(signs),
        *_of_held(signs),
        *_of_lag(signs),
        *_of_parked(signs),
        *_of_dead_letters(signs),
        *_of_notices(signs),
        *signs.extra,
    ]
    levels = tuple(Level)
    return sorted(found, key=lambda each: (levels.index(each.level), each.since if each.since is not None else 0.0))


def summary(found: Sequence[Attention], *, is_complete: bool) -> str:
    """One sentence for the top of the page."""
    critical = sum(each.level is Level.CRITICAL for each in found)
    if not found:
        if not is_complete:
            return "Nothing is wrong in what answered, but not everything did."
        return "Nothing needs attention."
    parts = [
        f"{count} {word}" for count, word in ((critical, "critical"), (len(found) - critical, "to watch")) if count
    ]
    return f"{' and '.join(parts)}: {found[0].what[:1].lower()}{found[0].what[1:]} ({found[0].where})."


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 event``, ``2,000 events``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _of_workers(signs: Signs) -> Iterable[Attention]:
    if signs.missing:
        numbers = ", ".join(map(str, signs.missing[:20])) + (" ..." if len(signs.missing) > 20 else "")  # noqa: PLR2004 a line
        yield Attention(
            Level.CRITICAL,
            f"Nobody answers for {counted(len(signs.missing), 'partition')}: what they hold is missing from all figures here",
            f"partition{'s' if len(signs.missing) > 1 else ''} {numbers}",
            None,
            len(signs.missing),
            "/workers",
        )
    for worker in signs.silent:
        yield Attention(Level.CRITICAL, "A worker does not answer", worker, None, None, "/workers")
    for row in signs.workers:
        if row["state"] not in {None, "ok"}:
            yield Attention(
                Level.WARNING, f"A worker is not ready: {row['state']}", row["worker"], None, None, "/workers",
                {"worker": row["worker"]},
            )  # fmt: skip


def _of_ledger(signs: Signs) -> Iterable[Attention]:
    totals = signs.totals
    if totals is not None and totals["missing"] and not signs.missing:
        count = totals["missing"]
        what = (
            f"The ledger does not balance: {counted(count, 'matched event')} cannot be found"
            if count > 0
            else f"The ledger does not balance: {counted(-count, 'event')} more came out than went in"
        )
        yield Attention(
            Level.CRITICAL, what, "all integrations", None, abs(count), "/integrations", {"missing__not": "0"}
        )


def _of_held(signs: Signs) -> Iterable[Attention]:
    words = {
        "gone": "The endpoint said that it is gone, and is not tried any more",
        TOLD_TO_WAIT: "The endpoint asked to be left alone for long (Retry-After)",
    }
    named = signs.held[:MOST_NAMED]
    for row in named:
        what = words.get(row["state"], "The breaker is open: every try failed")
        if row["failures"] and row["state"] not in words:
            what = f"The breaker is open: {counted(row['failures'], 'try', 'tries')} failed one after the other"
        waiting = row["waiting"] or 0
        what += f"; {counted(waiting, 'event')} wait{'s' if waiting == 1 else ''}" if waiting else ""
        level = Level.WARNING if row["state"] == TOLD_TO_WAIT else Level.CRITICAL
        yield Attention(level, what, row["integration"], row["since"], waiting, f"/integrations/{row['integration']}")
    more = max(signs.held_count, len(signs.held)) - len(named)
    if more > 0:
        yield Attention(
            Level.CRITICAL,
            f"{counted(more, 'more lane is', 'more lanes are')} held back by a breaker, or by an endpoint that is gone or asked for a pause",
            "integrations",
            None,
            more,
            "/integrations",
            {"state__in": "gone,breaker open", "sort": "-waiting"},
        )


def _of_lag(signs: Signs) -> Iterable[Attention]:
    lags = [row for row in signs.workers if row["lag_s"] is not None]
    if not lags:
        return
    longest = max(lags, key=lambda row: float(row["lag_s"]))
    lag_s, lag = float(longest["lag_s"]), sum(row["lag"] or 0 for row in lags)
    since = signs.now_s - lag_s
    retention_s = signs.source_retention_s
    if retention_s is not None and lag_s > RETENTION_SHARE * retention_s:
        yield Attention(
            Level.CRITICAL,
            f"The oldest source record waits for {duration(lag_s)}, and Kafka keeps records for {duration(retention_s)}: "
            "events will be lost",
            longest["worker"], since, lag, "/workers",
        )  # fmt: skip
    elif lag_s > LAG_IS_LONG_S:
        arriving = sum(row["arriving_s"] or 0.0 for row in lags)
        taken = sum(row["events_s"] or 0.0 for row in lags)
        grows = arriving > taken
        what = f"Lag of {counted(lag, 'event')}, the oldest for {duration(lag_s)}"
        rates = f"{arriving:,.0f} a second arrive, {taken:,.0f} are taken"
        yield Attention(
            Level.CRITICAL if grows and lag_s > 10 * LAG_IS_LONG_S else Level.WARNING,
            f"{what}; it {'grows' if grows else 'shrinks'}: {rates}",
            longest["worker"], since, lag, "/workers",
        )  # fmt: skip


def _of_parked(signs: Signs) -> Iterable[Attention]:
    if signs.parked_lately:
        yield Attention(
            Level.WARNING,
            f"{counted(signs.parked_lately, 'batch', 'batches')} gave up in the last hour and can be replayed",
            "parked", signs.now_s - HOUR_S, signs.parked_lately, "/parked", {"since": "1h"},
        )  # fmt: skip
    oldest = None if signs.totals is None else signs.totals["oldest_parked_at"]
    if oldest is not None and signs.totals is not None:
        left_s = oldest + PARKED_KEPT_S - signs.now_s
        if left_s < PARKED_ENDS_WITHIN_S:
            yield Attention(
                Level.CRITICAL,
                f"Parked batches can be replayed for {duration(max(0.0, left_s))} more: Kafka keeps them for {duration(PARKED_KEPT_S)}",
                "parked", oldest, signs.totals["parked"], "/parked", {"sort": "parked_at"},
            )  # fmt: skip


def _of_dead_letters(signs: Signs) -> Iterable[Attention]:
    if signs.dead_letters:
        yield Attention(
            Level.WARNING,
            f"{counted(signs.dead_letters, 'source record')} could not be used in the last 24 hours",
            "dead letters", signs.dead_letter_at, signs.dead_letters, "/dead-letters", {"since": "24h"},
        )  # fmt: skip


def _of_notices(signs: Signs) -> Iterable[Attention]:
    told: dict[tuple[str, str], float] = {}
    for row in signs.notices:
        key = (row["cause"], row["integration"] or "")
        told[key] = min(told.get(key, row["at"]), row["at"])
    for (cause, integration), at in sorted(told.items())[: 2 * MOST_NAMED]:
        if cause == Cause.CREDENTIALS_REFUSED:
            yield Attention(
                Level.CRITICAL, "The endpoint refuses the credentials", integration, at, None, "/attempts",
                {"integration": integration, "status__in": "401,403"},
            )  # fmt: skip
        elif cause == Cause.WAITING_LONG:
            yield Attention(
                Level.WARNING, "Batches will soon have waited too long, and are parked then", integration, at, None, "/batches",
                {"integration": integration, "outcome__in": "waiting,retrying", "sort": "sealed_at"},
            )  # fmt: skip
        elif cause == Cause.SOURCE_RECREATED:
            yield Attention(
                Level.CRITICAL, "The source topic was made again, and a worker stopped", "source", at, None, "/notices",
                {"cause": cause},
            )  # fmt: skip


WATCHED_CAUSES: Final = (Cause.CREDENTIALS_REFUSED, Cause.WAITING_LONG, Cause.SOURCE_RECREATED)
"""Notices that are worth a line of their own; what others tell of is seen in the figures."""


def duration(seconds: float) -> str:
    """A duration in the two units that count: ``3 d 4 h``, ``12 min``, ``8 s``."""
    whole = round(seconds)
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:  # noqa: PLR2004 two units
            break
    return " ".join(parts) or "0 s"


def as_row(each: Attention) -> dict[str, Any]:
    """For tables and machines; the URL is the page's matter."""
    return {"level": each.level.value, "what": each.what, "where": each.where, "since": each.since, "count": each.count}
