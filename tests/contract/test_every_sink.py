"""What every sink that speaks HTTP does with every kind of endpoint, over real sockets.

A new kind joins by being in the registry; only its settings may need a line in ``settings_of``.
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme

from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch, SealReason
from pipeline.model.events import EventRun
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.sinks.base import Leaving, Sink, SinkContext, SinkSpec
from pipeline.sinks.registry import SINKS
from tests.support.closed_port import closed_port
from tests.support.endpoint import Answering, endless, in_turn, raw, reply, reset, serving, silence

NOW_S = 1_700_000_000.5
SECRET = "Bearer s3cret-t0ken"
LOOPBACK = ("127.0.0.0/8", "::1/128")


def event(**fields: Any) -> bytes:
    """An event that every kind of sink can send."""
    usual = {
        "event_name": "Email Opened",
        "message_code": "E682-E6D92B9A-53E24868",
        "platform": "Email",
        "application_code": "32E5A-9B411",
        "hwid": "ana@mail.example",
        "user_id": "1894410",
        "timestamp": 1_700_000_000,
    }
    return json.dumps(usual | fields, separators=(",", ":"), ensure_ascii=False).encode()


def batch_of(count: int, *, first: int = 0, lane: str = "crm", padding: str = "") -> Batch:
    run = EventRun.of([event(uuid=f"u-{number}{padding}") for number in range(first, first + count)])
    return Batch(lane, first, first + count, SealReason.COUNT, NOW_S - 1, NOW_S, run.packed_ends(), run.block)


OF_KIND: dict[str, dict[str, Any]] = {
    "email": {"platforms": "Email"},
    "xtremepush": {"channels": "*"},
    "segment": {"authorization": None, "write_key": SECRET.split()[1]},
}
"""What the settings of a kind need besides."""

AUTHORIZATION_OF_KIND = {"segment": "Basic " + base64.b64encode(f"{SECRET.split()[1]}:".encode()).decode()}
"""What the secret looks like on the way, where it is not sent as it is."""

SENT_AT = re.compile(rb'"sentAt": "[^"]*"')
"""The time of the try, where a kind's body holds it."""

ONE_BY_ONE = {"email", "xtremepush"}
"""The kinds that send each event in a request of its own, whatever their settings."""


def request_of(spec: SinkSpec, first: int = 0) -> Batch:
    """Events that ``spec`` sends as one request."""
    return batch_of(1 if spec.kind in ONE_BY_ONE else 3, first=first)


def settings_of(spec: SinkSpec, url: str, **more: Any) -> Any:
    return spec.settings.model_validate(
        {
            "id": "crm",
            "kind": spec.kind,
            "url": url,
            "events": "*",
            "platforms": "*",
            "authorization": SECRET,
            "timeout_s": 5.0,
        }
        | OF_KIND.get(spec.kind, {})
        | more
    )


@asynccontextmanager
async def sink_to(
    spec: SinkSpec,
    url: str,
    *,
    allow: tuple[str, ...] = LOOPBACK,
    connect_timeout_s: float = 2.0,
    leaving: Leaving | None = None,
    **more: Any,
) -> AsyncIterator[Sink]:
    client = HttpClient(AddressGuard(allow), connect_timeout_s=connect_timeout_s)
    await client.open()
    try:
        context = SinkContext(client, "Distributary/test", leaving or Leaving())
        sink = spec.make(settings_of(spec, url, **more), context)
        await sink.open()
        yield sink
        await sink.close()
    finally:
        await client.close()


async def outcome_of(spec: SinkSpec, answer: Answering, **more: Any) -> Outcome:
    async with serving(answer) as endpoint, sink_to(spec, endpoint.url(), **more) as sink:
        return await sink.send(request_of(spec), now_s=NOW_S)


HTTP_SINKS = [spec for spec in SINKS if "https" in spec.settings.url_schemes]
every_sink = pytest.mark.parametrize("spec", HTTP_SINKS, ids=lambda spec: spec.kind)


@every_sink
async def test_a_2xx_delivers_the_batch(spec: SinkSpec) -> None:
    outcome = await outcome_of(spec, reply(202, b"thanks"))
    assert (outcome.verdict, outcome.status, outcome.answer_head) == (Verdict.DELIVERED, 202, "thanks")
    assert outcome.detail == "the endpoint answered 202 Accepted"
    assert outcome.request_bytes > 100
    assert outcome.answer_bytes == 6
    assert 0 < outcome.duration_s < 5


