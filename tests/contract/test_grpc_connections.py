"""Where the gRPC sink connects to, and how: TLS, the address guard, names."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.model.attempt import Outcome, Verdict
from pipeline.net.client import HttpClient
from pipeline.net.guard import AddressGuard
from pipeline.sinks import grpc_line
from pipeline.sinks.base import Sink, SinkContext
from pipeline.sinks.grpc import SPEC
from tests.contract.test_every_sink import LOOPBACK, NOW_S, settings_of, sink_to
from tests.support.grpc_batches import batch_of
from tests.support.grpc_endpoint import GrpcEndpoint, answering, ending, serving_grpc


class Names(AbstractResolver):
    """A name server that a test writes: ``addresses`` by name. ``asked`` are the names that were looked up."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.asked: list[str] = []

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  aiohttp's signature
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_UNSPEC, proto=0, flags=0)
            for address in self.addresses[host]
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def named_sink(names: Names, url: str, *, allow: tuple[str, ...] = LOOPBACK, **more: Any) -> AsyncIterator[Sink]:
    client = HttpClient(AddressGuard(allow), resolver=names)
    await client.open()
    try:
        sink = SPEC.make(settings_of(SPEC, url, **more), SinkContext(client, "Distributary/test"))
        await sink.open()
        yield sink
        await sink.close()
    finally:
        await client.close()


async def sent(sink: Sink) -> Outcome:
    return await sink.send(batch_of(3), now_s=NOW_S)


