"""Where an integration's deliveries go, as far as a connection cares."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yarl import URL

from pipeline.model.integration import Integration
from pipeline.net.tls import client_context

_SECURE_SCHEMES: Final = frozenset({"https", "grpcs"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
_GRPC_SCHEMES: Final = frozenset({"grpc", "grpcs"})


@dataclass(frozen=True, slots=True)
class Target:
    """``host`` and ``port`` of an endpoint, and how it is spoken to.

    ``ca``, ``cert`` and ``key`` are the integration's PEM files. ``is_grpc`` endpoints must agree to HTTP/2 during TLS.
    """

    url: URL
    host: str
    port: int
    has_tls: bool
    is_grpc: bool
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def place(self) -> str:
        """``host:port``, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name that the certificate must be valid for."""
        return (self.url.raw_host or self.host).rstrip(".")

    def context(self, *, verifies: bool = True) -> ssl.SSLContext:
        """TLS as deliveries have it; without ``verifies`` only to look at the certificate. Reads files."""
        context = client_context(self.ca, self.cert, self.key)
        context.set_alpn_protocols(["h2"] if self.is_grpc else ["http/1.1"])
        if not verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def target_of(integration: Integration) -> Target:
    """Where ``integration`` delivers to, whatever its kind."""
    return _target(integration.url, integration)


def other_targets_of(integration: Integration) -> dict[str, Target]:
    """The other hosts that deliveries need, such as where tokens are fetched, by the setting that names them."""
    found: dict[str, Target] = {}
    for path in integration.url_keys:
        value: object = integration
        for key in path:
            value = getattr(value, key, None)
        if isinstance(value, str) and path != ("url",):
            found[".".join(path)] = _target(value, integration)
    return found


def _target(text: str, integration: Integration) -> Target:
    url = URL(text)
    host, port = url.host, url.port or _DEFAULT_PORTS.get(url.scheme)
    assert host, "the settings have checked their url"
    assert port, "the settings have checked the scheme"
    files = getattr(integration, "tls", None)  # kinds that have PEM files all call them so
    return Target(
        url,
        host,
        port,
        has_tls=url.scheme in _SECURE_SCHEMES,
        is_grpc=url.scheme in _GRPC_SCHEMES,
        ca=getattr(files, "ca", None),
        cert=getattr(files, "cert", None),
        key=getattr(files, "key", None),
    )
