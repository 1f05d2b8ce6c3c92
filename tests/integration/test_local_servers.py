"""The local servers as their users meet them: real processes, real kills.

Whatever holds for the supervisor holds for both servers, so what needs many starts uses Redis, which takes 0.1 s.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from pipeline.errors import LocalServerError
from pipeline.local import servers as servers_module
from pipeline.local.process import ProcessMark, wait_until
from pipeline.local.redis import RedisServer
from pipeline.local.servers import Addresses, LocalServers, addresses_or_start, scoped_servers
from pipeline.local.state import State

BOUND_S = 20.0


def processes(folder: Path, name: str = "redis") -> tuple[ProcessMark, ProcessMark]:
    state = State.load(folder).of(name)
    assert state.server
    assert state.supervisor
    return state.server, state.supervisor


def are_gone(marks) -> bool:
    return wait_until(lambda: not any(mark.is_alive for mark in marks), BOUND_S)


@contextlib.contextmanager
def user(folder: Path, names: str = "redis", first: str = "", **options):
    """Another process that uses the servers of ``folder`` until its standard input closes."""
    code = f"""
        import os, signal, sys
        from pathlib import Path
        from pipeline.local.servers import LocalServers, scoped_servers
        with scoped_servers(Path(sys.argv[1]), names=sys.argv[2].split(",")):
            {first or "pass"}
            print("up", flush=True)
            sys.stdin.read()
        print("released", flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), folder, names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        **options,
    )
    with child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def is_up(child) -> bool:
    return child.stdout.readline() == b"up\n"


@pytest.fixture
def local(tmp_path):
    servers = LocalServers(tmp_path / "servers", names=["redis"])
    yield servers
    servers.down()


def test_up_twice_finds_the_same_server_and_down_ends_it(local):
    addresses = local.up()
    marks = processes(local.directory)
    assert LocalServers(local.directory, names=["redis"]).up() == addresses
    assert processes(local.directory) == marks
    [status] = local.status()
    assert (status.pid, status.is_ready, status.is_kept) == (marks[0].pid, True, True)
    local.down()
    assert not any(mark.is_alive for mark in marks)
    assert not local.status()[0].is_ready
    local.down()


def test_data_and_port_last_from_start_to_start_and_reset_deletes_the_data(local):
    addresses = local.up()
    with Redis.from_url(addresses.redis) as client:
        client.set("kept", "yes")
    local.down()
    assert local.up() == addresses
    with Redis.from_url(addresses.redis) as client:
        assert client.get("kept") == b"yes"
    local.reset()
    assert not local.status()[0].is_ready
    assert local.up() == addresses
    with Redis.from_url(addresses.redis) as client:
        assert client.get("kept") is None