class Authority:
    """A certificate authority, with its files and servers."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str, clients: "Authority | None" = None) -> grpc.ServerCredentials:
        cert = self.ca.issue_cert(*names)
        chain = b"".join(each.bytes() for each in cert.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(cert.private_key_pem.bytes(), chain)],
            root_certificates=None if clients is None else clients.file.read_bytes(),
            require_client_auth=clients is not None,
        )

    def client_files(self) -> dict[str, str]:
        cert = self.ca.issue_cert("client@example.com")
        cert.private_key_pem.write_to_path(str(self.folder / "client.key"))
        cert.cert_chain_pems[0].write_to_path(str(self.folder / "client.pem"))
        return {"cert": str(self.folder / "client.pem"), "key": str(self.folder / "client.key")}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def other_authority(tmp_path: Path) -> Authority:
    (tmp_path / "other").mkdir()
    return Authority(tmp_path / "other")


# TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_of_ones_own_authority_is_trusted(authority: Authority, host: str) -> None:
    credentials = authority.server("localhost", "127.0.0.1")
    async with (
        serving_grpc(answering(), credentials=credentials) as endpoint,
        sink_to(SPEC, endpoint.url(host), tls={"ca": str(authority.file)}) as sink,
    ):
        assert (await sent(sink)).verdict is Verdict.DELIVERED


async def test_a_server_is_verified_by_the_name_in_the_url_whatever_its_address(authority: Authority) -> None:
    credentials = authority.server("crm.example")
    async with serving_grpc(answering(), credentials=credentials) as endpoint:
        names = Names(crm_example=["127.0.0.1"], other_example=["127.0.0.1"])
        tls = {"ca": str(authority.file)}
        async with named_sink(names, endpoint.url("crm.example"), tls=tls) as sink:
            assert (await sent(sink)).verdict is Verdict.DELIVERED
        async with named_sink(names, endpoint.url("other.example"), tls=tls) as sink:
            outcome = await sent(sink)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.detail.startswith(f"no connection to other.example:{endpoint.port}: ")
    assert "Hostname Verification" in outcome.detail


async def test_a_server_of_another_authority_is_not_trusted(authority: Authority, other_authority: Authority) -> None:
    async with (
        serving_grpc(answering(), credentials=other_authority.server("localhost")) as endpoint,
        sink_to(SPEC, endpoint.url("localhost"), tls={"ca": str(authority.file)}) as sink,
    ):
        outcome = await sent(sink)
    assert outcome.verdict is Verdict.RETRY
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.detail
    assert endpoint.streams == []


async def test_a_server_of_an_unknown_authority_is_not_trusted_by_default(authority: Authority) -> None:
    async with (
        serving_grpc(answering(), credentials=authority.server("localhost")) as endpoint,
        sink_to(SPEC, endpoint.url("localhost")) as sink,
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in (await sent(sink)).detail


async def test_the_machines_authorities_are_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with (
        serving_grpc(answering(), credentials=authority.server("localhost")) as endpoint,
        sink_to(SPEC, endpoint.url("localhost")) as sink,
    ):
        assert (await sent(sink)).verdict is Verdict.DELIVERED


async def test_a_client_certificate_is_shown(authority: Authority) -> None:
    credentials = authority.server("localhost", clients=authority)
    async with (
        serving_grpc(answering(), credentials=credentials) as endpoint,
        sink_to(SPEC, endpoint.url("localhost"), tls={"ca": str(authority.file), **authority.client_files()}) as sink,
    ):
        assert (await sent(sink)).verdict is Verdict.DELIVERED
    names = endpoint.streams[0].caller["x509_subject_alternative_name"]
    assert names == [b"client@example.com"]


async def test_without_the_client_certificate_that_a_server_wants_there_is_no_connection(
    authority: Authority, other_authority: Authority
) -> None:
    credentials = authority.server("localhost", clients=authority)
    async with serving_grpc(answering(), credentials=credentials) as endpoint:
        for files in ({}, other_authority.client_files()):
            async with sink_to(SPEC, endpoint.url("localhost"), tls={"ca": str(authority.file), **files}) as sink:
                assert (await sent(sink)).verdict is Verdict.RETRY
    assert endpoint.streams == []


async def test_tls_to_a_plain_server_is_retried(authority: Authority) -> None:
    async with (
        serving_grpc(answering()) as endpoint,
        sink_to(SPEC, f"grpcs://127.0.0.1:{endpoint.port}", tls={"ca": str(authority.file)}) as sink,
    ):
        assert (await sent(sink)).verdict is Verdict.RETRY


@pytest.mark.parametrize(("files", "words"), [({"ca": "/nowhere.pem"}, "No such file"), ({"cert": __file__}, "PEM")])
async def test_a_file_that_cannot_be_used_is_a_mistake_in_the_settings(files: dict[str, str], words: str) -> None:
    (name,) = files
    with pytest.raises(ConfigError, match=rf"integration crm: cannot use its tls files \({name} .*{words}"):
        async with sink_to(SPEC, "grpcs://a.example", tls=files):
            pass


# The guard, and names


async def test_an_address_that_is_not_public_is_not_connected_to() -> None:
    async with serving_grpc(answering()) as endpoint:
        async with sink_to(SPEC, endpoint.url("localhost"), allow=()) as sink:
            outcome = await sent(sink)
        assert endpoint.streams == []
    assert (outcome.verdict, outcome.status) == (Verdict.RETRY, None)
    assert outcome.detail.startswith(f"not connected to localhost:{endpoint.port}: its address ")
    assert "is not public" in outcome.detail


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_other_spellings_of_an_inward_address_are_refused_too(host: str) -> None:
    async with sink_to(SPEC, f"grpc://{host}:1", allow=()) as sink:
        assert "is not public" in (await sent(sink)).detail


async def test_of_a_names_addresses_only_the_permitted_ones_are_dialled() -> None:
    async with serving_grpc(answering()) as endpoint:
        names = Names(crm_example=["10.1.2.3", "fd00::1", "127.0.0.1"])
        async with named_sink(names, endpoint.url("crm.example")) as sink:
            outcome = await sent(sink)
    assert outcome.verdict is Verdict.DELIVERED


async def test_addresses_of_both_families_are_tried() -> None:
    async with serving_grpc(answering()) as endpoint:
        names = Names(crm_example=["::1", "127.0.0.1"])
        async with named_sink(names, endpoint.url("crm.example")) as sink:
            outcome = await sent(sink)
    assert outcome.verdict is Verdict.DELIVERED


async def test_a_name_without_an_address_is_retried() -> None:
    names = Names()
    async with named_sink(names, "grpc://crm.example:1") as sink:
        outcome = await sent(sink)
    assert (outcome.verdict, outcome.detail) == (
        Verdict.RETRY,
        "the name crm.example has no address: Name or service not known",
    )


async def test_a_name_is_looked_up_once_for_many_batches() -> None:
    names = Names(crm_example=["127.0.0.1"])
    async with serving_grpc(answering()) as endpoint, named_sink(names, endpoint.url("crm.example")) as sink:
        for _ in range(3):
            await sent(sink)
    assert names.asked == ["crm.example"]


async def test_a_name_is_looked_up_again_after_a_while_and_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_line, "LOOK_UP_AGAIN_S", 0.0)
    names = Names(crm_example=["127.0.0.1"])
    async with serving_grpc(answering()) as old, named_sink(names, old.url("crm.example")) as sink:
        await sent(sink)
        await sent(sink)
        new = GrpcEndpoint(answering())
        new.port = old.port
        await new.start("127.0.0.2")
        names.addresses["crm.example"] = ["127.0.0.2"]
        await sent(sink)
        names.addresses["crm.example"] = ["10.1.2.3"]
        refused = await sent(sink)
        await new.stop()
    assert (len(old.streams), len({stream.peer for stream in old.streams}), len(new.streams)) == (2, 1, 1)
    assert "its address 10.1.2.3 is not public" in refused.detail


async def test_a_name_is_looked_up_again_after_a_failure() -> None:
    names = Names(crm_example=["127.0.0.1"])
    async with (
        serving_grpc(ending(grpc.StatusCode.UNAVAILABLE)) as endpoint,
        named_sink(names, endpoint.url("crm.example")) as sink,
    ):
        await sent(sink)
        await sent(sink)
    assert names.asked == ["crm.example"] * 2


async def test_proxies_in_the_environment_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url()) as sink:
        assert (await sent(sink)).verdict is Verdict.DELIVERED


async def test_keep_alive_settings_are_taken() -> None:
    keep_alive = {"time_s": 10.0, "timeout_s": 1.0, "permit_without_stream": True}
    async with serving_grpc(answering()) as endpoint, sink_to(SPEC, endpoint.url(), keep_alive=keep_alive) as sink:
        assert (await sent(sink)).verdict is Verdict.DELIVERED


# Settings


def test_the_defaults_are_the_contracts() -> None:
    settings = settings_of(SPEC, "grpcs://a.example")
    assert (settings.batch.max_events, settings.batch.max_age_s, settings.max_events_per_message) == (1000, 3600, 1)
    assert (settings.retry.delays_s, settings.is_encrypted) == ((1.0, 3.0, 8.0), True)


def test_a_batch_that_is_given_in_part_keeps_a_thousand_events() -> None:
    assert settings_of(SPEC, "grpcs://a.example", batch={"max_age_s": 1.0}).batch.max_events == 1000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"url": "https://a.example"}, "must begin with grpcs:// or grpc://"),
        ({"url": "grpcs://a.example/events"}, "holds a path, which gRPC has no use for"),
        ({"url": "grpcs://a.example?x=1"}, "holds a path, which gRPC has no use for"),
        ({"url": "grpc://a.example", "tls": {"ca": "c.pem"}}, "tls needs a url that begins with grpcs"),
        ({"tls": {"key": "k.pem"}}, "key needs cert"),
        ({"authorization": "Bearer ü"}, "outside ASCII"),
        ({"fields": "all"}, "'published' or 'known'"),
        ({"max_events_per_message": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings_of(SPEC, **({"url": "grpcs://a.example"} | more))
