"""Hosts to listen on and networks to believe, as ``faust.yml`` names them."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from pipeline.model.section import InWords

_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.:_")


def checked_host(text: str) -> str:
    """Return ``text``, an address or a name, without the brackets of IPv6; raises ``ValueError`` where it is neither."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    if not bare or not set(bare.lower()) <= _HOST_CHARACTERS:
        raise ValueError("is not a host; write an address or a name without port, for example 127.0.0.1")
    if ":" in bare:
        try:
            ip_address(bare)
        except ValueError:
            raise ValueError("is not a host; write it without port") from None
    return bare


def checked_network(value: object) -> IPv4Network | IPv6Network:
    """Read a network as ``address/length``; raises ``ValueError`` with what to write."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"is not a network ({error}); write for example 10.1.0.0/16 or 127.0.0.1/32") from None


def in_url(host: str) -> str:
    """``host`` as a URL holds it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def parts_of(value: Any) -> Any:
    """Take one text with commas for a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Host = Annotated[str, AfterValidator(checked_host)]
"""Where to listen."""

Networks = Annotated[
    tuple[
        Annotated[
            IPv4Network | IPv6Network,
            BeforeValidator(checked_network),
            PlainSerializer(str, when_used="json"),
        ],
        ...,
    ],
    BeforeValidator(parts_of),
    InWords("list of networks, each as address/length"),
]
"""Where somebody who is believed connects from."""
