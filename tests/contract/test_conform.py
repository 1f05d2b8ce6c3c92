"""``distributary conform`` against receivers over real sockets: good ones pass, and each fault is found."""

import json
from typing import Any

import pytest

from pipeline.conform.compose import Composer
from pipeline.conform.forms import Body, form_of
from pipeline.conform.judge import Grade
from pipeline.conform.report import Report
from pipeline.conform.run import Sender, conform
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.receiver.receiver import Receiver
from tests.support.endpoint import Answering, Seen, raw, reply, reset, serving, silence

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "Bearer s3cret-t0ken"


async def report_on(
    url: str,
    *,
    kind: str = "http",
    body: Body = "array",
    secret: str | None = None,
    authorization: str | None = None,
    timeout_s: float = 3.0,
    max_s: float = 60.0,
) -> Report:
    client = HttpClient(AddressGuard(("127.0.0.0/8",)))
    await client.open()
    try:
        composer = Composer(form_of(kind, body=body, secret=secret), "0a1b", authorization)
        sender = Sender(client, client.endpoint(url, timeout_s=timeout_s), [secret or "", authorization or ""])
        return await conform(composer, sender.send, origin="http://127.0.0.1", max_s=max_s)
    finally:
        await client.close()


async def report_on_receiver(*, path: str = "", settings: dict[str, Any] | None = None, **how: Any) -> Report:
    receiver = Receiver(**(settings or {}))
    await receiver.start()
    try:
        return await report_on(receiver.url + path, **how)
    finally:
        await receiver.stop()


def graded(report: Report, grade: Grade) -> set[str]:
    return {line.name for line in report.lines if line.grade is grade}


@pytest.mark.parametrize("body", ["array", "envelope", "object"])
async def test_the_projects_own_receiver_passes(body: Body) -> None:
    how: dict[str, Any] = {"body": body, "authorization": TOKEN}
    report = await report_on_receiver(settings={"authorization": TOKEN, "check_fields": True}, **how)
    assert report.is_passed, report.as_table()
    assert graded(report, Grade.WARN) == {"transport"}
    assert graded(report, Grade.SKIP) == {"signatures"}


async def test_the_projects_own_receiver_verifies_signatures() -> None:
    report = await report_on_receiver(settings={"secrets": [SECRET]}, secret=SECRET)
    assert report.is_passed, report.as_table()
    assert (graded(report, Grade.WARN), graded(report, Grade.SKIP)) == ({"transport"}, {"Authorization"})


@pytest.mark.parametrize(
    ("kind", "secret"), [("email", None), ("xtremepush", None), ("xtremepush", "a secret of some length")]
)
async def test_the_projects_receivers_of_other_kinds_pass(kind: str, secret: str | None) -> None:
    settings = {"kind": kind, "secrets": [secret] if secret else []}
    report = await report_on_receiver(settings=settings, kind=kind, secret=secret)
    assert report.is_passed, report.as_table()
    assert graded(report, Grade.WARN) == {"transport"}


async def test_a_receiver_that_looks_at_nothing_is_found_out() -> None:
    async with serving(reply(200)) as endpoint:
        report = await report_on(endpoint.url(), secret=SECRET, authorization=TOKEN)
    assert graded(report, Grade.FAIL) == {
        "no signature",
        "a wrong signature",
        "another body's signature",
        "an old timestamp",
        "a future timestamp",
        "no Authorization",
        "a wrong Authorization",
    }
    assert graded(report, Grade.WARN) == {"transport", "not JSON"}


def refusing(is_refused: Any, status: int = 409) -> Answering:
    async def answer(seen: Seen, writer: Any) -> None:
        await reply(status if is_refused(seen) else 200, b"not this one")(seen, writer)

    return answer


def known_ids() -> Any:
    names: set[str] = set()

    def is_known(seen: Seen) -> bool:
        name = seen.headers["webhook-id"]
        return name in names or bool(names.add(name))

    return is_known


