"""Answers that take a batch but for some of its events, over real sockets."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from pipeline.model.attempt import Outcome, Verdict
from pipeline.sinks.http import SPEC
from tests.contract.test_every_sink import NOW_S, SECRET, batch_of, sink_to
from tests.support.endpoint import Answering, Seen, in_turn, raw, reply, serving


def naming(*entries: Any, status: int = 200, **headers: str) -> Answering:
    return reply(status, json.dumps({"failed": entries}).encode(), **headers)


async def outcome_of(answer: Answering, count: int = 10, **settings: Any) -> Outcome:
    async with serving(answer) as endpoint, sink_to(SPEC, endpoint.url(), **settings) as sink:
        return await sink.send(batch_of(count, first=100), now_s=NOW_S)


@pytest.mark.parametrize("body", ["array", "envelope"])
async def test_what_the_answer_names_is_tried_again_alone(body: str) -> None:
    async with serving(in_turn(naming("u-103", "u-107"), reply(200))) as endpoint:
        async with sink_to(SPEC, endpoint.url(), body=body) as sink:
            outcome = await sink.send(batch_of(10, first=100), now_s=NOW_S)
            assert (outcome.verdict, outcome.status) == (Verdict.RETRY, 200)
            assert outcome.arrived == ((100, 103), (104, 107), (108, 110))
            assert outcome.detail == ("the endpoint answered 200 OK, and 2 of 10 events failed, the first: event 103")
            rest = batch_of(10, first=100).only(((103, 104), (107, 108)))
            assert (await sink.send(rest, now_s=NOW_S)).verdict is Verdict.DELIVERED
        again = json.loads(endpoint.seen[1].body)
    assert [each["uuid"] for each in (again if body == "array" else again["events"])] == ["u-103", "u-107"]


async def test_an_entry_may_say_why() -> None:
    outcome = await outcome_of(naming({"uuid": "u-104", "detail": "no such\ncustomer " + "x" * 500}))
    assert outcome.arrived == ((100, 104), (105, 110))
    assert "event 104: no such customer xxx" in outcome.detail
    assert "\n" not in outcome.detail
    assert len(outcome.detail) < 250


async def test_a_secret_in_a_reason_is_masked() -> None:
    outcome = await outcome_of(naming({"uuid": "u-104", "detail": f"{SECRET} is wrong"}, f"{SECRET}"))
    assert "s3cret" not in outcome.detail
    assert "***" in outcome.detail


async def test_all_may_fail() -> None:
    outcome = await outcome_of(naming(*(f"u-{number}" for number in range(100, 110)), Retry_After="30"))
    assert (outcome.verdict, outcome.arrived, outcome.retry_after_s) == (Verdict.RETRY, (), 30.0)


async def test_names_that_were_not_sent_are_mentioned() -> None:
    outcome = await outcome_of(naming("u-1", "u-104", None, {"detail": "?"}))
    assert outcome.arrived == ((100, 104), (105, 110))
    assert "it names 1 that were not sent, the first: u-1" in outcome.detail
    assert "2 of its entries name no uuid" in outcome.detail


@pytest.mark.parametrize(
    ("entry", "note"),
    [("U-104", "it names 1 that were not sent, the first: U-104"), ({"id": "u-104"}, "1 of its entries name no uuid")],
)
async def test_where_nothing_that_is_named_was_sent_all_are_tried_again(entry: Any, note: str) -> None:
    outcome = await outcome_of(naming(entry, Retry_After="30"))
    assert (outcome.verdict, outcome.arrived, outcome.retry_after_s) == (Verdict.RETRY, (), 30.0)
    words = "names failed events, none of which was sent: all are tried again"
    assert outcome.detail == f"the endpoint answered 200 OK, and {words}; {note}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b'{"failed": []}',
        b'{"failed": null}',
        b'{"failed": 3}',
        b'{"failed": "u-104"}',
        b'["u-104"]',
        b'{"errors": ["u-104"]}',
        b'failed: "u-104"',
        b"<html>\xff",
    ],
)
async def test_any_other_body_means_that_nothing_failed(body: bytes) -> None:
    outcome = await outcome_of(reply(200, body))
    assert (outcome.verdict, outcome.detail) == (Verdict.DELIVERED, "the endpoint answered 200 OK")


@pytest.mark.parametrize(
    "body",
    [
        b'{"failed": ["u-104"',
        b'{"failed": ' + b"[" * 20_000,
        b'{"failed": ["\xff"]}',
        b'{"failed": [{"uuid": "u-104", "detail": "caf\xe9"}]}',
        b'{"failed": ["u-104"], "rate": NaN}',
        b'{"failed": ["u-104"]} // one',
        b'{"failed": ["u-104"], "detail": "\\ud83d"}',
    ],
)
async def test_failures_that_are_named_in_what_is_no_json_make_all_be_tried_again(body: bytes) -> None:
    outcome = await outcome_of(reply(200, body))
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ())
    assert outcome.detail.endswith("names failed events in what is no JSON: all are tried again")


async def test_a_byte_order_mark_hides_no_failure() -> None:
    outcome = await outcome_of(reply(200, b"\xef\xbb\xbf" + b'{"failed": ["u-104"]}'))
    assert outcome.verdict is Verdict.RETRY
    assert outcome.arrived == ((100, 104), (105, 110))


@pytest.mark.parametrize("status", [400, 503])
async def test_only_a_success_names_failed_events(status: int) -> None:
    assert (await outcome_of(naming("u-104", status=status))).arrived == ()


async def test_object_tries_a_failed_event_again() -> None:
    answers = in_turn(reply(200), naming("u-101"), reply(200))
    async with serving(answers) as endpoint, sink_to(SPEC, endpoint.url(), body="object", ordered=True) as sink:
        outcome = await sink.send(batch_of(3, first=100), now_s=NOW_S)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((100, 101),))


def chunked(body: bytes) -> Answering:
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def slowly(body: bytes) -> Answering:
    async def answer(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[:10]))
        await writer.drain()
        await asyncio.sleep(0.1)  # so that the client has seen the head by itself
        writer.write(body[10:])

    return answer


every_framing = pytest.mark.parametrize(
    "framed", [lambda body: reply(200, body), chunked, slowly], ids=["announced", "chunked", "in two pieces"]
)


@every_framing
async def test_a_long_list_is_read_up_to_64_kib(framed: Any) -> None:
    names = [f"u-{number}" for number in range(100, 5100)]
    body = json.dumps({"failed": names}).encode()
    assert 4 * 1024 < len(body) < 64 * 1024
    outcome = await outcome_of(framed(body), count=5001)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ((5100, 5101),))


@every_framing
async def test_a_list_beyond_that_makes_all_be_tried_again(framed: Any) -> None:
    body = json.dumps({"failed": [f"u-{number}" for number in range(100, 9100)]}).encode()
    assert len(body) > 64 * 1024
    outcome = await outcome_of(framed(body))
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ())
    assert outcome.detail.endswith("names failed events in more than was read of it: all are tried again")


@every_framing
async def test_it_does_so_wherever_it_begins(framed: Any) -> None:
    told = {"accepted": ["x" * 10_000], "failed": [f"u-{number}" for number in range(100, 9100)]}
    outcome = await outcome_of(framed(json.dumps(told).encode()))
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ())


@pytest.mark.parametrize("end", ['"failed"', '"failed": ', '"failed": [', '"failed": [ "'])
async def test_a_list_that_breaks_off_as_it_begins_makes_all_be_tried_again(end: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    outcome = await outcome_of(raw(head + b'{"accepted": 9, ' + end.encode(), then_close=True))
    assert outcome.verdict is Verdict.RETRY


@pytest.mark.parametrize("told", ['"failed": [], "echo": "', '"failed": 0, "echo": "', '"echo": "\\"failed\\": [1'])
async def test_a_long_answer_that_names_nothing_is_a_delivery(told: str) -> None:
    outcome = await outcome_of(reply(200, b"{" + told.encode() + b"x" * 100_000))
    assert outcome.verdict is Verdict.DELIVERED


async def test_a_list_that_breaks_off_makes_all_be_tried_again() -> None:
    broken = raw(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"failed": ["u-103", ', then_close=True)
    outcome = await outcome_of(broken)
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ())


async def test_another_long_answer_is_a_delivery() -> None:
    assert (await outcome_of(reply(200, b'{"echo": "' + b"x" * 100_000))).verdict is Verdict.DELIVERED


async def test_one_uuid_on_two_events_fails_both() -> None:
    async with serving(naming("u-1")) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        twice = batch_of(2, first=0)
        same = type(twice)(
            "crm", 0, 2, twice.reason, twice.opened_at, twice.sealed_at, twice.ends, twice.block.replace(b"u-0", b"u-1")
        )
        assert (await sink.send(same, now_s=NOW_S)).arrived == ()


FAILED_104 = json.dumps({"failed": ["u-104"]}).encode()


async def test_an_answer_that_is_gzip_all_the_same_is_read() -> None:
    outcome = await outcome_of(reply(200, gzip.compress(FAILED_104), Content_Encoding="gzip"))
    assert outcome.arrived == ((100, 104), (105, 110))
    assert outcome.answer_head == FAILED_104.decode()


@pytest.mark.parametrize("content", [FAILED_104[:-2] + b"," + b" " * (1 << 20) + b'"u-105"]}', b'{"failed": ["u-104'])
async def test_a_gzip_answer_that_is_too_long_or_broken_off_names_nobody_for_certain(content: bytes) -> None:
    packed = gzip.compress(content) if content.endswith(b"}") else gzip.compress(content)[:-8]
    outcome = await outcome_of(reply(200, packed, Content_Encoding="x-gzip"))
    assert (outcome.verdict, outcome.arrived) == (Verdict.RETRY, ())


@pytest.mark.parametrize(
    ("encoding", "body"), [("br", b"\x0b\x02\x80"), ("gzip", b"no gzip"), ("gzip, br", b"\x0b\x02")]
)
async def test_an_answer_packed_in_another_way_is_a_delivery_whose_detail_says_that_it_was_not_read(
    encoding: str, body: bytes
) -> None:
    outcome = await outcome_of(reply(200, body, Content_Encoding=encoding))
    assert outcome.verdict is Verdict.DELIVERED
    assert f"packed as {encoding} though it was asked not to be" in outcome.detail


async def test_an_empty_answer_is_not_called_packed() -> None:
    assert (await outcome_of(reply(200, Content_Encoding="br"))).detail == "the endpoint answered 200 OK"
