"""The command line as a person or a script meets it."""

import asyncio
import fcntl
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from click.testing import CliRunner

from agents import data_directory
from agents.commands import cli
from pipeline.local.servers import LocalServers
from pipeline.traffic import POISON, events

ROOT = Path(__file__).parents[2]
NOBODY = "127.0.0.1:1"
GOOD = """
app: test
integrations:
  - {id: crm, kind: http, url: "https://crm.example/", events: ["*"], platforms: ["*"]}
  - {id: mail, kind: http, url: "https://mail.example/", events: ["*"], platforms: ["*"], enabled: false}
"""
TEN_MISTAKES = """app: Bad App
broker: redis://nowhere
partitions: 0
topic: "a b"
outbond: {}
integrations:
  - {id: crm, kind: http, url: "http://crm.example/", events: ["*"], platforms: ["*"]}
  - {id: mail, kind: pigeon, url: "https://mail.example/", events: ["*"], platforms: ["*"]}
  - {id: push, kind: http, url: "https://push.example/", events: [], platforms: [iOS]}
  - {id: sms, kind: http, url: "https://sms.example/", events: ["*"], platforms: ["*"], batch: {max_age: soon}}
  - {id: crm, kind: http, url: "https://crm.example/", events: ["*"], platforms: ["*"]}
"""


class Shell:
    """Runs commands in a folder of their own, with nothing of this machine's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in {"KAFKA_BROKERS", "REDIS_URL"}},
            "DISTRIBUTARY_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
        }

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, *arguments: str, stdin: bytes = b"", brokers: str | None = None) -> tuple[int, list[str], list[str]]:
        """Exit status, lines of standard output, lines of standard error."""
        done = subprocess.run(
            [sys.executable, "-m", "agents", *arguments],
            cwd=self.folder,
            env={**self.environment, **({"KAFKA_BROKERS": brokers} if brokers else {})},
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += _commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", _commands(cli), ids=lambda path: " ".join(path) or "distributary")
def test_help_fits_a_terminal_and_says_what_each_option_is_for(path: tuple[str, ...]):
    # Faust's group sets the process up before it looks at a command; its own context does not.
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    shown = CliRunner().invoke(command, ["--help"], prog_name=" ".join(("distributary", *path)))
    assert shown.exit_code == 0
    assert [line for line in shown.output.splitlines() if len(line) > 80] == []
    assert "..." not in shown.output.partition("Commands:")[2], "a summary is too long for its line"
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.opts[-1] in shown.output
            assert option.help, f"{option.opts} says nothing"


def test_the_tables_lie_where_the_help_says_unless_another_place_is_named():
    (option,) = (each for each in cli.params if each.name == "datadir")

    assert option.default is None
    assert "default: .distributary/data" in option.help


def test_help_names_every_command_with_a_summary():
    shown = CliRunner().invoke(cli, ["--help"]).output
    summaries = dict(line.split(maxsplit=1) for line in shown.partition("Commands:\n")[2].splitlines())
    assert list(summaries)[:7] == ["worker", "demo", "check", "send", "receiver", "ledger", "local"]
    assert list(summaries) == list(cli.commands)


def test_check_says_that_a_file_is_good(shell: Shell):
    shell.write("faust.yml", GOOD)
    assert shell.run("check") == (0, ["good: 2 integrations, 1 of them enabled"], [])


INBOUND = """
inbound:
  webhooks:
    - {id: a, name: A, event: Paid, application: A, identify: {by: hwid, field: device}, secret: secret-of-the-file}
    - {id: b, name: B, event: Paid, application: A, identify: {by: hwid, field: device}, secret: secret-of-the-file, enabled: false}
"""


def test_check_counts_the_webhooks_of_a_file_that_has_a_listener(shell: Shell):
    shell.write("faust.yml", INBOUND)
    counted = "good: 0 integrations, 0 of them enabled; 2 inbound webhooks, 1 of them enabled"
    assert shell.run("check") == (0, [counted], [])


UNREADABLE = """
app: test
integrations:
  - {id: crm, kind: http, url: "https://crm.example/", events: "*", platforms: "*", tls: {ca: missing.pem}}
  - {id: rpc, kind: grpc, url: "grpcs://crm.example/", events: "*", platforms: "*", tls: {ca: missing.pem}}
  - {id: mail, kind: email, url: "https://mail.example/", events: "*", platforms: Email, tls: {cert: faust.yml}}
