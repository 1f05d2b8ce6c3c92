"""Sources ``webhooks`` and ``segment_calls``: what came in, by webhook and by application, with the counts of table ``inbound``."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agents.inbound.stage import SubjectCounts
from agents.view.sources.ledger import names_of
from pipeline.clock import Clock
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.rows import SLOT_S, STRANGERS, CountsRow, SubjectRow, segment_subject
from pipeline.inbound.settings import IDENTIFY_LABELS
from pipeline.integrations.snapshot import Snapshot, WebhookEntry
from pipeline.model.placement import partition_of
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

HOURS: Final = 24
HOUR_S: Final = 3600
NOTHING: Final = SubjectCounts(SubjectRow(), {})


class Counting(Protocol):
    """Where the counts come from: ``agents.inbound.stage.Inbound``."""

    def counts(self, subjects: Sequence[str] | None = None, *, has_slots: bool = True) -> dict[str, SubjectCounts]:
        """What came on the partitions of this worker, by subject."""
        ...

    def has_restored(self, partition: int) -> bool:
        """Whether the partition's counts can be asked for."""
        ...


@dataclass(frozen=True, slots=True)
class InboundState:
    """What these sources read of the worker that they run in. ``owned`` gives its partitions, ``partition_count`` how many there are."""

    counting: Counting
    snapshot: Callable[[], Snapshot]
    owned: Callable[[], frozenset[int]]
    partition_count: Callable[[], int]
    clock: Clock
    applications: Sequence[str]

    def partitions(self) -> frozenset[int]:
        """Those whose counts are here."""
        return frozenset(partition for partition in self.owned() if self.counting.has_restored(partition))


