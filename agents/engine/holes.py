"""Offsets that are missing between what was read and what comes next.

A hole may be a mistake of a position that was moved meanwhile, so it is believed only when it is found again. What of it lies
before the beginning of the log was removed there, by retention or by hand; what lies behind is where transactions ended or
compaction took records, and nothing that anybody was to read.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from faust.types.tuples import TP


class Hole(NamedTuple):
    """``start`` was to be read next, and ``end`` is the offset of the record that came instead."""

    start: int
    end: int

    def removed(self, log_start: int) -> int:
        """How many of its offsets lie before the beginning of the log."""
        return max(0, min(self.end, log_start) - self.start)


class Holes:
    """The holes that were found once, and where the logs of these partitions begin, where that was asked."""

    def __init__(self) -> None:
        self._suspected: dict[TP, Hole] = {}
        self._log_starts: dict[TP, int] = {}

    def believe(self, tp: TP, hole: Hole) -> bool:
        """Whether ``hole`` was found before; otherwise it is from now on."""
        if self._suspected.get(tp) == hole:
            return True
        self._suspected[tp] = hole
        self._log_starts.pop(tp, None)
        return False

    def unasked(self, partitions: Iterable[TP]) -> list[TP]:
        """Those of ``partitions`` that have a hole, and the beginning of whose log is not known yet."""
        return [tp for tp in partitions if tp in self._suspected and tp not in self._log_starts]

    def begin_at(self, log_starts: Mapping[TP, int]) -> None:
        """Note where logs begin."""
        self._log_starts.update(log_starts)

    def removed(self, tp: TP) -> int | None:
        """How many records of the hole were removed; ``None`` where it was not asked where the log begins."""
        log_start = self._log_starts.get(tp)
        return None if log_start is None else self._suspected[tp].removed(log_start)

    def forget(self, tp: TP) -> None:
        """Let go of a hole that was passed, or whose partition leaves."""
        self._suspected.pop(tp, None)
        self._log_starts.pop(tp, None)
