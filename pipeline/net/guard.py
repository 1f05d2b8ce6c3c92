"""Which addresses customers' endpoints may have: only public ones, and the networks that the operator allows.

The guard looks at the address that a socket is about to connect to, not at the URL: names that resolve inward, spellings
such as ``2130706433`` or ``0x7f.1``, and IPv6 forms that carry an IPv4 address inside all end at the same check.
"""

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV4_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP_MARKS = frozenset({0x0000_5EFE, 0x0200_5EFE})  # bits 64 to 95 of a tunnel's address, before the IPv4 address

# Not public, though some versions of ``ipaddress`` call them global.
_ALSO_INWARD: tuple[Network, ...] = (
    IPv4Network("168.63.129.16/32"),  # a cloud's host agent and metadata, on a public-looking address
    IPv4Network("192.0.0.0/24"),  # protocol assignments, among them another cloud's metadata
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, and a third cloud's metadata
    IPv6Network("64:ff9b:1::/48"),  # NAT64 with a network's own prefix
    IPv6Network("100::/64"),  # discarded
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # site-local, as it was once
)


class AddressRefusedError(OSError):
    """The address that an endpoint's name leads to is one that customers' endpoints may not have."""

    def __init__(self, address: str) -> None:
        super().__init__(
            errno.EACCES,
            f"its address {address} is not public; where that is meant, list its network in outbound.allow_networks",
        )


def effective_addresses(address: Address) -> list[Address]:
    """``address`` itself and every IPv4 address that it carries inside, which is where packets may end."""
    if isinstance(address, IPv4Address):
        return [address]
    bare = IPv6Address(int(address))  # without the zone of fe80::1%eth0, which networks do not know
    found: list[Address] = [bare]
    inner = bare.ipv4_mapped
    if inner is not None:
        return [inner]  # not an IPv6 address at all: the kernel speaks IPv4
    is_compatible = bare in _IPV4_COMPATIBLE and not (bare.is_loopback or bare.is_unspecified)
    if is_compatible or bare in _NAT64 or (int(bare) >> 32 & 0xFFFF_FFFF) in _ISATAP_MARKS:
        found.append(IPv4Address(int(bare) & 0xFFFF_FFFF))
    if bare.sixtofour is not None:
        found.append(bare.sixtofour)
    if bare.teredo is not None:
        found.extend(bare.teredo)
    return found


def spelled_address(host: str) -> str | None:
    """The address that ``host`` spells where it is no name; operating systems also take ``0x7f.1`` and ``2130706433``."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() and " " not in host else None
    except (OSError, UnicodeError):
        return None


def _is_public(address: Address) -> bool:
    """Whether anyone on the Internet could reach ``address``, not looking at what it carries inside."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return True  # decided by the IPv4 address inside
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address in network for network in _ALSO_INWARD if network.version == address.version)


class AddressGuard:
    """Decides on addresses, and makes the sockets of those that it lets through.

    ``allow_networks`` are networks (``10.1.0.0/16``, ``::1/128`` or the ``ipaddress`` objects) that are let through
    although they are not public. Raises ``ValueError`` where one cannot be read.
    """

    def __init__(self, allow_networks: Iterable[str | Network] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(ip_network(network) for network in allow_networks)

    def permits(self, address: str) -> bool:
        """Whether endpoints may be at ``address``, an IP address as text; whatever is none is not permitted."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return all(self._permits_itself(each) for each in effective_addresses(parsed))

    def _permits_itself(self, address: Address) -> bool:
        # Each address on its own: an allowed network must not vouch for another address that hides in the same one.
        return _is_public(address) or any(
            address in network for network in self._allowed if network.version == address.version
        )

    def check(self, address: str) -> None:
        """Raise ``AddressRefusedError`` where endpoints may not be at ``address``."""
        if not self.permits(address):
            raise AddressRefusedError(address)

    def make_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one result of ``getaddrinfo``, or raise ``AddressRefusedError``."""
        family, kind, protocol, _, address = addr_info
        self.check(address[0])
        return socket.socket(family=family, type=kind, proto=protocol)