@every_sink
@pytest.mark.parametrize("status", [300, 302, 308, 400, 401, 403, 404, 410, 413, 422, 451])
async def test_other_3xx_and_4xx_refuse_the_batch(spec: SinkSpec, status: int) -> None:
    outcome = await outcome_of(spec, reply(status, Retry_After="7"))
    assert (outcome.verdict, outcome.status, outcome.retry_after_s) == (Verdict.REFUSED, status, None)
    assert str(status) in outcome.detail


@every_sink
@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 520, 599])
async def test_a_passing_trouble_asks_for_another_try(spec: SinkSpec, status: int) -> None:
    outcome = await outcome_of(spec, reply(status, b"later"))
    assert (outcome.verdict, outcome.status, outcome.retry_after_s) == (Verdict.RETRY, status, None)
    assert str(status) in outcome.detail


@every_sink
@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_a_pause_in_seconds_is_passed_on(spec: SinkSpec, status: int) -> None:
    assert (await outcome_of(spec, reply(status, Retry_After="17"))).retry_after_s == 17.0


@every_sink
@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_a_pause_as_a_date_is_passed_on(spec: SinkSpec, status: int) -> None:
    until = datetime.fromtimestamp(NOW_S, UTC).replace(microsecond=0) + timedelta(seconds=60)
    outcome = await outcome_of(spec, reply(status, Retry_After=format_datetime(until, usegmt=True)))
    assert outcome.retry_after_s == pytest.approx(60 - NOW_S % 1)


@every_sink
async def test_an_endpoint_that_never_answers_times_out(spec: SinkSpec) -> None:
    outcome = await outcome_of(spec, silence(), timeout_s=0.2)
    assert outcome.is_unanswered
    assert (outcome.verdict, outcome.status, outcome.detail) == (Verdict.RETRY, None, "no answer within 0.2 s")
    assert 0.2 <= outcome.duration_s < 2


@every_sink
async def test_headers_that_drip_time_out(spec: SinkSpec) -> None:
    drip = endless(b"x", first=b"HTTP/1.1 200 OK\r\nX-Slow: ", pause_s=0.02)
    outcome = await outcome_of(spec, drip, timeout_s=0.3)
    assert (outcome.verdict, outcome.detail) == (Verdict.RETRY, "no answer within 0.3 s")


@every_sink
async def test_a_status_counts_although_the_body_after_it_never_comes(spec: SinkSpec) -> None:
    begun = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    outcome = await outcome_of(spec, begun, timeout_s=0.3)
    assert (outcome.verdict, outcome.status, outcome.answer_head) == (Verdict.DELIVERED, 200, "half")
    assert outcome.duration_s < 2


@every_sink
async def test_a_status_counts_although_the_body_drips_for_ever(spec: SinkSpec) -> None:
    drip = endless(b"1\r\nx\r\n", first=b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", pause_s=0.02)
    outcome = await outcome_of(spec, drip, timeout_s=0.3)
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, 500)
    assert outcome.answer_head.startswith("xxx")
    assert outcome.duration_s < 2