class WebhooksSource:
    """All webhooks in force."""

    name = "webhooks"
    columns: Columns = (
        Column("name", "Name", Kind.TEXT, "What people call it.", link="/webhooks/{webhook}"),
        Column("event", "Event", Kind.TEXT, "The event that a request fires."),
        Column("status", "Status", Kind.STATE, "enabled or disabled."),
        Column("received", "Received", Kind.INTEGER, "Requests in all."),
        Column("changed_at", "Last updated", Kind.TIME, "When its settings were changed last; none for those of faust.yml."),
        Column("trend", "24 h", Kind.PICTURE, "Requests by the hour.", is_sortable=False),
        Column("failed", "Failed, 24 h", Kind.INTEGER, "Requests of the last 24 hours that fired nothing.", link="/webhooks/{webhook}?result=failed"),
        Column("last_at", "Last request", Kind.TIME, "When the newest request came.", is_wide=True),
        Column("hits", "Hits, 24 h", Kind.INTEGER, "Requests of the last 24 hours.", is_wide=True),
        Column("success", "Success, 24 h", Kind.INTEGER, "Those of them that were accepted: they fired the event, or repeated one that had.", is_wide=True),
        Column("rejected", "Rejected in a row", Kind.INTEGER, "The newest requests that were all Auth rejected.", is_wide=True),
        Column("outcomes", "Outcomes, 24 h", Kind.JSON, "Requests of the last 24 hours by outcome.", is_sortable=False, is_wide=True),
        Column("webhook", "Id", Kind.CODE, "Its id, which stands in its URL.", link="/webhooks/{webhook}", is_wide=True),
        Column("identified_by", "Identifies by", Kind.STATE, "User ID, Email, Phone or HWID.", is_wide=True),
        Column("field", "Payload field", Kind.CODE, "Where the payload has the identifier.", is_wide=True),
        Column("attributes", "Attributes", Kind.INTEGER, "How many event attributes it fills.", is_wide=True),
        Column("application", "Application", Kind.CODE, "Whose users are meant.", is_wide=True),
        Column("origin", "Origin", Kind.STATE, "file: from faust.yml, read-only; stored: made here.", is_wide=True),
        Column("changed_by", "By", Kind.TEXT, "Who changed it last.", is_wide=True),
        Column("revision", "Revision", Kind.INTEGER, "That of its last change; none for those of faust.yml.", is_wide=True),
    )  # fmt: skip
    key = "webhook"
    sort = "name"
    is_descending = False

    def __init__(self, state: InboundState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those whose counts are here."""
        return self._state.partitions()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find webhooks."""
        return answer_of(self._rows(query), query, self.columns, masks)

    def _rows(self, query: Query) -> Iterable[Row]:
        here, count = self.partitions(), self._state.partition_count()
        wanted = names_of(query, self.key)
        entries = {
            name: entry
            for name, entry in self._state.snapshot().webhooks.items()
            if (wanted is None or name in wanted) and partition_of(name, count) in here
        }
        counts = self._state.counting.counts([*entries])
        now_s = self._state.clock.wall_s()
        return (webhook_row(entry, counts.get(name, NOTHING), now_s) for name, entry in entries.items())


def webhook_row(entry: WebhookEntry, counts: SubjectCounts, now_s: float) -> Row:
    """A webhook, and what came in for it."""
    settings, stored = entry.settings, entry.stored if entry.origin == "stored" else None
    total, outcomes = counts.total, _summed(row.requests for row in counts.slots.values())
    hits = sum(outcomes.values())
    success = sum(count for outcome, count in outcomes.items() if Outcome(outcome).is_success)
    return {
        "name": settings.name,
        "event": settings.event,
        "status": "enabled" if settings.enabled else "disabled",
        "received": total.received,
        "changed_at": None if stored is None else stored.changed_at,
        "trend": by_hour(counts.slots, now_s),
        "failed": hits - success,
        "last_at": total.last_at_s or None,
        "hits": hits,
        "success": success,
        "rejected": total.rejected_in_a_row,
        "outcomes": dict(outcomes) or None,
        "webhook": settings.id,
        "identified_by": IDENTIFY_LABELS[settings.identify.by],
        "field": settings.identify.field,
        "attributes": len(settings.attributes),
        "application": settings.application,
        "origin": entry.origin,
        "changed_by": None if stored is None else stored.changed_by,
        "revision": None if stored is None else stored.revision,
    }


class SegmentCallsSource:
    """What Segment sent, an application a row. Users of one application are in many partitions, so workers have parts of a row."""

    name = "segment_calls"
    columns: Columns = (
        Column("application", "Application", Kind.CODE, "The code in X-PW-Appcode; ? for what is of no application here."),
        Column("received", "Calls", Kind.INTEGER, "Calls in all."),
        Column("calls", "Calls, 24 h", Kind.INTEGER, "Calls of the last 24 hours."),
        Column("failed", "Refused, 24 h", Kind.INTEGER, "Those of them that were not taken.", link="/webhooks/requests?source=segment&result=failed&application={application}"),
        Column("events", "Events, 24 h", Kind.INTEGER, "Events that were taken."),
        Column("repeated", "Repeated, 24 h", Kind.INTEGER, "Events that had come before, so that they were not fired again."),
        Column("disregarded", "Disregarded, 24 h", Kind.INTEGER, "Events that could not be taken."),
        Column("trend", "24 h", Kind.PICTURE, "Calls by the hour.", is_sortable=False),
        Column("last_at", "Last call", Kind.TIME, "When the newest call came."),
        Column("outcomes", "Outcomes, 24 h", Kind.JSON, "Calls by outcome.", is_sortable=False, is_wide=True),
        Column("reasons", "Because, 24 h", Kind.JSON, "Disregarded events by reason.", is_sortable=False, is_wide=True),
        Column("all_events", "Events", Kind.INTEGER, "Events in all.", is_wide=True),
    )  # fmt: skip
    key = "application"
    sort = "application"
    is_descending = False
    combined = frozenset(column.name for column in columns) - {"application"}

    def __init__(self, state: InboundState) -> None:
        self._state = state

    def partitions(self) -> frozenset[int]:
        """Those whose counts are here."""
        return self._state.partitions()

    def combine(self, one: Row, other: Row) -> Row:
        """Two workers' parts of one application."""
        row = dict(one)
        for name in ("received", "calls", "failed", "events", "repeated", "disregarded", "all_events"):
            row[name] = one[name] + other[name]
        for name in ("outcomes", "reasons"):
            row[name] = dict(_summed(part for part in (one[name], other[name]) if part)) or None
        row["trend"] = [left + right for left, right in zip(one["trend"], other["trend"], strict=True)]
        row["last_at"] = max(one["last_at"] or 0.0, other["last_at"] or 0.0) or None
        return row

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """This worker's part."""
        return answer_of(self._rows(), query, self.columns, masks)

    def _rows(self) -> Iterable[Row]:
        subjects = {segment_subject(name): name for name in (*self._state.applications, STRANGERS)}
        counts, now_s = self._state.counting.counts([*subjects]), self._state.clock.wall_s()
        for subject, name in subjects.items():
            found = counts.get(subject, NOTHING)
            if name != STRANGERS or found.total.received:
                yield segment_row(name, found, now_s)


def segment_row(application: str, counts: SubjectCounts, now_s: float) -> Row:
    """What Segment sent for an application."""
    slots = counts.slots.values()
    outcomes = _summed(row.requests for row in slots)
    reasons = _summed(row.disregarded for row in slots)
    return {
        "application": application,
        "received": counts.total.received,
        "calls": sum(outcomes.values()),
        "failed": sum(count for outcome, count in outcomes.items() if not Outcome(outcome).is_success),
        "events": sum(row.events for row in slots),
        "repeated": sum(row.repeated_events for row in slots),
        "disregarded": sum(reasons.values()),
        "trend": by_hour(counts.slots, now_s),
        "last_at": counts.total.last_at_s or None,
        "outcomes": dict(outcomes) or None,
        "reasons": dict(reasons) or None,
        "all_events": counts.total.events,
    }


def first_hour(now_s: float) -> int:
    """The hour, counted from 1970, that the last 24 begin with."""
    return int(now_s // HOUR_S) - HOURS + 1


def by_hour(slots: Mapping[int, CountsRow], now_s: float) -> list[int]:
    """Requests in each of the last 24 hours, the oldest first."""
    hours, first = [0] * HOURS, first_hour(now_s)
    for number, row in slots.items():
        hour = number * SLOT_S // HOUR_S - first
        if 0 <= hour < HOURS:
            hours[hour] += sum(row.requests.values())
    return hours


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return found
