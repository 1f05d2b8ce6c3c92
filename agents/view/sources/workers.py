"""Source ``workers``: one row a worker, what it owns and how it is."""

import os
import resource
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from agents.view.sources.offsets import OffsetWatch
from agents.view.sources.state import WorkerState
from pipeline.view.columns import Column, Columns, Kind, Personal
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

_STATM: Final = Path("/proc/self/statm")
_SHORTEST_SHARE_S: Final = 1.0


class ProcessFigures:
    """What this process takes of the machine."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._used_s = 0.0
        self._share = 0.0

    def memory_bytes(self) -> int:
        """Memory that it holds; where the system does not say it, the most that it ever held."""
        try:
            return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return most if sys.platform == "darwin" else most * 1024

    def cpu_share(self, now_s: float) -> float:
        """How many processors it kept busy since this was asked last; ``now_s`` is monotonic."""
        if now_s - self._since_s >= _SHORTEST_SHARE_S:
            used = resource.getrusage(resource.RUSAGE_SELF)
            used_s = used.ru_utime + used.ru_stime
            self._share = (used_s - self._used_s) / (now_s - self._since_s)
            self._since_s, self._used_s = now_s, used_s
        return self._share


class WorkersSource:
    """Every worker about itself."""

    name = "workers"
    columns: Columns = (
        Column("worker", "Worker", Kind.CODE, "Where the other workers reach it.", link="/workers/{worker}"),
        Column("state", "State", Kind.STATE, "ok, or why its state does not count just now."),
        Column("version", "Version", Kind.CODE, "Of Distributary."),
        Column("started_at", "Started", Kind.TIME, "When its process began to work."),
        Column("uptime_s", "Up for", Kind.SECONDS, "Since it started."),
        Column("partitions", "Partitions", Kind.INTEGER, "Of the routed topic and of all tables."),
        Column("partition_list", "Which", Kind.TEXT, "Their numbers.", is_sortable=False),
        Column("arriving_s", "Arriving, events/s", Kind.NUMBER, "Source records that come in, over ten seconds."),
        Column("events_s", "Taken, events/s", Kind.NUMBER, "Source records that it has committed, over ten seconds."),
        Column("lag", "Lag", Kind.INTEGER, "Source records that it has not committed."),
        Column("lag_s", "Lag in time", Kind.SECONDS, "How long the oldest of them has been there."),
        Column("lanes", "Lanes", Kind.INTEGER, "Lanes whose state it has."),
        Column("memory_bytes", "Memory", Kind.BYTES, "Of its process."),
        Column("cpu", "Processors", Kind.NUMBER, "How many processors it keeps busy."),
        Column("uncommitted", "Uncommitted chunks", Kind.INTEGER, "Chunks that are being worked on.", is_wide=True),
        Column("commit_age_s", "Oldest of them", Kind.SECONDS, "How long the oldest has been worked on.", is_wide=True),
        Column("generation", "Assignment", Kind.INTEGER, "Which assignment of the group it works under.", is_wide=True),
        Column("process", "Process", Kind.INTEGER, "Its process id.", is_wide=True),
    )
    key = "worker"
    sort = "worker"
    is_descending = False

    def __init__(self, state: WorkerState, watch: OffsetWatch) -> None:
        self._state = state
        self._watch = watch
        self._version = version("distributary")
        self._started_at = state.clock.wall_s()
        self._process = ProcessFigures(state.clock.monotonic_s())

    def partitions(self) -> frozenset[int]:
        """Those that it owns."""
        return self._state.peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Tell of this worker."""
        state, owned = self._state, sorted(self.partitions())
        source = state.topology.source.get_topic_name()
        standings = [each for tp, each in self._watch.standings().items() if tp.topic == source]
        uncommitted = list(state.app.consumer.uncommitted())
        row = {
            "worker": state.peers.own_url,
            "state": state.peers.why_not_ready() or "ok",
            "version": self._version,
            "started_at": self._started_at,
            "uptime_s": state.clock.wall_s() - self._started_at,
            "partitions": len(owned),
            "partition_list": spans_of(owned),
            "arriving_s": _sum(each.arriving_s for each in standings),
            "events_s": _sum(each.committed_s for each in standings),
            "lag": _sum(each.lag for each in standings),
            "lag_s": max((each.lag_s for each in standings if each.lag_s is not None), default=None),
            "lanes": sum(len(core.pending_lanes(number)) for core in state.cores for number in owned),
            "memory_bytes": self._process.memory_bytes(),
            "cpu": round(self._process.cpu_share(state.clock.monotonic_s()), 3),
            "uncommitted": sum(chunks for _, chunks, _ in uncommitted),
            "commit_age_s": max((age_s for _, _, age_s in uncommitted), default=0.0),
            "generation": state.peers.generation,
            "process": os.getpid(),
        }
        return answer_of([row], query, self.columns, masks)


def spans_of(numbers: list[int]) -> str:
    """Ascending numbers in words: ``0-3, 7``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if known else None
