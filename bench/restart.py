"""How long a worker with 10,000 open windows is away: killed, stopped in good order, or robbed of its data folder.

python -m bench.restart [--windows 10000] [--repeat 3]

One more integration gets events all the time; `next delivery` is the first batch of it that the new process delivers. After
a SIGKILL the broker notices the death when the session times out (6 s by default), which is part of the figure.
"""

import argparse
import shutil
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from bench.load import application_codes, integration
from bench.processes import end, running
from bench.rig import Rig, end_now, rig, wait_until
from bench.table import megabytes, show
from pipeline.traffic import APPLICATIONS, events

HOT = "HOT00-00001"
HOT_RATE = 2_000
EACH = 5


def spread_out(windows: int) -> Iterator[bytes]:
    """A few events for each window."""
    for number, code in enumerate(application_codes(windows + len(APPLICATIONS))[len(APPLICATIONS) :]):
        yield from events(1_000 + number, EACH, applications=[code])


class Restart:
    """One worker, restarted in several ways."""

    def __init__(self, found: Rig, windows: int) -> None:
        self._rig = found
        self._windows = windows

    def run(self, repeat: int) -> dict[str, list[tuple[float, float, float]]]:
        """For each way: seconds until ready, seconds until the next delivery, resident bytes."""
        source = self._rig.load(
            f"bench-restart-{self._windows}", self._windows * EACH, lambda: spread_out(self._windows)
        )
        results: dict[str, list[tuple[float, float, float]]] = {}
        with self._rig.app("restart") as app, self._rig.receiver() as endpoint:
            self.endpoint = endpoint
            codes = application_codes(self._windows + len(APPLICATIONS))[len(APPLICATIONS) :]
            targets = [
                integration(f"i-{number}", endpoint.url, applications=[code]) for number, code in enumerate(codes)
            ]
            targets.append(integration("hot", endpoint.url, applications=[HOT]))
            config = self._rig.configure(app, source.topic, targets)
            self._fill(config)
            options = ("--rate", str(HOT_RATE), "--seconds", "900", "--application", HOT)
            with running("bench.feed", self._rig.brokers, source.topic, *options, log=self._rig.folder / "feed.log"):
                for _ in range(repeat):
                    for name, number, loses in (
                        ("after SIGKILL", signal.SIGKILL, False),
                        ("after SIGTERM", signal.SIGTERM, False),
                        ("after SIGKILL, data folder lost", signal.SIGKILL, True),
                    ):
                        results.setdefault(name, []).append(self._once(config, number, loses_folder=loses))
                        print(
                            f"{name}: ready {results[name][-1][0]:.1f} s, delivers {results[name][-1][1]:.1f} s",
                            flush=True,
                        )
        self._rig.delete_topics(lambda topic: topic == source.topic)  # it holds the fed events too
        return results

    def _fill(self, config: Path) -> None:
        with self._rig.worker(config) as worker:
            wait_until(
                lambda: worker.is_ready() and worker.metric("open_windows") >= self._windows, "windows do not open", 120
            )
            time.sleep(2)

    def _once(self, config: Path, number: signal.Signals, *, loses_folder: bool) -> tuple[float, float, float]:
        with self._rig.worker(config) as worker:
            self.endpoint.reset()
            wait_until(worker.is_ready, "not ready", 90)
            wait_until(lambda: self.endpoint.stats()["events"] > 20 * HOT_RATE / 10, "nothing is delivered", 90)
            if number == signal.SIGKILL:
                end_now(worker)
            else:
                end(worker.process)
        self.endpoint.reset()
        if loses_folder:
            shutil.rmtree(self._rig.folder / f"{config.stem}-0")
        with self._rig.worker(config) as worker:
            ready_at = wait_until(worker.is_ready, "not ready again", 90, poll_s=0.05)
            wait_until(lambda: self.endpoint.stats()["events"] > 0, "nothing is delivered again", 90, poll_s=0.05)
            first_at = self.endpoint.stats()["first_at"]
            wait_until(lambda: worker.metric("open_windows") >= self._windows, "windows are missing", 30)
            size_bytes = float(psutil.Process(worker.process.pid).memory_info().rss)
            time.sleep(2)
        return ready_at - worker.started_at, first_at - worker.started_at, size_bytes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)
    with rig() as found:
        results = Restart(found, options.windows).run(options.repeat)
    show(
        f"Restart with {options.windows:,} open windows",
        ("", "ready after s", "worst", "next delivery s", "worst", "MB then"),
        [
            [
                name,
                f"{statistics.median(one[0] for one in runs):.1f}",
                f"{max(one[0] for one in runs):.1f}",
                f"{statistics.median(one[1] for one in runs):.1f}",
                f"{max(one[1] for one in runs):.1f}",
                megabytes(max(one[2] for one in runs)),
            ]
            for name, runs in results.items()
        ],
        f"seconds since the new process was started, median and worst of {options.repeat}; {EACH} events in each window, {HOT_RATE:,} events/s to one more",
    )


if __name__ == "__main__":
    main()
