import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.receiver.manners import Manners
from pipeline.receiver.receiver import Receiver


@asynccontextmanager
async def receiving(**settings: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**settings)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


def delivery(first: int = 0, end: int = 2, path: str = "/", body: bytes | None = None, **changed: str | None) -> bytes:
    """A proper request, but for what is ``changed`` (``None`` leaves a header out)."""
    if body is None:
        body = json.dumps([{"uuid": f"u-{number}"} for number in range(first, end)]).encode()
    headers = {
        "content-type": "application/json",
        "webhook-id": f"crm:{first}-{end}",
        "webhook-timestamp": "1700000000",
        "distributary-sequence": f"crm {first}-{end}",
        "content-length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def talk(receiver: Receiver, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the requests on one connection, all at once, and read as many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    try:
        writer.write(b"".join(requests))
        async with asyncio.timeout(5):
            return [await read_answer(reader) for _ in requests]
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def test_a_proper_delivery_is_taken_and_counted() -> None:
    async with receiving() as receiver:
        ((status, _, body),) = await talk(receiver, delivery())
        assert (status, body) == (200, b"ok")
        stats = receiver.stats()
    assert (stats["requests"], stats["batches"], stats["events"], stats["unique_uuids"]) == (1, 1, 2, 2)
    assert (stats["statuses"], stats["problems"]) == ({"200": 1}, {})


async def test_requests_may_follow_each_other_on_one_connection_and_come_in_pieces() -> None:
    stream = b"".join(delivery(first, first + 2) for first in range(0, 20, 2))
    async with receiving() as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        for start in range(0, len(stream), 97):
            writer.write(stream[start : start + 97])
            await writer.drain()
            await asyncio.sleep(0)
        for _ in range(10):
            assert (await read_answer(reader))[0] == 200
        writer.close()
        assert (receiver.stats()["unique_events"], receiver.stats()["missing_events"]) == (20, 0)


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (delivery(webhook_id=None), "webhook-id"),
        (delivery(webhook_id="crm:0-3"), "webhook-id"),
        (delivery(distributary_sequence=None), "sequence"),
        (delivery(distributary_sequence="crm 2-2"), "sequence"),
        (delivery(distributary_sequence="crm zero-two"), "sequence"),
        (delivery(webhook_timestamp=None), "timestamp"),
        (delivery(content_type="text/plain"), "content-type"),
        (delivery(body=b'[{"uuid":"a"},{"uuid":"b"'), "json"),
        (delivery(body=b'[{"uuid":"a"},{"uuid":["b"]}]'), "json"),
        (delivery(body=b"[1,2]"), "json"),
        (delivery(body=b'[{"uuid":"\xff"},{}]'), "json"),
        (delivery(body=b'[{"uuid":"a"}]'), "count"),
        (delivery(body=b'{"batch":"crm:0-1","events":[{},{}]}'), "envelope"),
        (delivery(content_encoding="br"), "content-encoding"),
        (delivery(content_encoding="gzip"), "content-encoding"),
        (delivery(content_encoding="gzip", body=gzip.compress(b"[{},{}]")[:-6]), "content-encoding"),
        (delivery(path="/stall/long"), "path"),
    ],
)  # fmt: skip
async def test_an_improper_delivery_is_refused_and_counted(request_bytes: bytes, reason: str) -> None:
    async with receiving() as receiver:
        ((status, _, _),) = await talk(receiver, request_bytes)
        assert status == (404 if reason == "path" else 400)
        assert (receiver.stats()["problems"], receiver.stats()["batches"]) == ({reason: 1}, 0)


@pytest.mark.parametrize(
    "request_bytes",
    [
        delivery(0, 1, body=b'{"uuid":"a"}'),
        delivery(body=b'{"batch":"crm:0-2","lane":"crm","first":0,"end":2,"events":[{"uuid":"a"},{"uuid":7}]}'),
        delivery(body=gzip.compress(b'[{"uuid":"a"},{}]'), content_encoding="gzip"),
        delivery(content_type="application/json; charset=utf-8"),
    ],
    ids=["object", "envelope", "gzip", "charset"],
)
async def test_every_kind_of_body_is_read(request_bytes: bytes) -> None:
    async with receiving() as receiver:
        ((status, _, body),) = await talk(receiver, request_bytes)
        assert (status, body) == (200, b"ok")


async def test_without_verifying_events_are_counted_by_the_header_alone() -> None:
    async with receiving(verify=False) as receiver:
        answers = await talk(receiver, delivery(0, 50, body=b"not json"), delivery(60, 100, body=b"x" * 300_000))
        assert [status for status, _, _ in answers] == [200, 200]
        stats = receiver.stats()
    assert (stats["events"], stats["missing_events"], stats["bytes"], stats["unique_uuids"]) == (90, 10, 300_008, 0)


async def test_what_came_is_recorded_before_it_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "record.tsv"
    path.write_text("from before\n")
    async with receiving(record=path) as receiver:
        await talk(receiver, delivery(0, 2))
        assert path.read_text() == "from before\ncrm:0-2\tu-0\tu-1\n"
        await talk(
            receiver, delivery(0, 2), delivery(2, 4, body=b'[{"uuid":"a\\tb\\n"},{}]'), delivery(path="/fail/503")
        )
        assert path.read_text().splitlines()[2:] == ["crm:0-2\tu-0\tu-1", "crm:2-4\ta?b?\t-"]


