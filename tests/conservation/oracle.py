"""Compares what was received with what was sent, by rules of its own.

Repeats. A batch may come again only whole, under its number, with the same events, and only where a worker was killed
(or ended on waking up from a pause) while the batch was in flight, or had arrived at most ``RECORDED_WITHIN_S`` before: the
time in which a finished batch may be unrecorded, plus ``MEASURED_WITHIN_S`` by which the watching itself is late. Events
that come one by one over a stream are in flight until the stream is over. What a worker that is woken up had in flight when it
was paused may still leave it until it has ended, after its new owner has sent it.
While the broker is away nothing can be recorded at all, so there the time counts from the broker's end, and a worker that
is stopped in good order cannot record either. That bounds the
repeats of each kill by ``max_in_flight`` batches of each lane that was active, and the batches of that last moment.
"""

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from typing import Any

import msgspec

from pipeline.model.attempt import decode_parked
from pipeline.model.batch import decode_batch, parse_batch_id
from tests.conservation.arrivals import POLL_S, Arrival
from tests.conservation.integrations import Matcher, ending_of
from tests.conservation.journal import Journal

RECORDED_WITHIN_S = 0.1
MEASURED_WITHIN_S = 0.15 + 2 * POLL_S
"""How late the record, the follower of the record and the signal may be on a machine that is busy."""
_SHOWN = 5
_HARD_ENDS = ("kill worker", "pause worker", "ended by itself")
_BROKER_SETTLES_S = 15.0


class Expectation:
    """What each integration must get."""

    def __init__(self, integrations: list[dict[str, Any]], sent: list[bytes]) -> None:
        self.integrations = integrations
        self.ids = [each["id"] for each in integrations]
        self.endings = [ending_of(each) for each in integrations]
        self.number_of: dict[str, int] = {}
        self._wanted = [array("B", bytes(len(sent))) for _ in integrations]
        self.matched = [0] * len(integrations)
        matcher = Matcher(integrations)
        for number, event in enumerate(sent):
            uuid, found = matcher.match(event)
            assert uuid not in self.number_of, f"the test itself sent {uuid} twice"
            self.number_of[uuid] = number
            for place in found:
                self._wanted[place][number] = 1
                self.matched[place] += 1

    def check(self, place: int, counts: Counter[str]) -> list[str]:
        """Compare the events (each with how often it came) with those that integration ``place`` must get."""
        problems = []
        wanted = self._wanted[place]
        foreign = [uuid for uuid in counts if uuid not in self.number_of or not wanted[self.number_of[uuid]]]
        lost = [uuid for uuid, number in self.number_of.items() if wanted[number] and uuid not in counts]
        twice = [uuid for uuid, count in counts.items() if count > 1]
        for what, uuids in (("lost", lost), ("foreign", foreign), ("under two numbers", twice)):
            if uuids:
                problems.append(f"{self.ids[place]}: {len(uuids)} events {what}, for example {uuids[:_SHOWN]}")
        return problems


