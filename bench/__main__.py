"""All benchmarks: python -m bench [NAME ...]; without a name, a list of them and then each in turn, short ones.

Each is a module of its own as well: python -m bench.throughput --help
"""

import argparse
import importlib
import runpy
import sys
import time

END_TO_END = ("throughput", "profile", "integrations", "bytes", "latency", "restart", "isolation", "view", "inbound")
STAGES = ("route_cost", "window_cost", "delivery_cost", "grpc_rate")
ON_REQUEST = ("soak", "receiver_limit")


def summary(name: str) -> str:
    """The first line of a benchmark's own words."""
    return (importlib.import_module(f"bench.{name}").__doc__ or "").strip().partition("\n")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run these; options after them go to each")
    parser.add_argument("--list", action="store_true", help="only list them")
    options, others = parser.parse_known_args()
    names = (*END_TO_END, *STAGES, *ON_REQUEST)
    if options.list or not options.names:
        for name in names:
            print(f"{name:<15} {summary(name)}{' (only when named)' if name in ON_REQUEST else ''}")
        print(flush=True)
        if options.list:
            return
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    for name in options.names or (*END_TO_END, *STAGES):
        began_s = time.monotonic()
        sys.argv = [f"bench.{name}", *others]
        runpy.run_module(f"bench.{name}", run_name="__main__")
        print(f"({name}: {time.monotonic() - began_s:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
