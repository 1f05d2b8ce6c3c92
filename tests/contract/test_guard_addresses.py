"""No spelling of an address and no name leads a delivery inward: over a real client, with somebody listening there."""
# ruff: noqa: RUF001  characters that look like others are the point

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict

from pipeline.config.schema import Outbound
from pipeline.net.client import Answer, HttpClient, NoAnswer
from pipeline.net.guard import AddressGuard
from tests.contract.test_every_sink import tls_server
from tests.support.endpoint import reply, serving
from tests.support.names import Names, listening

NOT_PUBLIC = "is not public"
NO_ADDRESS = "has no address"
NOT_CANONICAL = "is not a canonical IPv4 address"

# What stands in the URL, and why nothing is sent there.
SPELLINGS = [
    # Loopback, as people and attackers write it.
    ("127.0.0.1", NOT_PUBLIC),
    ("127.255.255.254", NOT_PUBLIC),
    ("localhost", NOT_PUBLIC),
    ("LOCALHOST", NOT_PUBLIC),
    ("0x7f000001", NOT_PUBLIC),
    ("0x7f.0x0.0x0.0x1", NOT_PUBLIC),
    ("0x7f.1", NOT_PUBLIC),
    ("0X7F.1", NOT_PUBLIC),
    ("0177.0.0.0x1", NOT_PUBLIC),
    ("127.1", NOT_CANONICAL),
    ("127.0.1", NOT_CANONICAL),
    ("2130706433", NOT_CANONICAL),
    ("017700000001", NOT_CANONICAL),
    ("0177.0.0.1", NOT_CANONICAL),
    ("127.000.000.001", NOT_CANONICAL),
    ("127.0.0.1.", NOT_CANONICAL),
    ("127.1.", NOT_CANONICAL),
    ("2130706433.", NOT_CANONICAL),
    # Nothing, which Linux takes for itself.
    ("0.0.0.0", NOT_PUBLIC),
    ("0x0", NOT_PUBLIC),
    ("0", NOT_CANONICAL),
    # Digits, dots and letters that Unicode makes equal.
    ("１２７.０.０.１", NOT_PUBLIC),
    ("⑫⑦.0.0.1", NOT_PUBLIC),
    ("①②⑦.⓪.⓪.①", NOT_PUBLIC),
    ("127。0。0。1", NOT_PUBLIC),
    ("127．0．0．1", NOT_PUBLIC),
    ("ｌｏｃａｌｈｏｓｔ", NOT_PUBLIC),
    ("ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", NOT_PUBLIC),
    # Percent-encoded: names, and none that there is.
    ("%31%32%37.0.0.1", NO_ADDRESS),
    ("127%2e0%2e0%2e1", NO_ADDRESS),
    ("%6cocalhost", NO_ADDRESS),
    ("127.0.0.1%00.crm.invalid", NO_ADDRESS),
    ("127.0.0.1%23.crm.invalid", NO_ADDRESS),
    ("127.0.0.1%0d%0a.crm.invalid", NO_ADDRESS),
    # Private, link-local, shared, reserved.
    ("10.0.0.1", NOT_PUBLIC),
    ("10.255.255.255", NOT_PUBLIC),
    ("172.16.0.1", NOT_PUBLIC),
    ("172.31.255.254", NOT_PUBLIC),
    ("192.168.0.1", NOT_PUBLIC),
    ("169.254.0.1", NOT_PUBLIC),
    ("100.64.0.1", NOT_PUBLIC),
    ("100.127.255.254", NOT_PUBLIC),
    ("198.18.0.1", NOT_PUBLIC),
    ("192.88.99.1", NOT_PUBLIC),
    ("224.0.0.1", NOT_PUBLIC),
    ("239.255.255.250", NOT_PUBLIC),
    ("240.0.0.1", NOT_PUBLIC),
    ("255.255.255.255", NOT_PUBLIC),
    # Where clouds hand out credentials.
    ("169.254.169.254", NOT_PUBLIC),
    ("0xa9fea9fe", NOT_PUBLIC),
    ("0xa9.0xfe.0xa9.0xfe", NOT_PUBLIC),
    ("2852039166", NOT_CANONICAL),
    ("169.16689662", NOT_CANONICAL),
    ("169.254.170.2", NOT_PUBLIC),
    ("169.254.170.23", NOT_PUBLIC),
    ("169.254.0.23", NOT_PUBLIC),
    ("168.63.129.16", NOT_PUBLIC),
    ("100.100.100.200", NOT_PUBLIC),
    ("192.0.0.192", NOT_PUBLIC),
    ("[fd00:ec2::254]", NOT_PUBLIC),
    ("[fd00:ec2::23]", NOT_PUBLIC),
    ("[fd20:ce::254]", NOT_PUBLIC),
    ("[fe80::a9fe:a9fe]", NOT_PUBLIC),
    ("[::ffff:169.254.169.254]", NOT_PUBLIC),
    ("[64:ff9b::a9fe:a9fe]", NOT_PUBLIC),
    # IPv6: itself, and the ways in which it carries an IPv4 address.
    ("[::1]", NOT_PUBLIC),
    ("[0:0:0:0:0:0:0:1]", NOT_PUBLIC),
    ("[0000:0000:0000:0000:0000:0000:0000:0001]", NOT_PUBLIC),
    ("[::]", NOT_PUBLIC),
    ("[::1%25lo]", NOT_PUBLIC),
    ("[fe80::1]", NOT_PUBLIC),
    ("[fe80::1%25lo]", NOT_PUBLIC),
    ("[fe80::1%lo]", NOT_PUBLIC),
    ("[fc00::1]", NOT_PUBLIC),
    ("[fec0::1]", NOT_PUBLIC),
    ("[ff02::1]", NOT_PUBLIC),
    ("[100::1]", NOT_PUBLIC),
    ("[::ffff:127.0.0.1]", NOT_PUBLIC),
    ("[::FFFF:7F00:0001]", NOT_PUBLIC),
    ("[0:0:0:0:0:ffff:7f00:1]", NOT_PUBLIC),
    ("[::ffff:10.0.0.1]", NOT_PUBLIC),
    ("[::127.0.0.1]", NOT_PUBLIC),
    ("[::ffff:0:127.0.0.1]", NOT_PUBLIC),
    ("[64:ff9b::7f00:1]", NOT_PUBLIC),
    ("[64:ff9b:1::7f00:1]", NOT_PUBLIC),
    ("[2002:7f00:1::]", NOT_PUBLIC),
    ("[2001:0:7f00:1::]", NOT_PUBLIC),
    ("[2001:0:4136:e378:8000:63bf:80ff:fffe]", NOT_PUBLIC),
    ("[fe80::5efe:127.0.0.1]", NOT_PUBLIC),
    ("[2606:4700::5efe:127.0.0.1]", NOT_PUBLIC),
    ("[2606:4700::200:5efe:10.0.0.1]", NOT_PUBLIC),
]

