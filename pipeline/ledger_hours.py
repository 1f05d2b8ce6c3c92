"""The ledger by hour: an event belongs to the hour in which its window was opened.

Hours are UNIX seconds / 3600. The hours' figures are counted beside those of the whole, so that the two can be compared:
what the hours leave of the whole is older than they reach, and must be all done.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from pipeline.delivery.pending import HOUR_S
from pipeline.delivery.rows import BatchRow, HourRow, RowKind, decode_row, parse_key
from pipeline.ledger import Account, Ledger, Rows
from pipeline.model.batch import integration_of
from pipeline.model.moments import format_hour
from pipeline.model.ranges import count_of
from pipeline.windows.restore import read_rows


@dataclass(slots=True)
class Figures:
    """Events, by what became of them."""

    matched: int = 0
    open: int = 0
    waiting: int = 0
    delivered: int = 0
    parked: int = 0
    discarded: int = 0

    @classmethod
    def of(cls, account: Account) -> Self:
        """Those of a whole account."""
        return cls(*(getattr(account, each.name) for each in fields(cls)))

    def add(self, other: "Figures", sign: int = 1) -> None:
        """Add ``other``; take it away where ``sign`` is -1."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + sign * getattr(other, each.name))

    @property
    def is_plausible(self) -> bool:
        """Whether none is below nothing, and all that matched has its place."""
        places = self.open + self.waiting + self.delivered + self.parked + self.discarded
        return self.matched == places and min(asdict(self).values()) >= 0

    @property
    def is_nothing(self) -> bool:
        """Whether there are no events at all."""
        return not any(asdict(self).values())


@dataclass(slots=True)
class HourlyAccount:
    """One integration's events by hour, ascending.

    ``on_the_way`` are sealed and not yet known to the delivery stage: their hour is not either. ``older`` is what remains
    of the whole. ``problems`` says where the hours do not fit the whole.
    """

    integration: str
    hours: dict[int, Figures]
    on_the_way: Figures
    older: Figures
    problems: list[str] = field(default_factory=list)

    def since(self, first_hour: int) -> "HourlyAccount":
        """The same with hours before ``first_hour`` counted as older."""
        older = Figures()
        older.add(self.older)
        shown = {}
        for hour, figures in self.hours.items():
            if hour < first_hour:
                older.add(figures)
            else:
                shown[hour] = figures
        return HourlyAccount(self.integration, shown, self.on_the_way, older, self.problems)

    def as_json(self) -> dict[str, Any]:
        """For machines; hours in UNIX seconds of their beginning."""
        return {
            "hours": [{"at": hour * HOUR_S, **asdict(figures)} for hour, figures in self.hours.items()],
            "on_the_way": asdict(self.on_the_way),
            "older": asdict(self.older),
            "problems": self.problems,
        }


def read_hours(ledger: Ledger, windows: Rows, pending: Iterable[Rows]) -> list[HourlyAccount]:
    """Count the rows of which ``ledger`` was read by hour, for each of its accounts.

    Raises ``CodecError`` or ``SequenceGapError`` where rows cannot be read.
    """
    hours: dict[str, dict[int, Figures]] = {account.integration: {} for account in ledger.accounts}
    waiting: dict[str, Counter[int]] = {account.integration: Counter() for account in ledger.accounts}
    for table in pending:
        for rows in table.values():
            _count_pending(rows, hours, waiting)
    for rows in windows.values():
        for name, lane in read_rows(rows).lanes.items():
            if lane.next > lane.first and integration_of(name) in hours:
                figures = hours[integration_of(name)].setdefault(int(lane.opened_at // HOUR_S), Figures())
                figures.matched += lane.next - lane.first
                figures.open += lane.next - lane.first
    return [
        _account(each, dict(sorted(hours[each.integration].items())), waiting[each.integration])
        for each in ledger.accounts
    ]


def _count_pending(
    rows: Iterable[tuple[bytes, bytes]], hours: dict[str, dict[int, Figures]], waiting: dict[str, Counter[int]]
) -> None:
    for key, value in rows:
        lane, kind, number = parse_key(key)
        integration = integration_of(lane)
        if integration not in hours:
            continue
        if kind is RowKind.HOUR:
            row = decode_row(HourRow, key, value)
            done = row.delivered + row.parked + row.discarded
            counted = Figures(row.registered, 0, row.registered - done, row.delivered, row.parked, row.discarded)
            hours[integration].setdefault(number, Figures()).add(counted)
        elif kind is RowKind.BATCH:
            batch = decode_row(BatchRow, key, value)
            waiting[integration][batch.hour] += count_of(batch.rest or ((number, batch.end),))


def _account(account: Account, hours: dict[int, Figures], waiting: Counter[int]) -> HourlyAccount:
    problems = [
        f"{hours[hour].waiting if hour in hours else 0} events of {format_hour(hour)} wait, and there are batches of {waiting[hour]}"
        for hour in sorted({*hours, *waiting})
        if (hours[hour].waiting if hour in hours else 0) != waiting[hour]
    ]
    on_the_way = Figures(matched=account.between, waiting=max(0, account.between))
    older = Figures.of(account)
    older.add(on_the_way, -1)
    for figures in hours.values():
        older.add(figures, -1)
    # A batch that is replayed after its hour was forgotten brings that hour back, with what it takes from there.
    for hour in [hour for hour, figures in hours.items() if not figures.is_plausible]:
        older.add(hours.pop(hour))
    if not older.is_plausible or older.open or older.waiting:
        problems.append(f"the hours leave {asdict(older)} of the whole, and what is older should be all done")
    return HourlyAccount(account.integration, hours, on_the_way, older, problems)