class Findings:
    """The outcome: ``problems`` must be empty; the rest is for the report."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.delivered_events = 0
        self.batches = 0
        self.repeats = 0
        self.unexplained: Counter[str] = Counter()
        """Repeats that nothing accounts for, by integration and second; one of each is among the problems."""
        self.oldest_repeat_s = 0.0
        self.repeats_by_kill: Counter[str] = Counter()


def check_received(expectation: Expectation, arrivals: list[Arrival], journal: Journal) -> Findings:
    """Check the deliveries: every event once, under one number, repeats whole and explained."""
    findings = Findings()
    first_of: dict[str, Arrival] = {}
    last_s: dict[str, float] = {}
    repeats = _Repeats(journal, findings)
    taken = _Taken(expectation)
    for arrival in arrivals:
        seen = first_of.setdefault(arrival.batch, arrival)
        if seen is arrival:
            taken.add(*parse_batch_id(arrival.batch), arrival.uuids)
            findings.delivered_events += len(arrival.uuids)
        else:
            repeats.judge(arrival, seen, last_s[arrival.batch])
        last_s[arrival.batch] = arrival.at_s
    findings.batches = len(first_of)
    findings.problems += taken.problems("delivered")
    return findings


def check_parked(expectation: Expectation, values: list[bytes]) -> list[str]:
    """Check that the parked topic has exactly the events of the integrations that give up."""
    batches = {}
    for value in values:
        batch = decode_batch(decode_parked(value).batch)
        batches.setdefault(batch.id, batch)
    taken = _Taken(expectation)
    for batch in batches.values():
        uuids = [msgspec.json.decode(event)["uuid"] for event in batch.run().events()]
        taken.add(batch.lane, batch.first, batch.end, uuids)
    return [f"parked: {problem}" for problem in taken.problems("parked")]


def check_ledger(expectation: Expectation, ledger: dict[str, Any]) -> list[str]:
    """Check every account against what was sent."""
    problems = [] if ledger["balanced"] else ["the ledger does not balance"]
    accounts = {each["integration"]: each for each in ledger["integrations"]}
    for place, name in enumerate(expectation.ids):
        matched = expectation.matched[place]
        wanted = {
            "matched": matched,
            "open": 0,
            "waiting": 0,
            "delivered": 0,
            "parked": 0,
            "discarded": 0,
            "missing": 0,
        }
        wanted[expectation.endings[place]] = matched
        account = accounts.get(name, dict.fromkeys(wanted, 0))
        found = {key: account[key] for key in wanted}
        if found != wanted:
            problems.append(f"ledger of {name}: {found}, expected {wanted}")
    return problems


def check_dead_letters(poison: list[bytes], letters: list[Any]) -> list[str]:
    """Check that each poisoned record is there, once for its place in the source topic."""
    by_origin: dict[tuple[bytes, ...], bytes] = {}
    for letter in letters:
        headers = dict(letter.headers)
        by_origin[headers["topic"], headers["partition"], headers["offset"]] = letter.value
    wanted, found = Counter(poison), Counter(by_origin.values())
    if wanted == found:
        return []
    return [f"dead letters: {(wanted - found).total()} lost, {(found - wanted).total()} foreign, of {len(poison)}"]


class _Taken:
    """Batches that came to one end, each once: their events and their ranges of numbers."""

    def __init__(self, expectation: Expectation) -> None:
        self._expectation = expectation
        self._events: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._ranges: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._problems: list[str] = []

    def add(self, lane: str, first: int, end: int, uuids: list[str]) -> None:
        if len(uuids) != end - first:
            self._problems.append(f"{lane}:{first}-{end} holds {len(uuids)} events")
        self._ranges[lane].append((first, end))
        self._events[lane.partition("~")[0]].update(uuids)

    def problems(self, ending: str) -> list[str]:
        """Compare with what should have come to this end."""
        found = list(self._problems)
        for place, name in enumerate(self._expectation.ids):
            counts = self._events.pop(name, Counter())
            if self._expectation.endings[place] == ending:
                found += self._expectation.check(place, counts)
            elif counts:
                found.append(f"{name}: {len(counts)} events were {ending}, and none should")
        found += [f"there is no integration {name}" for name in self._events]
        for lane, ranges in self._ranges.items():
            found += _holes_and_overlaps(lane, ranges)
        return found


def _holes_and_overlaps(lane: str, ranges: list[tuple[int, int]]) -> list[str]:
    problems, expected = [], 0
    for first, end in sorted(ranges):
        if first != expected:
            problems.append(
                f"lane {lane}: {'events missing' if first > expected else 'batches overlap'} at {lane}:{first}-{end}, expected {expected}"
            )
        expected = max(expected, end)
    return problems[:_SHOWN]


class _Repeats:
    """Says of each repeat whether a kill accounts for it."""

    def __init__(self, journal: Journal, findings: Findings) -> None:
        self._journal = journal
        self._findings = findings
        absences = journal.broker_absences()
        self._hard = [
            entry
            for entry in journal.entries
            if entry.what in _HARD_ENDS
            or (entry.what == "stop worker" and any(from_s <= entry.at_s <= to_s for from_s, to_s in absences))
        ]
        self._hard_at_s = [entry.at_s for entry in self._hard]
        self._away = [(from_s, to_s + _BROKER_SETTLES_S) for from_s, to_s in absences]
        self._wakings = journal.wakings()

    def judge(self, arrival: Arrival, first: Arrival, last_s: float) -> None:
        """Look at a batch that came again, after it had come at ``last_s``."""
        findings = self._findings
        findings.repeats += 1
        if first.uuids != arrival.uuids:
            findings.problems.append(f"{arrival.batch} came again with other events")
        cause = self._find(last_s, arrival.at_s)
        if cause is None:
            lane, _, _ = parse_batch_id(arrival.batch)
            group = f"{lane.partition('~')[0]} at {last_s - self._journal.entries[0].at_s:.0f} s"
            if not findings.unexplained[group]:
                findings.problems.append(self._tell(arrival.batch, last_s, arrival.at_s))
            findings.unexplained[group] += 1
            return
        what, age_s = cause
        findings.repeats_by_kill[what] += 1
        findings.oldest_repeat_s = max(findings.oldest_repeat_s, age_s)

    def _find(self, first_s: float, again_s: float) -> tuple[str, float] | None:
        """What accounts for a batch that came at ``first_s`` and ``again_s``, and how long before it the first was."""
        place = bisect_right(self._hard_at_s, again_s)
        for entry in reversed(self._hard[:place]):
            if first_s > entry.at_s + MEASURED_WITHIN_S:
                continue
            unrecorded_since_s = entry.at_s
            for from_s, to_s in self._away:
                if from_s <= entry.at_s <= to_s:
                    unrecorded_since_s = min(unrecorded_since_s, from_s)
            if first_s >= unrecorded_since_s - RECORDED_WITHIN_S - MEASURED_WITHIN_S:
                return entry.what, unrecorded_since_s - first_s
        if any(from_s <= again_s <= to_s + MEASURED_WITHIN_S for from_s, to_s in self._wakings):
            return "resume worker", 0.0
        return None

    def _tell(self, batch: str, first_s: float, again_s: float) -> str:
        """A repeat that nothing accounts for, with what happened around it."""
        around = [
            f"{entry.what} {entry.whom} at {entry.at_s - first_s:+.2f} s"
            for entry in self._journal.entries
            if first_s - 5.0 < entry.at_s < again_s + 1.0
        ]
        return f"{batch} came again {again_s - first_s:.2f} s later without a reason; around it: {', '.join(around) or 'nothing'}"