# Not even taken for the URL of an endpoint.
NO_URLS = [
    "crm.example@127.0.0.1",
    "127.0.0.1@crm.example",
    "crm.example:443@127.0.0.1",
    "user:password@localhost",
    "crm.example%2f@127.0.0.1",
    "127.0.0.1\\@crm.example",
    "[127.0.0.1]",
    "[::1",
    "",
]


@asynccontextmanager
async def client_with(
    *allowed: str, resolver: AbstractResolver | None = None, timeout_s: float = 2.0
) -> AsyncIterator[HttpClient]:
    client = HttpClient(AddressGuard(allowed), connect_timeout_s=timeout_s, resolver=resolver)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def posted(client: HttpClient, url: str, **more: object) -> Answer | NoAnswer:
    return await client.post(client.endpoint(url, timeout_s=2.0, **more), CIMultiDict(), b"[]")  # type: ignore[arg-type]


def detail_of(result: Answer | NoAnswer) -> str:
    assert isinstance(result, NoAnswer), result
    return result.detail


@pytest.mark.parametrize(("host", "why"), SPELLINGS, ids=[host for host, _ in SPELLINGS])
async def test_nothing_is_sent_inward_however_it_is_spelled(host: str, why: str) -> None:
    async with listening("127.0.0.1") as (port, (listener,)), client_with() as client:
        assert why in detail_of(await posted(client, f"http://{host}:{port}/"))
        assert listener.connections == 0


@pytest.mark.parametrize("host", NO_URLS)
async def test_a_host_that_is_none_is_refused_before_anything_is_asked(host: str) -> None:
    async with client_with() as client:
        with pytest.raises(ValueError, match=r"\S"):
            client.endpoint(f"http://{host}/", timeout_s=1.0)


@pytest.mark.parametrize("host", [host for host, why in SPELLINGS if why == NOT_PUBLIC and host[0] in "0123456789["])
def test_the_configuration_refuses_an_address_before_anything_connects(host: str) -> None:
    assert NOT_PUBLIC in str(Outbound().refusal(f"https://{host}/"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "64:ff9b::7f00:1"],
)
async def test_a_name_that_stands_for_an_inward_address_is_refused(address: str) -> None:
    names = Names({"crm.example": [[address]]})
    async with listening("127.0.0.1") as (port, (listener,)), client_with(resolver=names) as client:
        assert NOT_PUBLIC in detail_of(await posted(client, f"http://crm.example:{port}/"))
        assert listener.connections == 0
    assert names.lookups == ["crm.example"]


