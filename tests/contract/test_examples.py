"""The example receivers, as the programs that they are, against the real sinks."""

import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc

from pipeline.conform.judge import Grade
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.sinks.base import Sink
from pipeline.sinks.registry import spec_of
from tests.contract.test_conform import graded, report_on
from tests.contract.test_every_sink import sink_to

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "receivers"
PROTO = "distributary/eventstream/v1/event_stream.proto"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "QUJD" * 8


@asynccontextmanager
async def example(name: str, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """Run an example program; gives its URL."""
    async with running(name, *arguments, **environment) as (url, _):
        yield url


@asynccontextmanager
async def running(name: str, *arguments: str, **environment: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """Run an example program; gives its URL, and what it prints afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        "--port",
        "0",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        yield line.removeprefix("receiving at ").strip(), process.stdout
    finally:
        process.terminate()
        await process.wait()


async def stats_of(url: str) -> Any:
    def fetch() -> Any:
        with urllib.request.urlopen(f"{url}stats", timeout=5) as answer:
            return json.load(answer)

    return await asyncio.to_thread(fetch)


def batch_of(first: int, count: int, *, lane: str = "crm") -> Batch:
    names = ("Email Sent", "Email Delivered", "Email Opened")
    run = EventRun.of(
        [
            json.dumps(
                {
                    "event_name": names[number % 3],
                    "message_code": "E682-E6D92B9A-53E24868",
                    "platform": "Email",
                    "payload": "Summer \U0001f389",
                    "application_code": "32E5A-9B411",
                    "hwid": f"a{number // 3}@mail.example",
                    "user_id": f"user-{number}",
                    "timestamp": 1_723_798_222 + number,
                    "uuid": f"u-{number}",
                }
            ).encode()
            for number in range(first, first + count)
        ]
    )
    return Batch(lane, first, first + count, SealReason.COUNT, 1.0, 2.0, run.packed_ends(), run.block)


async def delivered(sink: Sink, batch: Batch) -> Outcome:
    outcome = await sink.send(batch, now_s=time.time())
    assert outcome.verdict is Verdict.DELIVERED, outcome
    return outcome


@pytest.mark.parametrize("settings", [{}, {"body": "envelope"}, {"body": "object"}, {"compression": "gzip"}], ids=str)
async def test_the_http_example_keeps_each_event_once_and_finds_gaps(settings: dict[str, Any], tmp_path: Path) -> None:
    database = str(tmp_path / "events.db")
    environment = {"WEBHOOK_SECRETS": f"{OTHER_SECRET} {SECRET}", "WEBHOOK_AUTHORIZATION": "Bearer right"}
    more = {"authorization": "Bearer right", "signing": {"secrets": [SECRET]}, **settings}
    async with (
        example("http_receiver.py", "--database", database, **environment) as url,
        sink_to(spec_of("http"), url, **more) as sink,
    ):
        await delivered(sink, batch_of(0, 30))
        await delivered(sink, batch_of(60, 30))
        assert await stats_of(url) == {"events": 60, "repeats": 0, "gaps": ["crm 30-60"]}
        await delivered(sink, batch_of(30, 30).only(((30, 40), (50, 60))))
        assert (await stats_of(url))["gaps"] == ["crm 40-50"]
        await delivered(sink, batch_of(30, 30))
        await delivered(sink, batch_of(0, 30))
        await delivered(sink, batch_of(0, 5, lane="crm~test"))
        stats = await stats_of(url)
    assert (stats["events"], stats["gaps"]) == (90, [])
    assert stats["repeats"] == (50 if settings.get("body") == "object" else 1)


async def test_the_http_example_keeps_scattered_events_by_their_uuids(tmp_path: Path) -> None:
    scattered = batch_of(0, 3000).only(tuple((number, number + 1) for number in range(0, 3000, 2)))
    async with (
        example("http_receiver.py", "--database", str(tmp_path / "events.db")) as url,
        sink_to(spec_of("http"), url) as sink,
    ):
        for _ in range(2):
            await delivered(sink, scattered)
        assert await stats_of(url) == {"events": 1500, "repeats": 1, "scattered": 1500, "gaps": []}


async def test_the_http_example_remembers_after_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "events.db")
    for _ in range(2):
        async with example("http_receiver.py", "--database", database) as url, sink_to(spec_of("http"), url) as sink:
            if not (await stats_of(url))["events"]:
                await delivered(sink, batch_of(0, 10))
            await delivered(sink, batch_of(0, 10))
            stats = await stats_of(url)
    assert (stats["events"], stats["repeats"]) == (10, 2)


@pytest.mark.parametrize("body", ["array", "object"])
async def test_the_http_example_conforms(body: Any, tmp_path: Path) -> None:
    environment = {"WEBHOOK_SECRETS": SECRET, "WEBHOOK_AUTHORIZATION": "Bearer right"}
    async with example("http_receiver.py", "--database", str(tmp_path / "events.db"), **environment) as url:
        report = await report_on(url, body=body, secret=SECRET, authorization="Bearer right")
    assert report.is_passed, report.as_table()
    assert graded(report, Grade.WARN) == {"transport"}


async def test_the_email_example_keeps_the_last_status() -> None:
    async with example("email_receiver.py") as url, sink_to(spec_of("email"), url, authorization=None) as sink:
        await delivered(sink, batch_of(3, 9))
        await delivered(sink, batch_of(0, 3))
        await delivered(sink, batch_of(0, 2))
        stats = await stats_of(url)
        report = await report_on(url, kind="email")
    counts = {"Email Sent": 4, "Email Delivered": 4, "Email Opened": 4}
    assert stats == {"events": counts, "last": {"Email Opened": 4}, "repeats": 2}
    assert report.is_passed, report.as_table()


async def test_the_xtremepush_example_takes_signed_events_once() -> None:
    settings = {"authorization": None, "platforms": "Email", "channels": "*"}
    auth = {"type": "signed", "secret": "the new secret key", "previous": "the-old-secret-key"}
    async with example("xtremepush_receiver.py", WEBHOOK_SECRETS="the-old-secret-key") as url:
        async with sink_to(spec_of("xtremepush"), url, **settings, auth=auth) as sink:
            await delivered(sink, batch_of(0, 6))
            await delivered(sink, batch_of(0, 3))
        async with sink_to(spec_of("xtremepush"), url, **settings) as sink:
            assert (await sink.send(batch_of(6, 1), now_s=1.0)).status == 401
        stats = await stats_of(url)
        report = await report_on(url, kind="xtremepush", secret="the-old-secret-key")
    counts = {"message_send email": 2, "message_delivery email": 2, "message_open email": 2}
    assert stats == {"events": counts, "repeats": 3}
    assert report.is_passed, report.as_table()


async def test_the_segment_double_takes_each_message_once_and_tells_what_it_does_not_want() -> None:
    spec = spec_of("segment")
    async with example("segment_double.py", SEGMENT_WRITE_KEY="the-key") as url:
        base = url.rstrip("/")
        async with sink_to(spec, base, authorization=None, write_key="the-key") as sink:
            await delivered(sink, batch_of(0, 6))
            await delivered(sink, batch_of(0, 3))
        async with sink_to(spec, base, authorization=None, write_key="another") as sink:
            await sink.send(batch_of(6, 3), now_s=1_800_000_000.0)
        stats = await stats_of(url)
    assert stats["events"] == {"Email Sent": 2, "Email Delivered": 2, "Email Opened": 2}
    assert (stats["repeats"], stats["unwanted"]) == (3, {"an unknown write key": 1})


async def generated(folder: Path) -> None:
    """Put into ``folder`` what the gRPC example imports."""
    made = await asyncio.to_thread(
        protoc.main,
        ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}", PROTO],
    )
    assert made == 0


async def test_the_grpc_example_answers_each_event_and_finds_gaps(tmp_path: Path) -> None:
    await generated(tmp_path)
    environment = {"PYTHONPATH": str(tmp_path), "WEBHOOK_AUTHORIZATION": "Bearer right"}
    settings = {"authorization": "Bearer right", "max_events_per_message": 7}
    arguments = ("--database", str(tmp_path / "events.db"))
    async with (
        running("grpc_receiver.py", *arguments, **environment) as (url, printed),
        sink_to(spec_of("grpc"), url, **settings) as sink,
        sink_to(spec_of("grpc"), url, authorization="Bearer wrong") as stranger,
    ):
        told = []
        for batch in (batch_of(0, 30), batch_of(60, 30), batch_of(0, 30), batch_of(30, 30).only(((30, 40), (50, 60)))):
            await delivered(sink, batch)
            told.append(json.loads(await asyncio.wait_for(printed.readline(), 20)))
        refused = await stranger.send(batch_of(30, 30), now_s=time.time())
    assert [(one["events"], one["repeats"], one["gaps"]) for one in told] == [
        (30, 0, []),
        (60, 0, ["crm 30-60"]),
        (60, 30, ["crm 30-60"]),
        (80, 0, ["crm 40-50"]),
    ]
    assert (refused.verdict, refused.hint) == (Verdict.REFUSED, Hint.UNAUTHORIZED)


async def test_receivers_that_share_a_folder_keep_their_events_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await generated(tmp_path)
    async with (
        example("http_receiver.py", WEBHOOK_SECRETS=SECRET),
        example("grpc_receiver.py", PYTHONPATH=str(tmp_path)),
    ):
        made = {name for name in os.listdir(tmp_path) if name.endswith(".db")}  # noqa: PTH208  pathlib blocks too
    assert made == {"http-events.db", "grpc-events.db"}
