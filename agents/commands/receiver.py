"""``distributary receiver``: a sample endpoint for each kind of sink."""

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.receiver.kinds import KINDS
from pipeline.receiver.manners import PATHS, Manners
from pipeline.receiver.receiver import Receiver, run_receiver

if TYPE_CHECKING:
    from pipeline.receiver.grpc_receiver import GrpcReceiver

_PATHS_HELP = "\n".join(
    line
    for path, what in PATHS.items()
    for line in textwrap.wrap(what, 76, initial_indent=f"  {path:<16}", subsequent_indent=" " * 18)
)


@click.command(
    "receiver",
    short_help="Run a sample endpoint that checks and counts.",
    epilog="",
    help="Run a sample endpoint for one kind of sink until Ctrl-C.\n\n"
    "It checks every delivery, counts events, batches, gaps and repeats, and tells at GET /stats. "
    "The options make it fail; on any receiver that speaks HTTP, these paths do so for a single integration:\n\n\b\n"
    + _PATHS_HELP,
)
@click.option(
    "--kind", default="http", show_default=True, type=click.Choice([*KINDS, "grpc"]), help="The sink that sends."
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
    "--stats-port",
    default=8091,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port of GET /stats beside gRPC; other kinds answer it on their own.",
)
@click.option(
    "--verify/--count-only", default=True, help="Read and check bodies, or only count by the headers, which is faster."
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    envvar="RECEIVER_SECRETS",
    help="Take only what is signed with it (http, xtremepush); may be repeated. Also: RECEIVER_SECRETS.",
)
@click.option(
    "--write-key",
    envvar="RECEIVER_WRITE_KEY",
    help="Take only what shows it (segment). Also: RECEIVER_WRITE_KEY.",
)
@click.option(
    "--authorization",
    envvar="RECEIVER_AUTHORIZATION",
    help="Take only what has this Authorization header. Also: RECEIVER_AUTHORIZATION.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line for each delivery to this file before it is answered.",
)
@click.option("--fail", "fail_share", default=0.0, type=click.FloatRange(0, 1), help="Share of requests that fail.")
@click.option("--fail-status", default=503, show_default=True, type=click.IntRange(200, 599), help="Status of those.")
@click.option(
    "--partial", "partial_share", default=0.0, type=click.FloatRange(0, 1), help="Share of events named as failed."
)
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
    kind: str,
    host: str,
    port: int,
    stats_port: int,
    record: Path | None,
    fail_share: float,
    fail_status: int,
    partial_share: float,
    stall_s: float,
    throttle_per_s: float,
    seed: int | None,
    verify: bool,
    secrets: tuple[str, ...],
    write_key: str | None,
    authorization: str | None,
) -> None:
    """Run the receiver (its help is above)."""
    manners = Manners(
        throttle_per_s=throttle_per_s,
        stall_s=stall_s,
        fail_share=fail_share,
        fail_status=fail_status,
        partial_share=partial_share,
    )
    common: dict[str, Any] = {"record": record, "manners": manners, "seed": seed, "authorization": authorization}
    try:
        if kind == "grpc":
            if secrets or write_key:
                raise click.UsageError("--secret and --write-key are not for gRPC; use --authorization")
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else its C library writes to standard error by itself
            from pipeline.receiver.grpc_receiver import GrpcReceiver  # noqa: PLC0415  no worker is to carry a gRPC stack for it

            _run(host, GrpcReceiver(host, port, stats_port=stats_port, verify=verify, **common))
        else:
            checks = {"verify": verify, "check_fields": verify, "secrets": secrets, "write_key": write_key}
            _run(host, Receiver(host, port, kind=kind, **checks, **common))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _run(host: str, receiver: "Receiver | GrpcReceiver") -> None:
    def tell(ready: "Receiver | GrpcReceiver") -> None:
        click.echo(f"receiving at {ready.url}, counting at {ready.stats_url}")

    try:
        run_receiver(receiver, on_ready=tell)
    except OSError as error:
        if error.filename is not None:
            raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
        # asyncio's own words name the address a second time; a name that cannot be looked up has no number of the system's.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise click.ClickException(
            f"cannot listen on {host}:{receiver.port}: {why}; choose another --host or --port"
        ) from error
