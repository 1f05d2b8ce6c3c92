"""``distributary worker``: Faust's worker, with servers of its own where none are named."""

import asyncio
import fcntl
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import click
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from faust.cli.faust import cli as faust_cli

from agents.commands import fausts
from agents.rates import needs_redis
from agents.settings import current
from pipeline.config.schema import Settings
from pipeline.local.servers import addresses_or_start, default_directory
from pipeline.sinks.readiness import require_ready

DEFAULT_WEB_PORT = 6066
REACH_S = 60.0
REACH_PAUSE_S = 2.0

_fausts = faust_cli.commands["worker"]


def _start(**options: Any) -> Any:
    settings = current()
    asyncio.run(require_ready(settings.integrations, settings.outbound.client()))
    brokers = ",".join(settings.brokers) if settings.brokers else None
    needed = ["kafka", "redis"] if needs_redis(settings) and settings.redis is None else ["kafka"]
    with addresses_or_start(
        kafka=brokers, names=needed, on_progress=lambda line: click.echo(line, err=True)
    ) as addresses:
        os.environ["KAFKA_BROKERS"] = addresses.kafka
        if "redis" in needed:
            os.environ["REDIS_URL"] = addresses.redis
        folder = Path(os.environ.get("F_DATADIR") or default_directory() / "data")
        _choose_web(options, settings)
        if options.get("with_web", True):
            _check_port(options["web_bind"], options.get("web_port") or DEFAULT_WEB_PORT)
        _own(folder)
        asyncio.run(_reach(addresses.kafka))
        return click.get_current_context().invoke(_fausts, **options)


def _run(**options: Any) -> None:
    """Run, and end the process as soon as all is closed.

    gRPC keeps the event loop, and all that hangs on it, for as long as there is an interpreter. DuckDB would list it as leaked.
    """
    try:
        _start(**options)
    except SystemExit as ended:
        status = ended.code
    else:
        status = 0
    if isinstance(status, str):
        click.echo(status, err=True)
        status = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


def _choose_web(options: dict[str, Any], settings: Settings) -> None:
    """Where to listen and where others are told to call: the options first, then the section `view`."""
    bind = options.get("web_bind") or settings.view.host
    refusal = settings.view.refusal(bind) if options.get("with_web", True) else ""
    if refusal:
        raise click.ClickException(refusal)
    options["web_bind"] = bind
    options["web_host"] = options.get("web_host") or settings.view.advertised(bind, socket.gethostname())


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port} for the view, metrics and health: {error.strerror}; choose another --web-port"
        ) from error


def _own(folder: Path) -> None:
    """Take the data directory for this process; the lock lasts as long as it does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise click.ClickException(
            f"cannot use the data directory {folder}: {error.strerror}; choose another --datadir"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise click.ClickException(
            f"the data directory {folder} is in use by another worker: give each worker a --datadir of its own"
        ) from error


async def _reach(brokers: str) -> None:
    """Wait for a broker that answers, so that workers may be started before it; raises ``KafkaError`` after a minute."""
    deadline_s = time.monotonic() + REACH_S
    is_told = False
    while True:
        client = AIOKafkaClient(bootstrap_servers=brokers)
        try:
            return await client.bootstrap()
        except KafkaError:
            if time.monotonic() >= deadline_s:
                raise
            if not is_told:
                click.echo(f"waiting for Kafka at {brokers}, up to {REACH_S:.0f} s", err=True)
                is_told = True
            await asyncio.sleep(REACH_PAUSE_S)
        finally:
            await client.close()


command = click.Command(
    "worker",
    params=fausts.options(
        _fausts,
        {
            "web_bind": "Address to listen on; view.host in faust.yml is the default, and 127.0.0.1 where that is absent.",
            "web_host": "Host at which other workers reach this one.  [default: view.advertised_host, or where it listens]",
        },
    ),
    callback=_run,
    short_help="Run a worker.",
    help="Run a worker until Ctrl-C or SIGTERM.\n\nStart more of them, on any machine, to scale out; several on one machine "
    "need their own --datadir (before the command) and --web-port. Without KAFKA_BROKERS and without broker in faust.yml, "
    "the local Kafka is used, and started if it does not run.",
)