async def test_a_name_that_changes_between_check_and_connection_is_refused_at_the_connection() -> None:
    names = Names({"crm.example": [["93.184.215.14"], ["127.0.0.1"]]})
    async with listening("127.0.0.1") as (port, (listener,)), client_with(resolver=names) as client:
        (first,) = await names.resolve("crm.example", port)
        assert client.guard.permits(first["host"])
        assert NOT_PUBLIC in detail_of(await posted(client, f"http://crm.example:{port}/"))
        assert listener.connections == 0


async def test_a_name_that_changes_between_two_connections_is_refused_at_the_second() -> None:
    names = Names({"crm.example": [["127.0.0.2"], ["127.0.0.1"]]})
    async with (
        listening("127.0.0.2", "127.0.0.1", keeps_open=False) as (port, (good, bad)),
        client_with("127.0.0.2/32", resolver=names) as client,
    ):
        url = f"http://crm.example:{port}/"
        assert isinstance(await posted(client, url), Answer)
        client._session.connector.clear_dns_cache()  # as after ten seconds
        assert "127.0.0.1 is not public" in detail_of(await posted(client, url))
        assert (good.connections, bad.connections) == (1, 0)


async def test_a_kept_connection_stays_where_it_was_and_is_checked_when_it_is_made_anew() -> None:
    names = Names({"crm.example": [["127.0.0.2"], ["127.0.0.1"]]})
    async with (
        listening("127.0.0.2", "127.0.0.1") as (port, (good, bad)),
        client_with("127.0.0.2/32", resolver=names) as client,
    ):
        url = f"http://crm.example:{port}/"
        for _ in range(3):
            assert (await posted(client, url)).head == b"127.0.0.2"  # type: ignore[union-attr]
            client._session.connector.clear_dns_cache()
        assert (good.connections, good.requests) == (1, 3)
        good.hang_up()
        detail = ""
        async with asyncio.timeout(5):
            while NOT_PUBLIC not in detail:  # it takes a moment until the client knows that it was hung up on
                detail = detail_of(await posted(client, url))
        assert (good.connections, bad.connections) == (1, 0)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.3", "127.0.0.2"],
        ["::1", "127.0.0.1", "127.0.0.2"],
        ["169.254.169.254", "127.0.0.2", "10.0.0.1"],
    ],
    ids=" ".join,
)
async def test_of_several_addresses_only_the_permitted_one_is_connected_to(addresses: list[str]) -> None:
    names = Names({"crm.example": [addresses]})
    async with (
        listening("127.0.0.2", "127.0.0.1", "127.0.0.3") as (port, (_, *bad)),
        client_with("127.0.0.2/32", resolver=names) as client,
    ):
        answers = await asyncio.gather(*(posted(client, f"http://crm.example:{port}/") for _ in range(5)))
        assert {answer.head for answer in answers} == {b"127.0.0.2"}  # type: ignore[union-attr]
        assert [listener.connections for listener in bad] == [0, 0]


async def test_where_the_permitted_address_is_silent_no_other_is_tried() -> None:
    names = Names({"crm.example": [["127.0.0.3", "127.0.0.1"]]})
    async with (
        listening("127.0.0.1") as (port, (bad,)),
        client_with("127.0.0.3/32", resolver=names) as client,
    ):
        assert isinstance(await posted(client, f"http://crm.example:{port}/"), NoAnswer)
        assert bad.connections == 0


async def test_tls_is_not_even_begun_with_an_inward_address() -> None:
    names = Names({"crm.example": [["127.0.0.1"]]})
    tls = tls_server(trustme.CA().issue_cert("crm.example"))
    async with listening("127.0.0.1", tls=tls) as (port, (listener,)), client_with(resolver=names) as client:
        assert NOT_PUBLIC in detail_of(await posted(client, f"https://crm.example:{port}/"))
        assert listener.connections == 0


async def test_of_several_addresses_behind_tls_only_the_permitted_one_is_connected_to(tmp_path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    names = Names({"crm.example": [["127.0.0.1", "127.0.0.2"]]})
    async with (
        listening("127.0.0.2", "127.0.0.1", tls=tls_server(authority.issue_cert("crm.example"))) as (port, (_, bad)),
        client_with("127.0.0.2/32", resolver=names) as client,
    ):
        answer = await posted(client, f"https://crm.example:{port}/", ca=tmp_path / "ca.pem")
        assert (answer.head, bad.connections) == (b"127.0.0.2", 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_inward_is_not_followed(status: int) -> None:
    async with listening("127.0.0.1") as (port, (inward,)):
        answer = reply(status, Location=f"http://127.0.0.1:{port}/")
        names = Names({"crm.example": [["127.0.0.1"]]})
        async with serving(answer) as endpoint, client_with("127.0.0.0/8", resolver=names) as client:
            result = await posted(client, f"http://crm.example:{endpoint.port}/")
            assert result.status == status  # type: ignore[union-attr]
            assert (len(endpoint.seen), inward.connections) == (1, 0)
