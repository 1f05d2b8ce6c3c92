"""What was done to the scene, and when: the oracle explains what it finds by it."""

import contextlib
import json
import time
from typing import NamedTuple

from agents.engine.lease import EXIT_STATUS as ASLEEP_STATUS

BROKER_UPSETS = ("kill broker", "stop broker", "stall broker")
BROKER_IS_BACK = "broker is back"
UPSETS = ("kill worker", "stop worker", "pause worker", *BROKER_UPSETS)


class Entry(NamedTuple):
    """Something that happened at ``at_s`` (monotonic)."""

    at_s: float
    what: str
    whom: str


class Journal:
    """Entries in the order of time; ``faults`` are what a run must not show."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.faults: list[str] = []
        self.stops_s: list[float] = []
        self.ends: list[str] = []

    def note(self, what: str, whom: str) -> None:
        self.entries.append(Entry(time.monotonic(), what, whom))

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def ended(self, whom: str, status: int | None, output: str) -> None:
        """Note that a worker ended by itself: only one that was paused may do that, or that started without a broker."""
        self.note("ended by itself", whom)
        reason = f"{whom} ended by itself with status {status}: {_last_words(output)}"
        self.ends.append(reason)
        was_paused = any(entry.whom == whom for entry in self.of("pause worker"))
        started_at_s = max(entry.at_s for entry in self.of("start") if entry.whom == whom)
        was_at_work = "worker ready" in output
        had_no_broker = not was_at_work and any(to_s > started_at_s for _, to_s in self.broker_absences())
        if not had_no_broker and not (was_paused and status == ASLEEP_STATUS):
            self.fault(reason)

    def broker_absences(self) -> list[tuple[float, float]]:
        """From when to when there was no broker that answers."""
        absences: list[tuple[float, float]] = []
        since_s: float | None = None
        for entry in self.entries:
            if entry.what in BROKER_UPSETS:
                since_s = entry.at_s if since_s is None else since_s
            elif entry.what == BROKER_IS_BACK and since_s is not None:
                absences.append((since_s, entry.at_s))
                since_s = None
        return absences if since_s is None else [*absences, (since_s, float("inf"))]

    def wakings(self) -> list[tuple[float, float]]:
        """From when to when a worker ran on that had been asleep for too long, until it ended."""
        found: list[tuple[float, float]] = []
        for resumed in self.of("resume worker"):
            later = (entry for entry in self.entries if entry.whom == resumed.whom and entry.at_s > resumed.at_s)
            first = next(later, None)
            if first is not None and first.what == "ended by itself":
                found.append((resumed.at_s, first.at_s))
        return found

    @property
    def last_upset_at_s(self) -> float:
        """When something was last done that stops deliveries."""
        return max((entry.at_s for entry in self.of(*UPSETS)), default=0.0)

    def count(self, what: str) -> int:
        return sum(entry.what == what for entry in self.entries)

    def of(self, *what: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.what in what]


def _last_words(output: str) -> str:
    said = ""
    for line in output.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                if record.get("level") in ("critical", "error"):
                    said = f"{record.get('logger')}: {record.get('event')} {record.get('error', '')}".strip()
        elif line.strip():
            said = line.strip()
    return said[:500]
