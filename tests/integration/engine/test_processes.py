"""A worker as a process: with which status it ends, how fast, and what it leaves behind."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

from agents.engine.lease import EXIT_STATUS as ASLEEP
from tests.support.chunk_worker import Broker, fresh_name

ROOT = Path(__file__).parents[3]


@contextlib.asynccontextmanager
async def worker(broker: Broker, datadir: Path, **told) -> AsyncIterator[SimpleNamespace]:
    """Run a worker that copies ``source`` to ``target`` (see ``tests.support.engine_worker``) and is killed at the end."""
    arguments = {"name": fresh_name(), "address": broker.address, "datadir": str(datadir), **told}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.engine_worker", json.dumps(arguments)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines: list[str] = []

    async def says(word: str) -> None:
        """Read on until a line holds ``word``."""
        async with asyncio.timeout(20):
            while not lines or word not in lines[-1]:
                line = await process.stdout.readline()
                assert line, f"ended without a word of {word!r}:\n{''.join(lines)}"
                lines.append(line.decode(errors="replace"))

    async def ended(within_s: float) -> int:
        async with asyncio.timeout(within_s):
            rest, _ = await process.communicate()
        lines.append(rest.decode(errors="replace"))
        return process.returncode

    try:
        yield SimpleNamespace(
            name=arguments["name"], says=says, ended=ended, signal=process.send_signal, output=lambda: "".join(lines)
        )
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def copies(broker: Broker, topic: str) -> int:
    return sum(1 for record in await broker.read(topic) if record.value == b"record")


async def test_sigterm_ends_a_worker_with_status_0_and_all_that_it_copied_is_committed(broker, tmp_path):
    source, target = await broker.create(fresh_name("source")), await broker.create(fresh_name("target"))
    await broker.put(source, [b"x"] * 10)
    async with worker(broker, tmp_path, source=source, target=target) as process:
        await process.says("ready")
        await process.says("chunk")
        process.signal(signal.SIGTERM)
        assert await process.ended(within_s=5) == 0, process.output()
    assert await broker.committed(process.name, source) == 10


async def test_a_refused_send_ends_the_process_with_status_1_and_its_reason(broker, tmp_path):
    source, target = await broker.create(fresh_name("source")), await broker.create(fresh_name("target"))
    narrow = await broker.create(fresh_name("narrow"), max_message_bytes="60")
    await broker.put(source, [b"x"] * 10)
    async with worker(broker, tmp_path, source=source, target=narrow) as process:
        assert await process.ended(within_s=20) == 1, process.output()
        assert f"the broker did not take records for {narrow}, partition 0" in process.output()
    assert await broker.committed(process.name, source) == -1
    assert target


async def test_an_exception_in_an_agent_ends_the_process_with_status_1_and_its_trace(broker, tmp_path):
    source, target = await broker.create(fresh_name("source")), await broker.create(fresh_name("target"))
    await broker.put(source, [b"raise"])
    async with worker(broker, tmp_path, source=source, target=target) as process:
        assert await process.ended(within_s=20) == 1, process.output()
        assert "ValueError: told to raise" in process.output()
        assert "engine_worker.py" in process.output()
    assert await broker.committed(process.name, source) == -1


async def test_a_worker_that_was_asleep_for_longer_than_its_membership_ends_and_writes_no_more(broker, tmp_path):
    source, target = await broker.create(fresh_name("source")), await broker.create(fresh_name("target"))
    options = {"broker_session_timeout": 1.0, "broker_heartbeat_interval": 0.2}
    async with worker(broker, tmp_path, source=source, target=target, **options) as process:
        await process.says("ready")
        async with asyncio.timeout(10):
            while not await broker.read(target):  # noqa: ASYNC110  a tick writes every 20 ms
                await asyncio.sleep(0.05)
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(2.0)
        written = len(await broker.read(target))
        process.signal(signal.SIGCONT)
        assert await process.ended(within_s=10) == ASLEEP, process.output()
        assert "asleep" in process.output()
    assert len(await broker.read(target)) <= written + 1, "at most what was on its way already"


async def test_a_worker_whose_broker_is_gone_ends_within_seconds(own_kafka, tmp_path):
    async with Broker(own_kafka.addresses.kafka) as broker:
        source, target = await broker.create(fresh_name("source")), await broker.create(fresh_name("target"))
        await broker.put(source, [b"x"] * 10)
    async with worker(broker, tmp_path, source=source, target=target) as process:
        await process.says("ready")
        await process.says("chunk")
        await asyncio.to_thread(own_kafka.kill_kafka)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert await process.ended(within_s=20) == 0
        assert time.monotonic() - began < 12
        assert "stopping without the broker" in process.output()
