"""The doctor at real endpoints: healthy ones of every kind, and each thing that can be wrong with one."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from standardwebhooks import Webhook

from pipeline.clock import ManualClock
from pipeline.config.schema import Outbound
from pipeline.doctor.examine import Doctor
from pipeline.doctor.step import CONFIGURATION, CONNECTION, NAME, TEST_EVENT, TLS, Examination, State, Step
from pipeline.model.integration import Integration
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.sinks.base import SinkSpec
from pipeline.sinks.registry import SINKS, spec_of
from tests.contract.test_every_sink import HTTP_SINKS, tls_server
from tests.contract.test_guard_secrets import TOKEN, given_away, parrot
from tests.support.closed_port import closed_port
from tests.support.endpoint import Answering, endless, raw, reply, reset, serving, silence
from tests.support.grpc_endpoint import answering, ending, serving_grpc
from tests.support.names import Names, listening
from tests.support.planted import planted
from tests.support.proxy import proxying

SIGNING_SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def integration(url: str, **more: Any) -> Integration:
    usual = {"id": "crm", "kind": "http", "url": url, "events": "*", "platforms": "*", "timeout_s": 2.0}
    return spec_of(str(more.get("kind", "http"))).settings.model_validate(usual | more)


@asynccontextmanager
async def doctor(
    *allowed: str, names: dict[str, list[list[str]]] | None = None, wall_s: float | None = None
) -> AsyncIterator[Doctor]:
    guard = AddressGuard(allowed or ("127.0.0.0/8",))
    client = HttpClient(guard, connect_timeout_s=0.5, resolver=Names(names or {}))
    clock = None if wall_s is None else ManualClock(wall_s)
    made = Doctor(client, timeout_s=0.5, clock=clock)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def examined(url: str, *, names: dict[str, list[list[str]]] | None = None, **more: Any) -> Examination:
    async with doctor(names=names) as made:
        return await made.examine(integration(url, **more))


def of(examination: Examination, name: str) -> Step:
    return next(step for step in examination.steps if step.name == name)


def states(examination: Examination) -> dict[str, State]:
    return {step.name: step.state for step in examination.steps}


GOOD, WARNING, BAD, SKIPPED = State.GOOD, State.WARNING, State.BAD, State.SKIPPED


@pytest.mark.parametrize("spec", HTTP_SINKS, ids=lambda spec: spec.kind)
async def test_a_healthy_endpoint_of_every_kind_is_well(spec: SinkSpec) -> None:
    async with serving(parrot(200)) as endpoint, doctor() as made:
        for plants in planted(spec, endpoint.url("/")):
            heard: list[Step] = []
            found = await made.examine(plants.read(spec), on_step=heard.append)
            assert found.state is GOOD, found
            assert states(found) == dict.fromkeys((CONFIGURATION, NAME, CONNECTION, TEST_EVENT), GOOD)
            assert tuple(heard) == found.steps
            assert found.place == f"127.0.0.1:{endpoint.port}"
            assert endpoint.seen[-1].headers["distributary-purpose"] == "test"
            assert endpoint.seen[-1].headers["webhook-id"].startswith("crm~test:")


@pytest.mark.parametrize("spec", HTTP_SINKS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_examination_shows_no_secret(spec: SinkSpec, status: int) -> None:
    async with serving(parrot(status)) as endpoint, doctor() as made:
        for plants in planted(spec, endpoint.url("/")):
            found = await made.examine(plants.read(spec))
            shown = [repr(found), json.dumps(found.as_json())]
            assert given_away(plants, *shown) == []
            assert not any(TOKEN in text for text in shown)


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
async def test_an_endpoint_that_is_away_is_found_out_whatever_its_kind(spec: SinkSpec) -> None:
    scheme = spec.settings.url_schemes[-1]
    with closed_port() as port:
        async with doctor() as made:
            found = await made.examine(planted(spec, f"{scheme}://127.0.0.1:{port}/")[0].read(spec))
    assert states(found) == {CONFIGURATION: GOOD, NAME: GOOD, CONNECTION: BAD, TEST_EVENT: SKIPPED}


async def test_the_test_event_is_signed_as_others_are() -> None:
    async with serving(reply(200)) as endpoint:
        found = await examined(endpoint.url(), signing={"secrets": [SIGNING_SECRET]})
        (seen,) = endpoint.seen
    assert found.state is GOOD
    assert "signed" in of(found, CONFIGURATION).text
    (event,) = Webhook(SIGNING_SECRET).verify(seen.body.decode(), seen.headers)
    assert event["payload"].startswith("Test event")
    assert json.loads(of(found, TEST_EVENT).facts["event"]) == event


async def test_nothing_is_sent_where_nothing_shall_be() -> None:
    async with serving(reply(200)) as endpoint, doctor() as made:
        found = await made.examine(integration(endpoint.url()), sends=False)
        assert endpoint.seen == []
    assert found.state is GOOD
    assert states(found)[TEST_EVENT] is SKIPPED


@pytest.mark.parametrize(
    ("answer", "text", "advice"),
    [
        (reply(401, b"bad key"), '401 Unauthorized, saying "bad key"', "credentials"),
        (reply(403), "403 Forbidden", "credentials"),
        (reply(404), "404 Not Found", "path"),
        (reply(405), "405 Method Not Allowed", "POST"),
        (reply(410), "410 Gone", "gone"),
        (reply(413), "413", "too large"),
        (reply(422), "422", "`fields`"),
        (reply(429, Retry_After="7"), "429 Too Many Requests", "slow down"),
        (reply(500), "500 Internal Server Error", "owner"),
        (reply(301, Location="https://new.example/s3cret"), "leads to https://new.example", "set `url`"),
        (reply(308, Location="/events/"), "the same path with a / at its end", "set `url`"),
        (reset(), "the connection", "owner"),
        (raw(b"", then_close=True), "without an answer", "owner"),
        (raw(b"SSH-2.0-OpenSSH\r\n\r\n", then_close=True), "garbage", "not HTTP"),
    ],
    ids=["401", "403", "404", "405", "410", "413", "422", "429", "500", "301", "308", "reset", "closed", "ssh"],
)
async def test_what_the_endpoint_answers_is_told_with_what_to_do(answer: Answering, text: str, advice: str) -> None:
    async with serving(answer) as endpoint:
        found = await examined(endpoint.url())
    step = of(found, TEST_EVENT)
    assert (found.state, step.state) == (BAD, BAD)
    assert text in step.text
    assert advice in step.advice
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("answer", [silence(), endless(b"x", first=b"HTTP/1.1 200 OK\r\nX: ", pause_s=0.02)])
async def test_an_endpoint_that_takes_its_time_is_told_with_the_time_out(answer: Answering) -> None:
    async with serving(answer) as endpoint:
        step = of(await examined(endpoint.url(), timeout_s=0.2), TEST_EVENT)
    assert step.text == "no answer within 0.2 s"
    assert "`timeout` (0.2 s)" in step.advice
    assert 0.2 <= step.duration_s < 2


async def test_a_refused_connection_is_told_with_address_and_port() -> None:
    with closed_port() as port:
        step = of(await examined(f"http://crm.example:{port}/", names={"crm.example": [["127.0.0.1"]]}), CONNECTION)
    assert (step.state, step.text) == (BAD, f"127.0.0.1 port {port}: connection refused")


async def test_a_connection_that_is_never_taken_is_told() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # more than its queue holds
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            waiting.append(each)
        step = of(await examined(f"http://127.0.0.1:{port}/"), CONNECTION)
        for each in waiting:
            each.close()
    assert step.state is BAD
    assert "no answer in time" in step.text
    assert "firewall" in step.advice


async def test_a_name_that_does_not_exist_is_told() -> None:
    found = await examined("https://crm.example/")
    assert states(found) == {CONFIGURATION: GOOD, NAME: BAD, TEST_EVENT: SKIPPED}
    assert of(found, NAME).text == "crm.example has no address: name or service not known"


@pytest.mark.parametrize("address", ["10.0.0.7", "169.254.169.254", "::1", "fd00:ec2::254"])
async def test_a_name_that_leads_inward_is_told_and_never_connected_to(address: str) -> None:
    found = await examined("https://crm.example/", names={"crm.example": [[address]]})
    assert states(found) == {CONFIGURATION: GOOD, NAME: BAD, TEST_EVENT: SKIPPED}
    assert f"{address}: not public" in of(found, NAME).text
    assert "outbound.allow_networks" in of(found, NAME).advice


async def test_a_name_that_leads_inward_among_others_is_a_warning_and_used_only_where_it_may_be() -> None:
    async with (
        listening("127.0.0.2", "127.0.0.1") as (port, (good, bad)),
        doctor("127.0.0.2/32", names={"crm.example": [["127.0.0.1", "127.0.0.2"]]}) as made,
    ):
        found = await made.examine(integration(f"http://crm.example:{port}/"))
        assert (good.requests, bad.connections) == (1, 0)
    assert (found.state, states(found)[NAME], states(found)[TEST_EVENT]) == (WARNING, WARNING, GOOD)


async def test_a_name_that_changes_after_it_was_looked_at_is_refused_at_the_connection() -> None:
    async with (
        listening("127.0.0.2", "127.0.0.1") as (port, (_, bad)),
        doctor("127.0.0.2/32", names={"crm.example": [["127.0.0.2"], ["127.0.0.1"]]}) as made,
    ):
        found = await made.examine(integration(f"http://crm.example:{port}/"))
        assert bad.connections == 0
    assert states(found)[TEST_EVENT] is BAD
    assert "127.0.0.1 is not public" in of(found, TEST_EVENT).text


async def test_one_silent_address_of_two_is_a_warning() -> None:
    async with listening("127.0.0.2") as (port, _):
        found = await examined(f"http://crm.example:{port}/", names={"crm.example": [["127.0.0.2", "127.0.0.3"]]})
    assert (found.state, states(found)[CONNECTION], states(found)[TEST_EVENT]) == (WARNING, WARNING, GOOD)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Test Authority")


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("doctor") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


async def over_tls(server: ssl.SSLContext, *, wall_s: float | None = None, **more: Any) -> Examination:
    names = {"crm.example": [["127.0.0.1"]]}
    async with serving(reply(200), tls=server) as endpoint, doctor(names=names, wall_s=wall_s) as made:
        return await made.examine(integration(f"https://crm.example:{endpoint.port}/", **more))


async def test_a_good_certificate_is_told_with_version_name_issuer_and_days(authority: trustme.CA, ca: str) -> None:
    end = datetime.now(UTC) + timedelta(days=90, hours=1)
    server = tls_server(authority.issue_cert("crm.example", "www.crm.example", "b.example", not_after=end))
    found = await over_tls(server, tls={"ca": ca})
    assert found.state is GOOD, found
    step = of(found, TLS)
    assert step.text.startswith("TLSv1.3, crm.example, www.crm.example and 1 more, by Test Authority")
    assert step.text.endswith("90 days left")
    assert step.facts["certificate"]["days_left"] == 90


@pytest.mark.parametrize(("days", "state"), [(22, GOOD), (21, GOOD), (20, WARNING), (1, WARNING)])
async def test_a_certificate_that_ends_soon_is_a_warning(
    authority: trustme.CA, ca: str, days: int, state: State
) -> None:
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    found = await over_tls(tls_server(authority.issue_cert("crm.example", not_after=end)), tls={"ca": ca})
    assert (states(found)[TLS], states(found)[TEST_EVENT]) == (state, GOOD)
    assert ("unless the certificate is renewed" in of(found, TLS).advice) == (state is WARNING)


async def test_an_expired_certificate_is_told_with_its_age(authority: trustme.CA, ca: str) -> None:
    now = datetime.now(UTC)
    certificate = authority.issue_cert(
        "crm.example", not_before=now - timedelta(days=40), not_after=now - timedelta(days=9, hours=-1)
    )
    found = await over_tls(tls_server(certificate), tls={"ca": ca})
    assert (states(found)[TLS], states(found)[TEST_EVENT]) == (BAD, SKIPPED)
    assert "has expired: crm.example ended 9 days ago" in of(found, TLS).text


async def test_a_certificate_of_the_future_points_to_the_clock(authority: trustme.CA, ca: str) -> None:
    now = datetime.now(UTC)
    certificate = authority.issue_cert(
        "crm.example", not_before=now + timedelta(days=4), not_after=now + timedelta(days=9)
    )
    step = of(await over_tls(tls_server(certificate), tls={"ca": ca}), TLS)
    assert "not valid before" in step.text
    assert "clock" in step.advice


async def test_a_certificate_for_another_host_is_told_with_its_names(authority: trustme.CA, ca: str) -> None:
    step = of(await over_tls(tls_server(authority.issue_cert("other.example")), tls={"ca": ca}), TLS)
    assert (step.state, step.text) == (BAD, "its certificate is for other.example, not for crm.example")


async def test_a_certificate_of_an_unknown_authority_is_told_with_its_issuer(authority: trustme.CA) -> None:
    step = of(await over_tls(tls_server(authority.issue_cert("crm.example"))), TLS)
    assert step.state is BAD
    assert "by Test Authority" in step.text
    assert "`tls.ca`" in step.advice


async def test_a_self_signed_certificate_is_called_so(tmp_path: Path) -> None:
    step = of(await over_tls(self_signed(tmp_path)), TLS)
    assert (step.state, step.text) == (BAD, "its certificate is self-signed, so nobody vouches for it")


def self_signed(folder: Path) -> ssl.SSLContext:
    own = trustme.CA()
    own.cert_pem.write_to_path(folder / "own.pem")
    own.private_key_pem.write_to_path(folder / "own.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "own.pem", folder / "own.key")
    return context


async def test_an_endpoint_that_wants_a_client_certificate_is_told(authority: trustme.CA, ca: str) -> None:
    server = tls_server(authority.issue_cert("crm.example"))
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    found = await over_tls(server, tls={"ca": ca})
    assert found.state is BAD
    assert found.trouble is not None
    assert "client certificate" in found.trouble.advice


async def test_a_client_certificate_is_shown_and_its_end_is_watched(
    authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    server = tls_server(authority.issue_cert("crm.example"))
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    own = authority.issue_cert("client.example", not_after=datetime.now(UTC) + timedelta(days=5, hours=1))
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"ca": ca, "cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    found = await over_tls(server, tls=files)
    assert (states(found)[CONFIGURATION], states(found)[TLS], states(found)[TEST_EVENT]) == (WARNING, GOOD, GOOD)
    assert of(found, CONFIGURATION).text == "the certificate in tls.cert ends in 5 days"


async def test_a_missing_file_is_told_before_anything_connects() -> None:
    found = await examined("https://crm.example/", tls={"ca": "missing.pem"})
    assert states(found) == {CONFIGURATION: BAD, TEST_EVENT: SKIPPED}
    assert "missing.pem" in of(found, CONFIGURATION).text


async def test_a_port_without_tls_is_told() -> None:
    async with serving(reply(400)) as endpoint:
        step = of(await examined(endpoint.url().replace("http:", "https:")), TLS)
    assert step.state is BAD
    assert "scheme in `url`" in step.advice


async def test_a_port_that_speaks_something_else_is_told() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        step = of(await examined(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"), TLS)
    assert (step.state, step.text) == (BAD, "what listens there does not speak TLS")


async def test_an_endpoint_behind_a_proxy_is_examined_as_far_as_the_proxy_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200)) as endpoint:
        monkeypatch.setenv("http_proxy", proxy.url)
        made = Doctor(Outbound(use_proxy_from_environment=True).client())
        await made.open()
        try:
            found = await made.examine(integration(f"http://crm.example:{endpoint.port}/"))
        finally:
            await made.close()
        assert len(endpoint.seen) == 1
    assert states(found) == {CONFIGURATION: GOOD, NAME: SKIPPED, CONNECTION: GOOD, TEST_EVENT: GOOD}
    assert f"the proxy 127.0.0.1:{proxy.port}" in of(found, CONNECTION).text


async def test_a_healthy_grpc_server_is_well() -> None:
    async with serving_grpc(answering()) as endpoint:
        found = await examined(endpoint.url(), kind="grpc")
        assert endpoint.streams[0].metadata["distributary-purpose"] == "test"
    assert found.state is GOOD, found


async def test_a_grpc_server_over_tls_is_examined_as_deliveries_see_it(authority: trustme.CA, ca: str) -> None:
    own = authority.issue_cert("crm.example")
    credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())])
    names = {"crm.example": [["127.0.0.1"]]}
    async with serving_grpc(answering(), credentials=credentials) as endpoint:
        found = await examined(endpoint.url("crm.example"), kind="grpc", tls={"ca": ca}, names=names)
    assert found.state is GOOD, found
    assert of(found, TLS).facts["protocol"] == "h2"


async def test_a_grpc_server_that_refuses_the_credentials_is_told() -> None:
    async with serving_grpc(ending(grpc.StatusCode.UNAUTHENTICATED, "no such token")) as endpoint:
        step = of(await examined(endpoint.url(), kind="grpc"), TEST_EVENT)
    assert step.state is BAD
    assert "credentials" in step.advice


async def test_a_server_without_http_2_is_no_place_for_grpc(authority: trustme.CA, ca: str) -> None:
    names = {"crm.example": [["127.0.0.1"]]}
    async with serving(reply(200), tls=tls_server(authority.issue_cert("crm.example"))) as endpoint:
        url = f"grpcs://crm.example:{endpoint.port}"
        step = of(await examined(url, kind="grpc", tls={"ca": ca}, names=names), TLS)
    assert step.state is BAD
    assert "no HTTP/2" in step.text


async def test_a_name_that_changes_is_refused_for_grpc_too() -> None:
    async with serving_grpc(answering()) as endpoint, listening("127.0.0.2") as (port, _):
        names = {"crm.example": [["127.0.0.2"], ["127.0.0.1"]]}
        async with doctor("127.0.0.2/32", names=names) as made:
            found = await made.examine(integration(f"grpc://crm.example:{port}", kind="grpc"))
        assert endpoint.streams == []
    assert states(found)[TEST_EVENT] is BAD
    assert "127.0.0.1 is not public" in of(found, TEST_EVENT).text


async def test_many_are_examined_at_once() -> None:
    async with serving(reply(200)) as endpoint, doctor() as made:
        found = await asyncio.gather(*(made.examine(integration(endpoint.url(), id=f"crm-{k}")) for k in range(20)))
    assert {examination.state for examination in found} == {GOOD}
    assert [examination.integration for examination in found] == [f"crm-{k}" for k in range(20)]
