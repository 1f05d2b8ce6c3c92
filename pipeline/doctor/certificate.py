"""What people need to know of certificates: the endpoint's, and the one that a worker shows to it."""

import ipaddress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

RENEWAL_DAYS: Final = 21
"""A certificate with fewer days left should have been renewed by now: automatic renewal does so at 30."""

_SHOWN_NAMES: Final = 2


class Certificate(msgspec.Struct, frozen=True):
    """An endpoint's own certificate. ``names`` are the hosts that it is for; times are UTC."""

    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    is_self_signed: bool

    def days_left(self, now_s: float) -> int:
        """Whole days until it ends, negative after that."""
        return int((self.not_after.timestamp() - now_s) // 86_400)

    @property
    def ends_on(self) -> str:
        """The day on which it ends, as ``2027-03-01``."""
        return f"{self.not_after:%Y-%m-%d}"

    @property
    def names_in_words(self) -> str:
        """The first names, and how many more there are."""
        if not self.names:
            return "no name"
        more = len(self.names) - _SHOWN_NAMES
        return ", ".join(self.names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate; raises ``ValueError`` where the bytes are none."""
    found = x509.load_der_x509_certificate(der)
    return Certificate(
        names=_names_of(found),
        issuer=_called(found.issuer),
        not_before=found.not_valid_before_utc.astimezone(UTC),
        not_after=found.not_valid_after_utc.astimezone(UTC),
        is_self_signed=found.issuer == found.subject,
    )


def days_left_of(path: Path, *, now_s: float) -> int:
    """Whole days until the first certificate in ``path`` (PEM) ends; raises ``OSError`` or ``ValueError`` where there is none."""
    ends_s = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    return int((ends_s - now_s) // 86_400)


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = listed.get_values_for_type(x509.IPAddress)
    return (*listed.get_values_for_type(x509.DNSName), *(str(_plain(address)) for address in addresses))


def _plain(address: object) -> object:
    return address.network_address if isinstance(address, ipaddress.IPv4Network | ipaddress.IPv6Network) else address


def _called(name: x509.Name) -> str:
    """The organisation and common name, as far as there are any."""
    parts = [
        str(attribute.value)
        for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        for attribute in name.get_attributes_for_oid(oid)[:1]
    ]
    return ", ".join(parts) or name.rfc4514_string() or "nobody"
