"""The ledger: what became of every event that matched an integration.

``matched = open + waiting + delivered + parked + discarded``. Each term is counted on its own, from the rows of the tables
``windows`` and ``pending-*``, so the equation can fail, and says where events are missing if it does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.delivery.pending import PendingState
from pipeline.delivery.rows import Fate
from pipeline.model.batch import integration_of
from pipeline.windows.restore import read_rows

Rows = Mapping[int, Iterable[tuple[bytes, bytes]]]
"""Rows of a table by partition."""


@dataclass(slots=True)
class Account:
    """One integration's events.

    ``waiting`` are sealed and not done; ``between`` of them are sealed and not yet known to the delivery stage, which is
    what its own numbers leave open, and never less than nothing.
    """

    integration: str
    matched: int = 0
    open: int = 0
    waiting: int = 0
    delivered: int = 0
    parked: int = 0
    discarded: int = 0
    between: int = 0

    @property
    def missing(self) -> int:
        """Matched events that are nowhere; below 0: events that were counted twice."""
        return self.matched - self.open - self.waiting - self.delivered - self.parked - self.discarded

    @property
    def is_balanced(self) -> bool:
        """Whether every event has exactly one place."""
        return self.missing == 0 and self.between >= 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return self.open == 0 and self.waiting == 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """All accounts, by integration."""

    accounts: list[Account]

    @property
    def is_balanced(self) -> bool:
        """Whether all accounts are."""
        return all(account.is_balanced for account in self.accounts)

    def total(self) -> Account:
        """All accounts as one."""
        total = Account("total")
        for account in self.accounts:
            for name in ("matched", "open", "waiting", "delivered", "parked", "discarded", "between"):
                setattr(total, name, getattr(total, name) + getattr(account, name))
        return total

    def as_json(self) -> dict[str, Any]:
        """For machines: each account with what it lacks."""
        return {
            "balanced": self.is_balanced,
            "total": {**asdict(self.total()), "missing": self.total().missing},
            "integrations": [{**asdict(each), "missing": each.missing} for each in self.accounts],
        }


def read_ledger(windows: Rows, pending: Iterable[Rows]) -> Ledger:
    """Add up the rows of table ``windows`` and of each pending table.

    Raises ``CodecError`` or ``SequenceGapError`` where rows cannot be read.
    """
    accounts: dict[str, Account] = {}

    def account(lane: str) -> Account:
        integration = integration_of(lane)
        return accounts.setdefault(integration, Account(integration))

    sealed: dict[str, int] = {}
    for rows in windows.values():
        for name, lane in read_rows(rows).lanes.items():
            each = account(name)
            each.matched += lane.next
            each.open += lane.next - lane.first
            sealed[name] = lane.first
    registered: dict[str, int] = {}
    for table in pending:
        for rows in table.values():
            for name, waiting_lane in PendingState.restore(rows).lanes.items():
                each = account(name)
                each.waiting += sum(batch.events for batch in waiting_lane.waiting.values())
                each.delivered += waiting_lane.counts.events[Fate.DELIVERED]
                each.parked += waiting_lane.counts.events[Fate.PARKED]
                each.discarded += waiting_lane.counts.events[Fate.DISCARDED]
                registered[name] = registered.get(name, 0) + waiting_lane.registered
    for name, sealed_events in sealed.items():
        between = sealed_events - registered.get(name, 0)
        account(name).between += between
        account(name).waiting += max(0, between)
    return Ledger(sorted(accounts.values(), key=lambda each: each.integration))