def test_a_port_that_someone_else_has_now_is_replaced(local):
    before = local.up()
    local.down()
    port = int(before.redis.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        after = local.up()
    assert after != before
    assert local.status()[0].is_ready


def test_two_processes_at_the_same_time_start_one_server(local):
    with user(local.directory) as first, user(local.directory) as second, user(local.directory) as third:
        assert is_up(first)
        assert is_up(second)
        assert is_up(third)
        server, supervisor = processes(local.directory)
        command = psutil.Process(supervisor.pid).cmdline()
        alike = [process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == command]
        assert alike == [supervisor.pid]
        assert server.is_alive


def test_the_last_user_takes_the_server_along(local):
    with user(local.directory) as first, user(local.directory) as second:
        assert is_up(first)
        assert is_up(second)
        marks = processes(local.directory)
        first.kill()
        first.wait()
        with Redis.from_url(local.addresses.redis) as client:
            assert client.ping()
        second.stdin.close()
        assert second.stdout.readline() == b"released\n"
        assert not any(mark.is_alive for mark in marks), "released only once the server is gone"


@pytest.mark.parametrize(
    "ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_no_process_is_left_when_a_user_dies(local, ending):
    with user(local.directory, stderr=subprocess.DEVNULL) as child:
        assert is_up(child)
        marks = processes(local.directory)
        child.send_signal(ending)
        child.wait(BOUND_S)
    assert are_gone(marks)


def test_a_ctrl_c_in_the_terminal_reaches_the_user_and_not_the_server(local):
    notice = "signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))"
    with user(local.directory, first=notice, start_new_session=True) as child:
        assert is_up(child)
        marks = processes(local.directory)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the whole process group
        assert child.stdout.readline() == b"interrupted\n"
        with Redis.from_url(local.addresses.redis) as client:
            assert client.ping()
        child.stdin.close()
        assert child.wait(BOUND_S) == 0
    assert are_gone(marks)


def test_a_scoped_user_leaves_a_kept_server_running(local):
    local.up()
    marks = processes(local.directory)
    with scoped_servers(local.directory, names=["redis"]) as scoped:
        assert scoped.addresses == local.addresses
    assert all(mark.is_alive for mark in marks)


def test_up_keeps_a_server_that_a_scoped_user_started(local):
    with user(local.directory) as child:
        assert is_up(child)
        marks = processes(local.directory)
        local.up()
        assert processes(local.directory) == marks
        child.kill()
        child.wait()
    with Redis.from_url(local.addresses.redis) as client:
        assert client.ping()
    assert all(mark.is_alive for mark in marks)


def test_what_crashes_left_behind_is_cleared_away(local):
    local.up()
    server, supervisor = processes(local.directory)
    supervisor.signal(signal.SIGKILL)
    assert supervisor.wait(BOUND_S)
    local.up()
    assert are_gone([server]), "a server without its supervisor is replaced"
    server, supervisor = processes(local.directory)
    server.signal(signal.SIGKILL)
    assert are_gone([server, supervisor]), "a supervisor ends with its server"
    local.up()
    assert local.status()[0].is_ready


def test_a_recycled_process_id_is_neither_trusted_nor_killed(local):
    local.up()
    local.down()
    state = State.load(local.directory)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        recycled = ProcessMark(stranger.pid, "a start before the last boot")
        state.servers["redis"] = servers_module.ServerState(state.of("redis").ports, recycled, recycled)
        state.save(local.directory)
        assert local.status()[0].pid is None
        local.down()
        local.up()
        assert local.status()[0].is_ready
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_does_not_start_says_what_its_log_says(local, monkeypatch):
    monkeypatch.setattr("pipeline.local.redis.config_text", lambda _: "no-such-setting yes\n")
    with pytest.raises(LocalServerError, match=r"(?s)Redis on .* ended while starting; its log .*no-such-setting"):
        local.up()
    [status] = local.status()
    assert status.pid is None
    assert "Bad directive" in status.log.read_text()


def test_a_server_that_never_answers_is_given_up_and_not_left_behind(local, monkeypatch):
    monkeypatch.setattr(RedisServer, "start_deadline_s", 0.3)
    monkeypatch.setattr(RedisServer, "is_ready", lambda *_: False)
    with pytest.raises(LocalServerError, match=r"not ready after 0\.3 s"):
        local.up()
    assert are_gone(processes(local.directory))


def test_a_log_begins_anew_with_each_start_and_the_last_one_is_kept(local):
    for _ in range(3):
        local.up()
        local.down()
    logs = sorted(path.name for path in local.directory.glob("*.log*"))
    assert logs == ["redis.log", "redis.log.1"]
    assert (local.directory / "redis.log").read_text().count("Ready to accept connections") == 1


def test_given_addresses_are_used_and_nothing_is_started(tmp_path):
    environ = {"KAFKA_BROKERS": "broker-1:9092,broker-2:9092", "REDIS_URL": "redis://cache:6379/1"}
    folder = tmp_path / "none"
    with addresses_or_start(folder, environ=environ) as addresses:
        assert addresses == Addresses("broker-1:9092,broker-2:9092", "redis://cache:6379/1")
    with addresses_or_start(folder, kafka="configured:9092", environ=environ) as addresses:
        assert addresses.kafka == "configured:9092"
    assert not folder.exists()


def test_only_what_is_not_given_is_started(tmp_path):
    with addresses_or_start(tmp_path, environ={"KAFKA_BROKERS": "broker-1:9092"}) as addresses:
        assert addresses.kafka == "broker-1:9092"
        with Redis.from_url(addresses.redis) as client:
            assert client.ping()
        marks = processes(tmp_path)
    assert not any(mark.is_alive for mark in marks)


async def produce(address: str, topic: str, value: bytes, *, timeout_s: float = 60.0) -> int:
    producer = AIOKafkaProducer(
        bootstrap_servers=address, max_request_size=16 * 1024 * 1024, request_timeout_ms=int(timeout_s * 1000)
    )
    async with producer:
        return (await producer.send_and_wait(topic, value, partition=0)).offset


async def create_topic(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def read_all(address: str, topic: str) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


async def test_kafka_takes_records_of_8_mb_and_its_groups_work_at_once(kafka):
    await create_topic(kafka, "local-large")
    large = os.urandom(8 * 1024 * 1024)
    await produce(kafka, "local-large", large)
    consumer = AIOKafkaConsumer(
        "local-large", bootstrap_servers=kafka, group_id="local-large", auto_offset_reset="earliest"
    )
    async with consumer:
        assert (await consumer.getone()).value == large
        await consumer.commit()


@pytest.mark.slow
async def test_kafka_comes_back_on_its_port_with_its_data_after_a_kill_and_a_stop(own_kafka):
    address = own_kafka.addresses.kafka
    await create_topic(address, "lasting")
    await produce(address, "lasting", b"one")
    own_kafka.kill_kafka()
    assert not own_kafka.status()[0].is_ready
    own_kafka.start_kafka()
    await produce(address, "lasting", b"two")
    own_kafka.stop_kafka()
    own_kafka.start_kafka()
    assert own_kafka.addresses.kafka == address
    assert await read_all(address, "lasting") == [b"one", b"two"]

    own_kafka.pause_kafka()
    [paused] = own_kafka.status()
    assert paused.pid is not None
    assert not paused.is_ready
    own_kafka.resume_kafka()
    assert wait_until(lambda: own_kafka.status()[0].is_ready, BOUND_S)

    own_kafka.pause_kafka()
    own_kafka.down()
    assert own_kafka.status()[0].pid is None, "a paused broker can be stopped, too"


@pytest.mark.kafka
def test_no_broker_is_left_when_its_user_is_killed(tmp_path):
    with user(tmp_path / "servers", "kafka,redis") as child:
        assert is_up(child)
        marks = [*processes(tmp_path / "servers", "kafka"), *processes(tmp_path / "servers", "redis")]
        child.kill()
        child.wait()
    assert are_gone(marks)
