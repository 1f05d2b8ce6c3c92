"""Whose request it is: the address that it comes from, through proxies that are trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web


class Callers:
    """Tells callers' addresses. ``trusted`` are the networks of proxies whose ``X-Forwarded-For`` is believed."""

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted)

    def of(self, request: web.BaseRequest) -> str:
        """The address of whoever sends ``request``."""
        forwarded = request.headers.getall("X-Forwarded-For", ()) if self._trusted else ()
        return self.address_of(request.remote or "", forwarded)

    def address_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The last address in the ``X-Forwarded-For`` headers that is not a trusted proxy's; ``peer`` where there is none.

        Whatever stands before it may be made up by the caller.
        """
        if not self._trusted or not self._trusts(peer):
            return peer
        for part in reversed(",".join(forwarded_for).split(",")):
            address = part.strip()
            try:
                ip_address(address)
            except ValueError:
                break
            if not self._trusts(address):
                return address
        return peer

    def _trusts(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped.version == network.version and mapped in network for network in self._trusted)
