"""What 10, 1,000 and 10,000 integrations cost where each event matches exactly one of them.

python -m bench.integrations [--events 300000] [--repeat 3] [--shuffled]

The events are the same for all: 10,000 applications, few of them busy, most of them not; the integrations share the
applications. With ``--shuffled`` no two neighbours belong together, so that a chunk touches as many lanes as it can.
"""

import argparse
import statistics
from collections.abc import Sequence

from bench.load import over_applications, sharing, shuffled
from bench.rig import rig
from bench.table import megabytes, show, spread
from bench.throughput import Contest, Run

APPLICATIONS = 10_000
COUNTS = (10, 1_000, 10_000)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--shuffled", action="store_true")
    options = parser.parse_args(arguments)
    runs: dict[int, list[Run]] = {count: [] for count in COUNTS}
    with rig() as found, found.receiver() as endpoint:
        source = (shuffled if options.shuffled else over_applications)(found, options.events, APPLICATIONS)
        contest = Contest(found, endpoint, source)
        for number in range(options.repeat):
            for count in COUNTS:
                run = contest.ours(sharing(count, APPLICATIONS, endpoint.url), counts_read=True)
                runs[count].append(run)
                print(f"round {number + 1}: {count:,} integrations: {run.events_per_s:,.0f} events/s", flush=True)
    fewest = statistics.median(run.events_per_s for run in runs[COUNTS[0]])
    show(
        "Integrations, each event matches one" + (" (shuffled)" if options.shuffled else ""),
        (
            "integrations",
            "events/s",
            "of fewest",
            "CPU s/100k",
            "broker",
            "peak MB",
            "batches",
            "still open",
            "first after s",
        ),
        [
            [
                f"{count:,}",
                spread([run.events_per_s for run in of_count]),
                f"{statistics.median(run.events_per_s for run in of_count) / fewest:.2f}",
                f"{statistics.median(run.program_cpu_s for run in of_count):.2f}",
                f"{statistics.median(run.broker_cpu_s for run in of_count):.2f}",
                megabytes(max(run.peak_bytes for run in of_count)),
                f"{of_count[-1].batches:,}",
                f"{options.events - of_count[-1].delivered:,}",
                f"{statistics.median(run.start_s for run in of_count):.1f}",
            ]
            for count, of_count in runs.items()
        ],
        f"{options.events:,} events over {APPLICATIONS:,} applications, one worker, 100 a batch; events/s are those read and windowed",
        f"median of {options.repeat} turns (slowest-fastest); `still open` waits in windows that are not full",
    )


if __name__ == "__main__":
    main()