"""


@pytest.mark.parametrize("command", ["check", "worker"])
def test_certificate_files_that_cannot_be_read_are_named_before_anything_runs(shell: Shell, command: str):
    shell.write("faust.yml", UNREADABLE)
    status, out, mistakes = shell.run(command)
    assert (status, out) == (1, [])
    assert [line.partition(": ")[0] for line in mistakes] == ["integration crm", "integration rpc", "integration mail"]
    assert all("missing.pem" in line for line in mistakes[:2])


def test_check_names_each_of_ten_mistakes_in_a_line_of_its_own(shell: Shell):
    shell.write("other.yml", TEN_MISTAKES)
    status, out, mistakes = shell.run("check", "other.yml")
    assert (status, out) == (1, [])
    assert len(mistakes) == 10
    assert [line.partition(": ")[0].split(":", 1)[1].split(" ", 1) for line in mistakes] == [
        ["1", "app"],
        ["2", "broker"],
        ["3", "partitions"],
        ["4", "topic"],
        ["5", "outbond"],
        ["7", "integrations.0.url"],
        ["8", "integrations.1.kind"],
        ["9", "integrations.2.events"],
        ["10", "integrations.3.batch.max_age"],
        ["11", "integrations.4.id"],
    ]
    assert all(line.startswith("other.yml:") for line in mistakes)


@pytest.mark.parametrize("command", [["worker"], ["ledger"], ["send", "-"], ["agents"]], ids=" ".join)
def test_every_command_refuses_a_broken_configuration_in_the_same_words(shell: Shell, command: list[str]):
    shell.write("faust.yml", "app: Bad App\npartitions: 0\n")
    status, out, mistakes = shell.run(*command)
    assert status == 1
    assert out == []
    assert [line.partition(": ")[0] for line in mistakes] == ["faust.yml:1 app", "faust.yml:2 partitions"]


def test_a_missing_configuration_is_one_line(shell: Shell):
    status, _, (line,) = shell.run("--config", "elsewhere.yml", "ledger")
    assert status == 1
    assert line.startswith("elsewhere.yml: there is no such file")


def test_the_version_is_that_of_the_project_and_of_faust(shell: Shell):
    line = f"distributary {version('distributary')} (Faust {version('faust-streaming')})"
    assert shell.run("--version") == (0, [line], [])


@pytest.mark.parametrize(("command", "name"), [("tables", "users"), ("agents", "@users")])
def test_every_table_and_stage_that_is_listed_says_what_it_is_for(shell: Shell, command: str, name: str):
    shell.write("faust.yml", INBOUND)
    status, lines, _ = shell.run(command, brokers=NOBODY)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    (_, *rows) = cells
    assert status == 0
    assert name in {row[0] for row in rows}
    assert [row for row in rows if not row[-1].endswith(".") or "Missing description" in row[-1]] == []


INTERRUPTED = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "faust":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from agents.__main__ import main
main()
"""


def test_ctrl_c_while_a_command_is_loaded_ends_it_without_a_trace():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, timeout=60, check=False, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_local_status_of_nothing_says_so_and_fails(shell: Shell):
    status, lines, _ = shell.run("local", "status")
    assert status == 1
    assert [line.split()[-2] for line in lines] == ["stopped", "stopped"]


@pytest.mark.parametrize("command", [["local", "status"], ["local", "reset"], ["ledger"]], ids=" ".join)
def test_a_home_that_is_no_folder_is_one_line(shell: Shell, command: list[str]):
    shell.write("faust.yml", "app: test\n")
    home = shell.environment["DISTRIBUTARY_HOME"] = str(shell.write("file", ""))
    status, out, (line,) = shell.run(*command)
    assert (status, out) == (1, [])
    assert line.startswith(f"{home}: ")
    assert "DISTRIBUTARY_HOME" in line


