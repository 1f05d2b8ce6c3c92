"""How ``replay`` and ``resume`` answer to what they are told, before they have anything to do."""

import asyncio
import json
import secrets
import time
from pathlib import Path

import msgspec
import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner, Result

from agents.commands import cli
from agents.commands.sender import RecordSender
from agents.kafka_topics import ensure_topic
from agents.topic_reader import TopicReader
from agents.topology import Names
from pipeline.delivery.rows import ROW_VERSION, ParkedRow, RowKind, encode_row, row_key
from pipeline.model.attempt import Parked, encode_parked
from pipeline.model.batch import Batch, Request, decode_batch, encode_batch
from tests.support.delivering import sealed

NOBODY = "127.0.0.1:1"
BACKFILL = ["replay", "--backfill", "--integration", "crm", "--from", "2026-11-22T10:00Z"]


class Shell:
    """Runs commands in this process, with a configuration of one integration."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = f"replay-{secrets.token_hex(4)}"
        self.topic = f"{self.app}-events"
        self._file = folder / "faust.yml"
        monkeypatch.setenv("DISTRIBUTARY_HOME", str(folder / "home"))
        monkeypatch.setenv("DISTRIBUTARY_CONFIG", str(self._file))
        monkeypatch.delenv("KAFKA_BROKERS", raising=False)

    def run(self, *arguments: str, brokers: str = NOBODY, typed: str | None = None) -> Result:
        crm = {"id": "crm", "kind": "http", "url": "https://crm.example/", "events": ["*"], "platforms": ["*"]}
        settings = {"app": self.app, "topic": self.topic, "broker": f"kafka://{brokers}", "integrations": [crm]}
        self._file.write_text(yaml.safe_dump({**settings, "partitions": 4}))
        name, *rest = arguments
        return CliRunner().invoke(cli.commands[name], rest, input=typed, prog_name=f"distributary {name}")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--all"),
        (["--all", "--integration", "crm"], "--integration only some of it; give one of them"),
        (["--reason", ""], "--reason is empty"),
        (["--all", "--rate", "nan"], "--rate nan is no rate"),
        (["--integration", " "], "--integration is empty"),
        (["--kind", ""], "--kind is empty"),
        (["--batch", ""], "--batch is empty"),
        (["--integration", "crm", "--since", ""], "--since is empty"),
        (["--backfill", "--integration", "crm", "--from", ""], "--from is empty"),
        (["--batch", "crm"], "LANE:FIRST-END"),
        (["--since", "yesterday"], "2h"),
        (["--kind", "carrier-pigeon"], "there is no kind carrier-pigeon"),
        (["--all", "--from", "2026-11-22"], "--from goes with --backfill only"),
        (["--all", "--rate", "0"], "--rate"),
        (["--backfill"], "one --integration"),
        (["--backfill", "--integration", "crm"], "needs a beginning"),
        (["--backfill", "--integration", "crm", "--integration", "mail", "--from", "2026-11-22"], "one --integration"),
        ([*BACKFILL[1:], "--from-offset", "0:1"], "two beginnings"),
        ([*BACKFILL[1:], "--reason", "503"], "--reason does not go with --backfill"),
        ([*BACKFILL[1:], "--again", "a b"], "must be 1 to 64"),
        (["--backfill", "--integration", "crm", "--from-offset", "0"], "3:1500"),
        (["--backfill", "--integration", "crm", "--from", "2h"], "write --from 20"),
        (["--since", "1h", "--until", "2h"], "is later than --until"),
        ([*BACKFILL[1:], "--to", "2026-11-22T09:00Z"], "--from 2026-11-22T10:00:00Z is later than --to"),
        (
            ["--backfill", "--integration", "crm", "--from-offset", "0:5", "--from-offset", "0:7"],
            "partition 0 twice, 0:5 and 0:7",
        ),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_with_what_to_give(shell: Shell, arguments: list[str], words: str):
    result = shell.run("replay", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["resume", "crn"], ["replay", "--backfill", "--integration", "crn", "--from", "2026-11-22"]],
    ids=" ".join,
)
def test_an_integration_that_there_is_not_is_guessed_at(shell: Shell, arguments: list[str]):
    result = shell.run(*arguments)
    assert result.exit_code == 1
    assert "no integration crn; did you mean crm?" in result.stderr


def test_where_nothing_was_ever_parked_there_is_nothing_to_replay(shell: Shell, kafka: str):
    result = shell.run("replay", "--all", brokers=kafka)
    assert (result.exit_code, result.stdout) == (0, "nothing that is parked fits\n")


def test_a_batch_of_a_lane_that_never_was_is_a_mistake(shell: Shell, kafka: str):
    result = shell.run("replay", "--batch", "crm:0-100", "--json", brokers=kafka)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["not_parked"][0]["why"] == "there is no lane crm"


def test_an_integration_with_nothing_parked_must_at_least_exist(shell: Shell, kafka: str):
    assert shell.run("replay", "--integration", "crm", brokers=kafka).exit_code == 0
    assert "no integration crn" in shell.run("replay", "--integration", "crn", brokers=kafka).stderr
    assert "no integration crn" in shell.run("ledger", "--integration", "crn", brokers=kafka).stderr
    both = ("--integration", "crn", "--integration", "crm")
    assert "no integration crn" in shell.run("ledger", *both, brokers=kafka).stderr


def test_resume_of_what_nothing_holds_back_says_so(shell: Shell, kafka: str):
    result = shell.run("resume", "crm", brokers=kafka)
    assert (result.exit_code, result.stdout) == (0, "nothing holds crm back\n")


def test_a_backfill_says_which_topic_is_missing(shell: Shell, kafka: str):
    result = shell.run(*BACKFILL, brokers=kafka)
    assert result.exit_code == 1
    assert f"{shell.app}-routed: start a worker first" in result.stderr
    asyncio.run(ensure_topic(kafka, f"{shell.app}-routed", 2))
    assert "2 partitions and this configuration says 4" in shell.run(*BACKFILL, brokers=kafka).stderr


def test_a_backfill_of_an_empty_topic_reads_nothing_and_asks_nobody(shell: Shell, kafka: str):
    asyncio.run(ensure_topic(kafka, f"{shell.app}-routed", 4))
    assert f"there is no topic {shell.topic}" in shell.run(*BACKFILL, brokers=kafka).stderr
    asyncio.run(ensure_topic(kafka, shell.topic, 2))
    result = shell.run(*BACKFILL, brokers=kafka)
    assert result.exit_code == 0
    assert result.stdout.startswith("0 records")
    wrong = shell.run("replay", "--backfill", "--integration", "crm", "--from-offset", "2:0", brokers=kafka)
    assert "has no partition 2, only 0 to 1" in wrong.stderr


def test_a_backfill_from_an_offset_that_does_not_exist_says_what_there_is(shell: Shell, kafka: str):
    asyncio.run(ensure_topic(kafka, f"{shell.app}-routed", 4))
    asyncio.run(ensure_topic(kafka, shell.topic, 1))

    async def put() -> None:
        async with RecordSender(kafka) as sender:
            for _ in range(3):
                await sender.send(shell.topic, 0, None, b"{}")
            await sender.flush()

    asyncio.run(put())
    backfill = ("replay", "--backfill", "--integration", "crm", "--dry-run", "--from-offset")
    beyond = shell.run(*backfill, "0:4", brokers=kafka)
    assert beyond.exit_code == 1
    assert "partition 0 has no offset 4 yet: it begins at 0 and ends before 3" in beyond.stderr
    assert shell.run(*backfill, "0:3", brokers=kafka).stdout.startswith("0 records")
    assert "1 records" in shell.run(*backfill, "0:2", brokers=kafka).stdout


def test_nothing_is_made_by_looking(shell: Shell, kafka: str):
    for command in (["replay", "--all"], ["resume", "crm"], ["ledger", "--hours"], BACKFILL):
        shell.run(*command, brokers=kafka)

    async def topics() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            return [name for name in await admin.list_topics() if name.startswith(shell.app)]
        finally:
            await admin.close()

    assert asyncio.run(topics()) == []


def park(shell: Shell, brokers: str, batches: dict[int, list[Batch]], gone: list[Batch]) -> None:
    """Write the rows of parked ``batches`` by partition and their records, and rows alone of those that are ``gone``."""
    names, now = Names(shell.app), time.time()

    async def write() -> None:
        for topic in (names.pending_changelog("http"), names.parked, names.batches("http")):
            await ensure_topic(brokers, topic, 4)
        async with RecordSender(brokers) as sender:
            rows = [(partition, batch) for partition, those in batches.items() for batch in those]
            for partition, batch in [*rows, *((3, batch) for batch in gone)]:
                row = ParkedRow(ROW_VERSION, batch.end, batch.rest, 0, now, "retries exhausted: 503")
                key = row_key(batch.lane, RowKind.PARKED, batch.first)
                await sender.send(names.pending_changelog("http"), partition, key, encode_row(row))
            for partition, batch in rows:
                for kind in ("email", "http", "http"):
                    record = encode_parked(Parked(encode_batch(batch), kind, "retries exhausted: 503", 4, now))
                    await sender.send(names.parked, partition, None, record)
            await sender.flush()

    asyncio.run(write())


def asked_for(shell: Shell, brokers: str) -> list[tuple[int, bytes, Batch]]:
    """What was asked for: partition, key and batch of each record of the batches topic."""

    async def read() -> list[tuple[int, bytes, Batch]]:
        async with TopicReader(brokers, Names(shell.app).batches("http")) as reader:
            spans = await reader.spans(await reader.partitions())
            return [
                (partition, record.key, decode_batch(record.value))
                async for partition, records in reader.read(spans)
                for record in records
            ]

    return asyncio.run(read())


def test_each_body_is_sent_once_to_its_lanes_partition_and_what_is_gone_is_named(shell: Shell, kafka: str):
    whole = sealed("crm", 0, 100, 1.0)
    part = sealed("crm", 100, 200, 1.0).only(((103, 104), (110, 118)))
    later = sealed("crm~backfill", 0, 10, 1.0)
    park(shell, kafka, {1: [whole, part], 2: [later]}, gone=[sealed("crm~1", 0, 10, 1.0)])
    before = time.time()
    result = shell.run("replay", "--integration", "crm", "--rate", "1000", "--json", "--yes", brokers=kafka)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["batches"], report["events"]) == (4, 129)
    assert report["replayed"] == {"batches": 3, "events": 119, "gone": ["crm~1:0-10"], "stopped": False}
    asked = asked_for(shell, kafka)
    assert {(partition, key, batch.id) for partition, key, batch in asked} == {
        (1, b"crm", "crm:0-100"),
        (1, b"crm", "crm:103-118~9"),
        (2, b"crm~backfill", "crm~backfill:0-10"),
    }
    assert len(asked) == 3
    for _, _, batch in asked:
        original = next(each for each in (whole, part, later) if each.id == batch.id)
        assert batch == msgspec.structs.replace(original, sealed_at=batch.sealed_at, request=Request.REPLAY)
        assert before <= batch.sealed_at <= time.time()


@pytest.mark.parametrize(("typed", "exit_code", "words"), [("n\n", 0, ""), ("", 1, "give --yes")])
def test_nothing_is_sent_unless_somebody_agrees(shell: Shell, kafka: str, typed: str, exit_code: int, words: str):
    park(shell, kafka, {0: [sealed("crm", 0, 10, 1.0)]}, gone=[])
    result = shell.run("replay", "--all", brokers=kafka, typed=typed)
    assert result.exit_code == exit_code
    assert "Replay 1 batches?" in result.stderr
    assert words in result.stderr
    assert "retries exhausted: 503" in result.stdout
    assert asked_for(shell, kafka) == []
