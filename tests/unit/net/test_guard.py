import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.net.guard import AddressGuard, AddressRefusedError

INWARD = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "233.252.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:168.63.129.16",
    "0:0:0:0:0:ffff:c0a8:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::192.168.1.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::a9fe:a9fe%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "::ffff:0:127.0.0.1",
    "::ffff:0:0",
    "fd20:ce::254",
    "fe80::5efe:10.0.0.1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:169.254.169.254",
    "2001:0:a00:1:8000:63bf:80ff:fffe",
]

NOT_ADDRESSES = [
    "",
    "localhost",
    "2130706433",
    "0x7f.1",
    "127.1",
    "0177.0.0.1",
    "127.0.0.1 ",
    "1.1.1.1\n",
    "[::1]",
    "\u0661.\u0661.\u0661.\u0661",
]

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "192.167.255.255", "100.128.0.1", "2606:4700::1111"]
PUBLIC_INSIDE = ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:8.8.8.8"]


@pytest.mark.parametrize("address", INWARD)
def test_an_inward_address_is_refused(address: str) -> None:
    assert not AddressGuard().permits(address)


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert not AddressGuard().permits(text)


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_INSIDE)
def test_a_public_address_is_permitted(address: str) -> None:
    assert AddressGuard().permits(address)


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("10.1.0.0/16", "10.1.2.3"),
        ("10.1.0.0/16", "64:ff9b::10.1.2.3"),
        ("::1/128", "::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("169.254.169.254/32", "169.254.169.254"),
    ],
)
def test_an_allowed_network_is_permitted(network: str, address: str) -> None:
    assert AddressGuard([network]).permits(address)


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "::1", "::ffff:10.2.0.1", "169.254.169.254"])
def test_an_allowed_network_permits_no_other(address: str) -> None:
    assert not AddressGuard(["10.1.0.0/16"]).permits(address)


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.0.0.0/8", "2001:0:a00:1:8000:63bf:80ff:fffe"),  # Teredo: the server is 10.0.0.1, the client 127.0.0.1
        ("2001::/23", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
        ("fe80::/10", "fe80::5efe:10.0.0.1"),
        ("127.0.0.0/8", "::127.0.0.1"),
        ("127.0.0.0/8", "64:ff9b:1::7f00:1"),
    ],
)
def test_an_allowed_network_vouches_for_no_other_address_inside(network: str, address: str) -> None:
    assert not AddressGuard([network]).permits(address)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_a_tunnel_needs_both_of_its_ends_permitted(server: IPv4Address, client: IPv4Address) -> None:
    teredo = IPv6Address((0x2001_0000 << 96) | (int(server) << 64) | (int(client) ^ 0xFFFF_FFFF))
    guard = AddressGuard(["2001::/23", "10.0.0.0/8"])
    assert guard.permits(str(teredo)) == (guard.permits(str(server)) and guard.permits(str(client)))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_inside(address: object) -> None:
    guard = AddressGuard()
    assert guard.permits(f"::ffff:{address}") == guard.permits(str(address))


@given(st.ip_addresses(v=4))
def test_translation_and_tunnels_open_no_way_in(address: object) -> None:
    guard = AddressGuard()
    if not guard.permits(str(address)):
        assert not guard.permits(f"64:ff9b::{address}")
        assert not guard.permits(f"::{address}")


@given(st.ip_addresses())
def test_every_address_gets_a_decision(address: object) -> None:
    assert AddressGuard().permits(str(address)) in (True, False)
    assert AddressGuard(["0.0.0.0/0", "::/0"]).permits(str(address))


def test_no_socket_is_made_for_a_refused_address() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.1 is not public.*outbound\.allow_networks"):
        AddressGuard().make_socket(info)
    with AddressGuard(["127.0.0.0/8"]).make_socket(info) as made:
        assert made.family is socket.AF_INET


def test_a_wrong_network_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="host bits"):
        AddressGuard(["10.1.2.3/16"])