@pytest.fixture
def busy(shell: Shell) -> Iterator[Path]:
    """The default data directory with a table in it, and a worker that uses it."""
    tables = shell.folder / "home" / "data"
    (tables / "v1" / "tables").mkdir(parents=True)
    (tables / "v1" / "tables" / "row").touch()
    with (tables / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tables


@pytest.mark.parametrize("command", [["reset"], ["local", "reset"]], ids=" ".join)
def test_tables_of_a_worker_that_runs_are_not_deleted(shell: Shell, busy: Path, command: list[str]):
    shell.write("faust.yml", "app: test\n")
    assert shell.run(*command) == (1, [], [f"the data directory {busy} is in use by a worker: stop it first"])
    assert (busy / "v1" / "tables" / "row").exists()


@pytest.mark.parametrize("command", [["reset"], ["local", "reset"]], ids=" ".join)
def test_tables_are_deleted_where_no_worker_runs(shell: Shell, command: list[str]):
    shell.write("faust.yml", "app: test\n")
    tables = shell.folder / "home" / "data" / "v1" / "tables"
    tables.mkdir(parents=True)
    (tables / "row").touch()
    assert shell.run(*command)[0] == 0
    assert not tables.exists()


def test_tables_of_another_app_are_not_deleted(shell: Shell):
    shell.write("faust.yml", "app: test\n")
    data = shell.folder / "home" / "data"
    row = data / "v1" / "tables" / "row"
    row.parent.mkdir(parents=True)
    row.touch()
    data_directory.claim(data, data_directory.Owner("other", "a-cluster"))
    status, out, (line,) = shell.run("reset")
    assert (status, out, row.exists()) == (1, [], True)
    assert f"the data directory {data} holds the tables of app other, and this is app test" in line


@pytest.mark.parametrize("command", [["ledger"], ["send", "-"]], ids=" ".join)
def test_what_needs_kafka_says_in_a_line_that_there_is_none(shell: Shell, command: list[str]):
    shell.write("faust.yml", "app: test\n")
    status, out, (line,) = shell.run(*command)
    assert (status, out) == (1, [])
    assert "distributary local up" in line
    status, out, (line,) = shell.run(*command, brokers=NOBODY)
    assert (status, out) == (1, [])
    assert "127.0.0.1" in line
    assert "KAFKA_BROKERS" in line


def test_a_local_kafka_that_runs_and_does_not_answer_is_told_from_one_that_does_not_run(
    shell: Shell, own_kafka: LocalServers
):
    shell.write("faust.yml", "app: test\n")
    shell.environment["DISTRIBUTARY_HOME"] = str(own_kafka.directory)
    own_kafka.pause_kafka()
    try:
        status, out, (line,) = shell.run("ledger")
    finally:
        own_kafka.resume_kafka()
    assert (status, out) == (1, [])
    assert f"the local Kafka at {own_kafka.addresses.kafka} runs" in line
    assert "does not answer" in line


def test_receiver_says_that_its_port_is_taken(shell: Shell):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, _, (line,) = shell.run("receiver", "--port", str(port))
    assert status == 1
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_receiver_says_that_its_record_cannot_be_written(shell: Shell):
    status, _, (line,) = shell.run("receiver", "--port", "0", "--record", "missing/record")
    assert status == 1
    assert "missing/record" in line


def test_send_of_a_file_that_is_not_there_says_so(shell: Shell):
    shell.write("faust.yml", "app: test\n")
    status, _, (line,) = shell.run("send", "missing.jsonl", brokers=NOBODY)
    assert status == 1
    assert "missing.jsonl" in line


def _published(brokers: str, topic: str) -> list[bytes]:
    async def read() -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tps = [TopicPartition(topic, number) for number in range(4)]
            consumer.assign(tps)
            count = sum((await consumer.end_offsets(tps)).values())
            async with asyncio.timeout(20):
                return sorted([(await consumer.getone()).value for _ in range(count)])
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_send_leaves_bad_lines_out_and_names_each(shell: Shell, kafka: str):
    topic = f"send-{secrets.token_hex(4)}"
    good = list(events(1, 4))
    lines = [good[0], POISON["not_json"](good[1]), good[1], b"", POISON["unknown_platform"](good[2]), *good[2:]]
    file = shell.write("events.jsonl", b"\n".join(lines))
    shell.write("faust.yml", f"app: test\ntopic: {topic}\n")
    status, out, bad = shell.run("send", str(file), brokers=kafka)
    assert (status, out) == (1, ["4 events sent, 2 lines left out"])
    assert [line.partition(": ")[0] for line in bad] == ["events.jsonl:2 not_json", "events.jsonl:5 unknown_platform"]
    assert _published(kafka, topic) == sorted(good)


def test_send_reads_standard_input_and_a_topic_of_its_own(shell: Shell, kafka: str):
    topic = f"send-{secrets.token_hex(4)}"
    good = list(events(2, 3))
    shell.write("faust.yml", "app: test\n")
    assert shell.run("send", "-", "--topic", topic, stdin=b"\n".join(good) + b"\n", brokers=kafka) == (
        0,
        ["3 events sent"],
        [],
    )
    assert _published(kafka, topic) == sorted(good)


def test_send_unchecked_sends_bad_lines_too(shell: Shell, kafka: str):
    topic = f"send-{secrets.token_hex(4)}"
    shell.write("faust.yml", f"app: test\ntopic: {topic}\n")
    status, out, (bad,) = shell.run("send", "-", "--unchecked", stdin=b"no event\n", brokers=kafka)
    assert (status, out) == (1, ["1 event sent"])
    assert bad.startswith("-:1 not_json")
    assert _published(kafka, topic) == [b"no event"]


def test_ledger_of_an_app_that_never_ran_is_empty_and_balanced(shell: Shell, kafka: str):
    shell.write("faust.yml", f"app: never-{secrets.token_hex(4)}\n")
    status, out, _ = shell.run("ledger", brokers=kafka)
    assert status == 0
    assert out[-1] == "balanced"