@every_sink
async def test_a_reset_in_the_middle_of_the_answers_body_leaves_the_status(spec: SinkSpec) -> None:
    outcome = await outcome_of(spec, reset(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    assert (outcome.verdict, outcome.status) == (Verdict.DELIVERED, 200)


@every_sink
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 O"], ids=["before the answer", "in the status line"])
async def test_a_reset_before_the_status_asks_for_another_try(spec: SinkSpec, after: bytes) -> None:
    outcome = await outcome_of(spec, reset(after))
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
    assert "the connection" in outcome.detail


@every_sink
async def test_a_connection_closed_without_an_answer_asks_for_another_try(spec: SinkSpec) -> None:
    outcome = await outcome_of(spec, raw(b"", then_close=True))
    assert outcome.verdict is Verdict.RETRY
    assert "closed the connection without an answer" in outcome.detail


@every_sink
async def test_a_refused_connection_asks_for_another_try(spec: SinkSpec) -> None:
    with closed_port() as port:
        async with sink_to(spec, f"http://127.0.0.1:{port}/secret-path") as sink:
            outcome = await sink.send(request_of(spec), now_s=NOW_S)
    assert (outcome.verdict, outcome.detail) == (Verdict.RETRY, f"connection refused by 127.0.0.1:{port}")


@every_sink
async def test_a_name_without_an_address_asks_for_another_try(spec: SinkSpec) -> None:
    async with sink_to(spec, "http://nowhere.invalid/") as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.detail.startswith("the name nowhere.invalid has no address: ")


@every_sink
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1"])
async def test_an_inward_address_is_never_connected_to(spec: SinkSpec, host: str) -> None:
    async with serving(reply(200)) as endpoint, sink_to(spec, endpoint.url(host=host), allow=()) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
        assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
        assert endpoint.connections == 0


@every_sink
async def test_a_refused_address_is_explained(spec: SinkSpec) -> None:
    async with sink_to(spec, "http://127.0.0.1:9/", allow=()) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
    assert "its address 127.0.0.1 is not public" in outcome.detail
    assert "outbound.allow_networks" in outcome.detail


@every_sink
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
    ],
    ids=["100 MB", "endless", "called gzip"],
)
async def test_a_huge_answer_costs_nothing(spec: SinkSpec, head: bytes) -> None:
    written = 0

    async def flood(_: object, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            written += 65536
            await writer.drain()

    async with serving(flood) as endpoint, sink_to(spec, endpoint.url()) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
        await asyncio.wait_for(endpoint.hung_up.wait(), 20)
    assert (outcome.verdict, outcome.answer_head) == (Verdict.DELIVERED, "x" * 1024)
    assert outcome.duration_s < 2
    assert written < 20 << 20  # what socket buffers hold, not what the endpoint had in store


@every_sink
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x17garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
    ],
    ids=["binary", "ssh", "status", "length", "header", "long header", "long status line", "many headers"],
)
async def test_garbage_asks_for_another_try(spec: SinkSpec, garbage: bytes) -> None:
    outcome = await outcome_of(spec, raw(garbage, then_close=True))
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
    assert outcome.detail.startswith("answered garbage: ")
    assert len(outcome.detail) < 200
    assert "\n" not in outcome.detail


@every_sink
async def test_a_redirect_is_not_followed(spec: SinkSpec) -> None:
    async with serving(reply(307, Location="/events")) as endpoint, sink_to(spec, endpoint.url()) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
        assert len(endpoint.seen) == 1
    assert outcome.verdict is Verdict.REFUSED
    assert "redirects are not followed" in outcome.detail


@every_sink
async def test_a_cookie_is_not_kept(spec: SinkSpec) -> None:
    async with serving(reply(200, Set_Cookie="a=b")) as endpoint, sink_to(spec, endpoint.url()) as sink:
        await sink.send(request_of(spec), now_s=NOW_S)
        await sink.send(request_of(spec, first=3), now_s=NOW_S)
        assert "cookie" not in endpoint.seen[1].headers


@every_sink
async def test_a_proxy_of_the_environment_is_ignored(spec: SinkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await outcome_of(spec, reply(200))).verdict is Verdict.DELIVERED


@every_sink
async def test_a_connection_is_used_again(spec: SinkSpec) -> None:
    async with serving(reply(200, b"ok")) as endpoint, sink_to(spec, endpoint.url()) as sink:
        for first in range(0, 15, 3):
            await sink.send(request_of(spec, first=first), now_s=NOW_S)
        assert endpoint.connections == 1


@every_sink
async def test_many_batches_may_be_under_way_at_once(spec: SinkSpec) -> None:
    async with serving(reply(200)) as endpoint, sink_to(spec, endpoint.url()) as sink:
        outcomes = await asyncio.gather(*(sink.send(request_of(spec, first=3 * k), now_s=NOW_S) for k in range(20)))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
        assert len({seen.headers["webhook-id"] for seen in endpoint.seen}) == 20


@every_sink
async def test_hung_requests_do_not_hold_up_others(spec: SinkSpec) -> None:
    async def answer(seen: Any, writer: asyncio.StreamWriter) -> None:
        await (silence() if int(seen.headers["webhook-id"].split(":")[1].split("-")[0]) < 300 else reply(200))(
            seen, writer
        )

    async with serving(answer) as endpoint, sink_to(spec, endpoint.url()) as sink:
        hung = [asyncio.create_task(sink.send(request_of(spec, first=3 * k), now_s=NOW_S)) for k in range(100)]
        outcome = await asyncio.wait_for(sink.send(request_of(spec, first=300), now_s=NOW_S), 15)
        assert outcome.verdict is Verdict.DELIVERED
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)


@every_sink
async def test_a_retry_is_the_same_bytes_with_its_own_time(spec: SinkSpec) -> None:
    async with serving(in_turn(reply(503), reply(200))) as endpoint, sink_to(spec, endpoint.url()) as sink:
        await sink.send(request_of(spec), now_s=NOW_S)
        await sink.send(request_of(spec), now_s=NOW_S + 8)
        first, second = endpoint.seen
    assert SENT_AT.sub(b"", first.body) == SENT_AT.sub(b"", second.body)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == request_of(spec).id
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 8


