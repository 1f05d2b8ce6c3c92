"""``distributary receiver``: a sample endpoint."""

import os
import textwrap
from pathlib import Path

import click

from pipeline.receiver.manners import PATHS, Manners
from pipeline.receiver.receiver import Receiver, run_receiver

_PATHS_HELP = "\n".join(
    line
    for path, what in PATHS.items()
    for line in textwrap.wrap(what, 76, initial_indent=f"  {path:<16}", subsequent_indent=" " * 18)
)


@click.command(
    "receiver",
    short_help="Run a sample endpoint that checks and counts.",
    epilog="",
    help="Run a sample endpoint for the http sink until Ctrl-C.\n\n"
    "It checks every delivery, counts events, batches, gaps and repeats, and tells at GET /stats. "
    "The options make it fail; on any receiver, these paths do so for a single integration:\n\n\b\n" + _PATHS_HELP,
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8090,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--verify/--count-only", default=True, help="Read and check bodies, or only count by the headers, which is faster."
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line for each delivery to this file before it is answered.",
)
@click.option("--fail", "fail_share", default=0.0, type=click.FloatRange(0, 1), help="Share of requests that fail.")
@click.option("--fail-status", default=503, show_default=True, type=click.IntRange(200, 599), help="Status of those.")
@click.option("--stall", "stall_s", default=0.0, type=click.FloatRange(0), help="Seconds to wait before each answer.")
@click.option(
    "--throttle",
    "throttle_per_s",
    default=0.0,
    type=click.FloatRange(0),
    help="Requests a second that pass; others get 429.",
)
@click.option("--seed", type=int, help="Fail the same requests each time.")
def command(
    host: str,
    port: int,
    verify: bool,
    record: Path | None,
    fail_share: float,
    fail_status: int,
    stall_s: float,
    throttle_per_s: float,
    seed: int | None,
) -> None:
    """Run the receiver (its help is above)."""
    manners = Manners(throttle_per_s=throttle_per_s, stall_s=stall_s, fail_share=fail_share, fail_status=fail_status)
    receiver = Receiver(host, port, verify=verify, record=record, manners=manners, seed=seed)
    try:
        run_receiver(
            receiver, on_ready=lambda ready: click.echo(f"receiving at {ready.url}, counting at {ready.url}stats")
        )
    except OSError as error:
        if error.filename is not None:
            raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
        # asyncio's own words name the address a second time; a name that cannot be looked up has no number of the system's.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise click.ClickException(f"cannot listen on {host}:{port}: {why}; choose another --host or --port") from error
