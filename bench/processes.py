"""Processes that a benchmark starts, and what they and the broker use: CPU seconds and resident memory."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.1
END_S = 20.0


@contextlib.contextmanager
def running(
    module: str, *arguments: str, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m MODULE ARGUMENTS`` for the length of a block, its output in ``log``; SIGTERM ends it, else SIGKILL."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that may have ended already."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class _Sample(NamedTuple):
    at_s: float
    cpu_s: float
    resident_bytes: int


class Usage:
    """Samples groups of processes, by name, for the length of a block."""

    def __init__(self, **groups: Sequence[int]) -> None:
        self._processes = {name: [psutil.Process(pid) for pid in pids] for name, pids in groups.items()}
        self._samples: dict[str, list[_Sample]] = {name: [] for name in groups}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            for name, processes in self._processes.items():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    times = [process.cpu_times() for process in processes]
                    resident_bytes = max((process.memory_info().rss for process in processes), default=0)
                    cpu_s = sum(each.user + each.system for each in times)
                    self._samples[name].append(_Sample(time.time(), cpu_s, resident_bytes))

    def cpu_s(self, name: str, start_s: float, end_s: float) -> float:
        """CPU seconds of all of ``name`` between two moments (UNIX seconds)."""
        return self._cpu_at(name, end_s) - self._cpu_at(name, start_s)

    def _cpu_at(self, name: str, at_s: float) -> float:
        samples = self._samples[name]
        if not samples:
            return float("nan")
        before = [sample for sample in samples if sample.at_s <= at_s] or samples[:1]
        after = [sample for sample in samples if sample.at_s > at_s] or samples[-1:]
        left, right = before[-1], after[0]
        if right.at_s <= left.at_s:
            return left.cpu_s
        share = min(1.0, max(0.0, (at_s - left.at_s) / (right.at_s - left.at_s)))
        return left.cpu_s + share * (right.cpu_s - left.cpu_s)

    def peak_bytes(self, name: str) -> int:
        """The most that one process of ``name`` had in memory."""
        return max((sample.resident_bytes for sample in self._samples[name]), default=0)

    def resident(self, name: str) -> list[tuple[float, int]]:
        """Moment and resident bytes of every sample."""
        return [(sample.at_s, sample.resident_bytes) for sample in self._samples[name]]