def falling_back() -> Any:
    highest = -1

    def is_behind(seen: Seen) -> bool:
        nonlocal highest
        first = int(seen.headers["distributary-sequence"].split()[1].partition("-")[0])
        is_lower = first < highest
        highest = max(highest, first)
        return is_lower

    return is_behind


@pytest.mark.parametrize(
    ("is_refused", "status", "failed"),
    [
        (known_ids, 409, {"the same again", "the same, tried later", "the same twice at once"}),
        (falling_back, 409, {"in another order"}),
        (lambda: lambda seen: "~3" in seen.headers["webhook-id"], 400, {"a part of a batch"}),
        (lambda: lambda seen: b"\xf0\x9f\x8e\x89" in seen.body, 400, {"unicode"}),
        (lambda: lambda seen: b"18446744073709" in seen.body, 500, {"large numbers"}),
        (lambda: lambda seen: b"added_later" in seen.body, 422, {"unknown fields"}),
        (lambda: lambda seen: b'"payload":""' in seen.body, 400, {"empty fields"}),
    ],
    ids=["duplicates", "order", "parts", "emoji", "large numbers", "unknown fields", "empty texts"],
)
async def test_what_a_receiver_cannot_bear_is_named(is_refused: Any, status: int, failed: set[str]) -> None:
    async with serving(refusing(is_refused(), status)) as endpoint:
        report = await report_on(endpoint.url())
    assert graded(report, Grade.FAIL) == failed
    assert not report.is_passed


async def test_what_settings_can_avoid_is_a_warning() -> None:
    def is_large_or_packed(seen: Seen) -> bool:
        return len(seen.body) > 500_000

    async with serving(refusing(is_large_or_packed, 413)) as endpoint:
        report = await report_on(endpoint.url())
    assert "a large body" in graded(report, Grade.WARN)
    assert report.is_passed
    async with serving(refusing(lambda seen: "content-encoding" in seen.headers, 415)) as endpoint:
        report = await report_on(endpoint.url())
    assert "gzip" in graded(report, Grade.WARN)


async def test_secrets_that_are_sent_back_are_not_shown() -> None:
    async with serving(reply(400, f"{TOKEN} {SECRET}".encode())) as endpoint:
        report = await report_on(endpoint.url(), secret=SECRET, authorization=TOKEN)
    for text in (report.as_table(), report.as_json()):
        assert "s3cret" not in text
        assert "MfKQ9r8" not in text
    assert "***" in report.as_table()


@pytest.mark.parametrize(
    "answer",
    [reply(500), reply(401), reply(307, Location="/"), silence(), reset(), raw(b"garbage\r\n\r\n", then_close=True)],
    ids=["500", "401", "redirect", "silence", "reset", "garbage"],
)
async def test_where_nothing_good_is_taken_nothing_else_is_tried(answer: Answering) -> None:
    async with serving(answer) as endpoint:
        report = await report_on(endpoint.url(), timeout_s=0.2)
        assert report.requests == len(endpoint.seen) == 1
    assert graded(report, Grade.FAIL) == {"a plain delivery"}
    assert graded(report, Grade.PASS) == set()
    assert not report.is_passed


async def test_the_time_for_the_whole_run_is_bounded() -> None:
    report = await report_on_receiver(path="stall/0.2", max_s=0.5)
    assert report.duration_s < 2
    assert report.was_cut_short
    assert not report.is_passed
    assert any("used up" in line.advice for line in report.lines)


async def test_failed_events_in_answers_are_a_warning() -> None:
    report = await report_on_receiver(path="partial/0.5", settings={"seed": 1})
    assert "named as failed" in graded(report, Grade.WARN)


async def test_the_report_is_json_too() -> None:
    content = json.loads((await report_on_receiver()).as_json())
    assert (content["passed"], content["kind"]) == (True, "http")
    assert {check["grade"] for check in content["checks"]} <= {"pass", "warn", "skip"}