@every_sink
async def test_cancelling_while_sending_hangs_up_and_harms_no_later_try(spec: SinkSpec) -> None:
    async with serving(in_turn(silence(), reply(200))) as endpoint, sink_to(spec, endpoint.url()) as sink:
        sending = asyncio.create_task(sink.send(request_of(spec), now_s=NOW_S))
        await endpoint.received(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(endpoint.hung_up.wait(), 20)
        assert (await sink.send(request_of(spec), now_s=NOW_S)).verdict is Verdict.DELIVERED


@every_sink
@pytest.mark.parametrize("echo", [SECRET, SECRET.split()[1]], ids=["whole", "without its scheme"])
async def test_the_secret_is_sent_but_never_told(spec: SinkSpec, echo: str) -> None:
    async with serving(reply(400, b"x" * 1013 + echo.encode())) as endpoint, sink_to(spec, endpoint.url()) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
        assert endpoint.seen[0].headers["authorization"] == AUTHORIZATION_OF_KIND.get(spec.kind, SECRET)
        for text in (repr(outcome), repr(sink), repr(settings_of(spec, endpoint.url()))):
            assert "s3cret" not in text
        assert "***" in outcome.answer_head


@every_sink
async def test_the_secret_is_not_quoted_from_garbage(spec: SinkSpec) -> None:
    outcome = await outcome_of(spec, raw(b"you said " + SECRET.encode() + b"\r\n\r\n", then_close=True))
    assert "s3cret" not in outcome.detail


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def tls_server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@every_sink
async def test_a_certificate_of_a_given_authority_is_trusted(
    spec: SinkSpec, authority: trustme.CA, ca_file: str
) -> None:
    server = tls_server(authority.issue_cert("localhost"))
    async with (
        serving(reply(200), tls=server) as endpoint,
        sink_to(spec, endpoint.url(host="localhost"), tls={"ca": ca_file}) as sink,
    ):
        assert (await sink.send(request_of(spec), now_s=NOW_S)).verdict is Verdict.DELIVERED


@every_sink
@pytest.mark.parametrize(
    ("name", "tls"), [("other.example", True), ("localhost", False)], ids=["wrong name", "unknown authority"]
)
async def test_a_wrong_certificate_ends_the_try_before_anything_is_sent(
    spec: SinkSpec, authority: trustme.CA, ca_file: str, name: str, *, tls: bool
) -> None:
    server = tls_server(authority.issue_cert(name))
    more = {"tls": {"ca": ca_file}} if tls else {}
    async with (
        serving(reply(200), tls=server) as endpoint,
        sink_to(spec, endpoint.url(host="localhost"), **more) as sink,
    ):
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
        assert outcome.verdict is Verdict.RETRY
        assert outcome.detail.startswith("its TLS certificate is not valid for localhost: ")
        assert endpoint.seen == []


@every_sink
async def test_an_endpoint_that_does_not_speak_tls_is_given_up_in_time(spec: SinkSpec) -> None:
    async with serving(reply(200)) as endpoint:
        async with sink_to(spec, endpoint.url().replace("http:", "https:"), connect_timeout_s=0.3) as sink:
            outcome = await sink.send(request_of(spec), now_s=NOW_S)
        assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
        assert outcome.detail == f"no connection to 127.0.0.1:{endpoint.port} within 0.3 s"


@every_sink
async def test_tls_with_an_endpoint_that_answers_something_else_asks_for_another_try(spec: SinkSpec) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 10)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, sink_to(spec, url) as sink:
        outcome = await sink.send(request_of(spec), now_s=NOW_S)
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
    assert "TLS with 127.0.0.1:" in outcome.detail


@every_sink
async def test_a_client_certificate_is_shown(
    spec: SinkSpec, authority: trustme.CA, ca_file: str, tmp_path: Any
) -> None:
    server = tls_server(authority.issue_cert("localhost"))
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    own = authority.issue_cert("client.example")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"ca": ca_file, "cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    async with serving(reply(200), tls=server) as endpoint:
        url = endpoint.url(host="localhost")
        async with sink_to(spec, url, tls=files) as sink:
            assert (await sink.send(request_of(spec), now_s=NOW_S)).verdict is Verdict.DELIVERED
        assert "client.example" in str(endpoint.peer_certificates[0])
        async with sink_to(spec, url, tls={"ca": ca_file}) as sink:
            assert (await sink.send(request_of(spec), now_s=NOW_S)).verdict is Verdict.RETRY
