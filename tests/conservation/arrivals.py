"""What the receiver has recorded, and when."""

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.model.placement import partition_of
from pipeline.receiver.record import ENDED

POLL_S = 0.02
BUSY_S = 4.0


class Arrival(NamedTuple):
    """One accepted delivery; ``at_s`` is monotonic and at most about ``POLL_S`` late."""

    at_s: float
    batch: str
    uuids: list[str]


class Arrivals(threading.Thread):
    """Follows the receiver's record file and notes when each line came."""

    def __init__(self, record: Path, partitions: int) -> None:
        super().__init__(name="arrivals", daemon=True)
        self._record = record
        self._stops = threading.Event()
        self._seen: set[bytes] = set()
        self._rest = b""
        self._times_s: list[float] = []
        self._new_times_s: list[float] = []
        self._new_times_of: list[list[float]] = [[] for _ in range(partitions)]

    def run(self) -> None:
        self._record.touch()
        with self._record.open("rb") as file:
            while not self._stops.wait(POLL_S):
                lines = (self._rest + file.read()).split(b"\n")
                now_s = time.monotonic()
                self._rest = lines.pop()
                for line in lines:
                    batch = line.partition(b"\t")[0]
                    self._times_s.append(now_s)
                    if batch != ENDED.encode() and batch not in self._seen:
                        self._seen.add(batch)
                        self._new_times_s.append(now_s)
                        lane = batch.partition(b":")[0].decode()
                        self._new_times_of[partition_of(lane, len(self._new_times_of))].append(now_s)

    def stop(self) -> None:
        self._stops.set()
        self.join(5.0)

    @property
    def batches(self) -> int:
        """How many different batches have come."""
        return len(self._new_times_s)

    @property
    def last_new_at_s(self) -> float:
        """When the last batch came that had not come before."""
        return self._new_times_s[-1] if self._new_times_s else 0.0

    def next_new_after(self, moment_s: float) -> float | None:
        """When the first batch came after ``moment_s`` that had not come before."""
        return _first_after(self._new_times_s, moment_s)

    def all_partitions_after(self, moment_s: float) -> float | None:
        """When the last of the partitions that had been busy before ``moment_s`` had delivered something new after it."""
        busy = [
            times_s for times_s in self._new_times_of if any(moment_s - BUSY_S < at_s < moment_s for at_s in times_s)
        ]
        firsts = [_first_after(times_s, moment_s) for times_s in busy]
        if not busy:
            return self.next_new_after(moment_s)
        return None if None in firsts else max(at_s for at_s in firsts if at_s is not None)

    def all(self) -> Iterator[Arrival]:
        """Every delivery, in the order of arrival, and every end of a stream: its ``batch`` is ``ENDED``, its ``uuids`` are ids."""
        with self._record.open("r", encoding="utf-8") as file:
            for at_s, line in zip(self._times_s, file, strict=True):
                batch, *uuids = line.rstrip("\n").split("\t")
                yield Arrival(at_s, batch, uuids)


def _first_after(times_s: list[float], moment_s: float) -> float | None:
    place = bisect_right(times_s, moment_s)
    return times_s[place] if place < len(times_s) else None
