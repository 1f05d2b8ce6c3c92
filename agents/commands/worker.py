"""``distributary worker``: Faust's worker, with servers of its own where none are named."""

import asyncio
import logging
import os
import socket
import sys
import time
from typing import Any

import click
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from faust.cli.faust import cli as faust_cli

from agents import data_directory
from agents.commands import fausts
from agents.rates import needs_redis
from agents.settings import current
from pipeline.config.schema import Settings
from pipeline.local.servers import addresses_or_start
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
        _choose_web(options, settings)
        if options.get("with_web", True):
            _check_port(options["web_bind"], options.get("web_port") or DEFAULT_WEB_PORT)
        folder = data_directory.chosen()
        data_directory.take(folder, advice="give each worker a --datadir of its own")
        cluster = asyncio.run(_reach(addresses.kafka))
        data_directory.claim(folder, data_directory.Owner(settings.app, cluster))
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


class _Cluster(ClusterMetadata):
    """What a broker says of its cluster, with the id, which aiokafka does not keep."""

    cluster_id: str | None = None

    def update_metadata(self, metadata: Any) -> None:
        self.cluster_id = getattr(metadata, "cluster_id", None)  # answers of very old brokers have none
        super().update_metadata(metadata)


async def _reach(brokers: str) -> str | None:
    """Wait for a broker that answers, so that workers may be started before it; gives the id of its cluster, if it has one.

    Raises ``KafkaError`` after a minute.
    """
    deadline_s = time.monotonic() + REACH_S
    is_told = False
    while True:
        client = AIOKafkaClient(bootstrap_servers=brokers)
        client.cluster = cluster = _Cluster()
        try:
            await client.bootstrap()
        except KafkaError:
            if time.monotonic() >= deadline_s:
                raise
            if not is_told:
                click.echo(f"waiting for Kafka at {brokers}, up to {REACH_S:.0f} s", err=True)
                is_told = True
            await asyncio.sleep(REACH_PAUSE_S)
        else:
            return cluster.cluster_id
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
