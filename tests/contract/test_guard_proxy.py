"""Deliveries by way of a proxy, where the operator asks for it: over a real one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from multidict import CIMultiDict

from pipeline.config.schema import Outbound
from pipeline.net.client import Answer, HttpClient, NoAnswer
from pipeline.net.proxy import EnvironmentProxies
from tests.contract.test_every_sink import tls_server
from tests.support.endpoint import reply, serving
from tests.support.proxy import proxying

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@asynccontextmanager
async def client_of(**outbound: object) -> AsyncIterator[HttpClient]:
    client = Outbound.model_validate({"use_proxy_from_environment": True} | outbound).client()
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def posted(client: HttpClient, url: str, ca: Path | None = None) -> Answer | NoAnswer:
    headers = CIMultiDict({"Authorization": "Bearer s3cret-t0ken"})
    return await client.post(client.endpoint(url, timeout_s=3.0, ca=ca), headers, b"[]")


async def test_a_proxy_is_ignored_unless_it_is_asked_for(environment: pytest.MonkeyPatch) -> None:
    async with proxying() as proxy, serving(reply(200)) as endpoint:
        environment.setenv("HTTP_PROXY", proxy.url)
        allowed = {"allow_networks": ["127.0.0.0/8"]}
        async with client_of(use_proxy_from_environment=False, **allowed) as client:
            assert isinstance(await posted(client, endpoint.url()), Answer)
        assert (len(endpoint.seen), proxy.seen) == (1, [])


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_plain_requests_go_through_the_proxy(environment: pytest.MonkeyPatch, name: str) -> None:
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200)) as endpoint:
        environment.setenv(name, proxy.url)
        async with client_of() as client:
            assert isinstance(await posted(client, f"http://crm.example:{endpoint.port}/"), Answer)
        assert len(proxy.seen) == len(endpoint.seen) == 1


async def test_through_a_tunnel_the_proxy_sees_neither_header_nor_body(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = tls_server(authority.issue_cert("crm.example"))
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200), tls=tls) as endpoint:
        environment.setenv("HTTPS_PROXY", proxy.url)
        async with client_of() as client:
            answer = await posted(client, f"https://crm.example:{endpoint.port}/path", tmp_path / "ca.pem")
        assert isinstance(answer, Answer)
        assert endpoint.seen[0].headers["authorization"] == "Bearer s3cret-t0ken"
        (head,) = proxy.seen
        assert head.startswith(f"CONNECT crm.example:{endpoint.port} ".encode())
        assert b"s3cret" not in head
        assert b"path" not in head


async def test_the_endpoints_certificate_is_verified_through_a_tunnel(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = tls_server(authority.issue_cert("other.example"))
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200), tls=tls) as endpoint:
        environment.setenv("HTTPS_PROXY", proxy.url)
        async with client_of() as client:
            answer = await posted(client, f"https://crm.example:{endpoint.port}/", tmp_path / "ca.pem")
        assert isinstance(answer, NoAnswer)
        assert "certificate is not valid for crm.example" in answer.detail
        assert endpoint.seen == []


async def test_the_proxys_password_goes_to_the_proxy_alone(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = tls_server(authority.issue_cert("crm.example"))
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200), tls=tls) as endpoint:
        environment.setenv("HTTPS_PROXY", f"http://ana:p%40ss@127.0.0.1:{proxy.port}")
        async with client_of() as client:
            assert isinstance(
                await posted(client, f"https://crm.example:{endpoint.port}/", tmp_path / "ca.pem"), Answer
            )
            assert "p@ss" not in repr(client.endpoint("https://crm.example/", timeout_s=1.0))
            assert "YW5hOnBAc3M=" not in repr(client.endpoint("https://crm.example/", timeout_s=1.0))
        assert b"Proxy-Authorization: Basic YW5hOnBAc3M=\r\n" in proxy.seen[0]
        assert "proxy-authorization" not in endpoint.seen[0].headers


async def test_a_netrc_is_never_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine crm.example login ana password from-netrc\n")
    environment.setenv("NETRC", str(tmp_path / "netrc"))
    async with proxying(crm_example="127.0.0.1") as proxy, serving(reply(200)) as endpoint:
        environment.setenv("HTTP_PROXY", proxy.url)
        async with client_of() as client:
            endpoint_there = client.endpoint(f"http://crm.example:{endpoint.port}/", timeout_s=3.0)
            await client.post(endpoint_there, CIMultiDict(), b"[]")
        assert "authorization" not in endpoint.seen[0].headers


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "api.localhost",
        "0x7f.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.1]",
    ],
)
async def test_an_inward_address_is_not_even_named_to_the_proxy(environment: pytest.MonkeyPatch, host: str) -> None:
    async with proxying() as proxy:
        environment.setenv("ALL_PROXY", proxy.url)
        async with client_of() as client:
            answer = await posted(client, f"https://{host}/")
        assert isinstance(answer, NoAnswer)
        assert "is not public" in answer.detail
        assert proxy.seen == []


async def test_an_allowed_address_may_be_named_to_the_proxy(environment: pytest.MonkeyPatch) -> None:
    async with proxying() as proxy:
        environment.setenv("ALL_PROXY", proxy.url)
        async with client_of(allow_networks=["10.1.0.0/16"]) as client:
            await posted(client, "https://10.1.2.3/")
        assert len(proxy.seen) == 1


async def test_what_the_environment_exempts_goes_straight_and_is_guarded(environment: pytest.MonkeyPatch) -> None:
    async with proxying() as proxy:
        environment.setenv("ALL_PROXY", proxy.url)
        environment.setenv("NO_PROXY", "other.example,127.0.0.1")
        async with client_of() as client:
            answer = await posted(client, "https://127.0.0.1/")
        assert isinstance(answer, NoAnswer)
        assert answer.detail.startswith("not connected to 127.0.0.1:443: its address 127.0.0.1 is not public")
        assert proxy.seen == []


async def test_a_proxy_that_refuses_is_named(environment: pytest.MonkeyPatch) -> None:
    async with proxying() as proxy:
        environment.setenv("HTTPS_PROXY", proxy.url)
        async with client_of() as client:
            answer = await posted(client, "https://crm.example/secret-path")
    assert answer == NoAnswer("the proxy does not connect to crm.example:443: it answered 403 Not Allowed")


@pytest.mark.parametrize(
    ("url", "scheme"), [("https://crm.example/", "https"), ("http://crm.example/", "http")], ids=["tunnel", "plain"]
)
async def test_a_proxy_that_is_away_is_named(environment: pytest.MonkeyPatch, url: str, scheme: str) -> None:
    environment.setenv(f"{scheme}_proxy", "http://ana:p4ss@127.0.0.1:9")
    async with client_of() as client:
        answer = await posted(client, url)
    assert answer == NoAnswer("no connection to the proxy 127.0.0.1:9: connection refused")


@pytest.mark.parametrize(
    "text", ["socks5://ana:p4ss@proxy:1080", "http://", "http://ana:p4ss@proxy:99999", "http://[p4ss"]
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("https_proxy", text)
    client = Outbound(use_proxy_from_environment=True).client()
    with pytest.raises(ValueError, match="https_proxy is no URL of the form") as told:
        client.endpoint("https://crm.example/", timeout_s=1.0)
    assert "p4ss" not in str(told.value)


def test_a_proxy_may_be_named_without_a_scheme(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", "proxy.corp.example:3128")
    client = Outbound(use_proxy_from_environment=True).client()
    endpoint = client.endpoint("https://crm.example/", timeout_s=1.0)
    assert endpoint.proxy is not None
    assert endpoint.proxy.place == "proxy.corp.example:3128"


def test_the_environment_counts_as_it_was_when_the_client_was_made(environment: pytest.MonkeyPatch) -> None:
    proxies = EnvironmentProxies()
    environment.setenv("https_proxy", "proxy:3128")
    client = Outbound().client()
    client._proxies = proxies
    assert client.endpoint("https://crm.example/", timeout_s=1.0).proxy is None