async def test_stats_and_health_are_served_and_stats_begin_anew_when_told() -> None:
    async with receiving() as receiver:
        await talk(receiver, delivery())
        ((_, headers, body),) = await talk(receiver, b"GET /stats HTTP/1.1\r\n\r\n")
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["batches"] == 1
        ((_, _, body),) = await talk(receiver, b"DELETE /stats HTTP/1.1\r\n\r\n")
        assert json.loads(body)["batches"] == 0
        ((status, _, body),) = await talk(receiver, b"GET /health HTTP/1.1\r\n\r\n")
        assert (status, json.loads(body)) == (200, {"status": "ok"})
        ((status, _, body),) = await talk(receiver, b"GET / HTTP/1.1\r\n\r\n")
        assert (status, "POST /never" in json.loads(body)) == (200, True)
        assert (await talk(receiver, b"GET /nowhere HTTP/1.1\r\n\r\n"))[0][0] == 404


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (delivery(content_length=None, transfer_encoding="chunked"), 411),
        (delivery(content_length="-1"), 400),
        (delivery(content_length="99999999999"), 413),
        (b"HELLO\r\n\r\n", 400),
        (b"GET / SMTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
    ],
)
async def test_what_it_does_not_understand_is_answered_and_hung_up(request_bytes: bytes, status: int) -> None:
    async with receiving() as receiver:
        assert (await talk(receiver, request_bytes))[0][0] == status


async def test_a_caller_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    whole = delivery(expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    async with receiving() as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(head + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_share_of_requests_fails() -> None:
    async with receiving(manners=Manners(fail_share=0.3, fail_status=502), seed=1) as receiver:
        answers = await talk(receiver, *[delivery(first, first + 1) for first in range(200)])
        failed = sum(status == 502 for status, _, _ in answers)
        assert 40 <= failed <= 80
        assert receiver.stats()["events"] == 200 - failed


async def test_a_throttle_lets_some_pass_and_tells_the_others_when_to_come_back() -> None:
    async with receiving() as receiver:
        answers = await talk(receiver, *[delivery(first, first + 1, "/throttle/5") for first in range(20)])
        statuses = [status for status, _, _ in answers]
        assert 5 <= statuses.count(200) <= 8
        assert {headers["retry-after"] for status, headers, _ in answers if status == 429} == {"1"}


async def test_a_stall_answers_late_and_counts_nothing_for_who_has_left() -> None:
    async with receiving() as receiver:
        assert (await talk(receiver, delivery(path="/stall/0.05")))[0][0] == 200
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(delivery(2, 4, path="/stall/0.2"))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.3)
        assert receiver.stats()["batches"] == 1


async def test_a_large_answer_is_as_large_as_asked_for() -> None:
    async with receiving() as receiver:
        ((_, _, body), (status, _, _)) = await talk(receiver, delivery(path="/large/3000000"), delivery(2, 4))
        assert (len(body), status) == (3_000_000, 200)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/reset", rb""),
        ("/garbage", rb".*not HTTP.*"),
        ("/redirect/a", rb"HTTP/1\.1 302 .*Location: /redirect/a\r\n.*"),
        ("/drip", rb"HTTP/1\.1 200 .*\r\n\r\nx"),
    ],
)
async def test_bad_endings_are_as_bad_as_asked_for(path: str, pattern: bytes) -> None:
    async with receiving() as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(delivery(path=path))
        try:
            answer = await asyncio.wait_for(reader.read(10_000), 20)
            if answer.endswith(b"\r\n\r\n") and path == "/drip":
                answer += await asyncio.wait_for(reader.read(1), 20)
        except ConnectionResetError:
            answer = b""
        writer.close()
        assert re.fullmatch(pattern, answer, re.DOTALL)


async def test_never_is_never() -> None:
    async with receiving() as receiver:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await talk(receiver, delivery(path="/never"))


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with receiving() as receiver:
        with pytest.raises(OSError, match="address already in use"):
            await Receiver(port=receiver.port).start()


async def test_a_partial_answer_names_the_failed_events_and_takes_only_the_others() -> None:
    async with receiving(seed=3) as receiver:
        ((status, headers, body),) = await talk(receiver, delivery(0, 100, "/partial/0.3"))
        failed = json.loads(body)["failed"]
        stats = receiver.stats()
    assert (status, headers["content-type"]) == (200, "application/json")
    assert 10 < len(failed) < 60
    assert (stats["failed_events"], stats["events"], stats["unique_uuids"]) == (
        len(failed),
        100 - len(failed),
        100 - len(failed),
    )


async def test_what_fails_whole_is_not_counted_as_received() -> None:
    async with receiving() as receiver:
        await talk(receiver, delivery(path="/partial/1"))
        assert (receiver.stats()["batches"], receiver.stats()["failed_events"]) == (0, 2)
        await talk(receiver, delivery())
        assert (receiver.stats()["batches"], receiver.stats()["duplicate_batches"]) == (1, 0)


@pytest.mark.parametrize("sent", [None, "Bearer other", "Bearer \xe9"])
async def test_a_request_without_the_agreed_authorization_is_refused(sent: str | None) -> None:
    async with receiving(authorization="Bearer right") as receiver:
        good, bad = await talk(receiver, delivery(authorization="Bearer right"), delivery(authorization=sent))
        assert (good[0], bad[0]) == (200, 401)
        assert receiver.stats()["problems"] == {"authorization": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "smoke"}, "smoke is not one of http"),
        ({"secrets": ["secret"]}, "whsec_"),
        ({"secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "verify": False}, "exclude each other"),
        ({"kind": "email", "secrets": ["secret"]}, "not signed"),
        ({"kind": "segment", "secrets": ["secret"]}, "not signed"),
        ({"kind": "segment", "verify": False}, "cannot be counted"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Receiver(**settings)
