"""TLS towards endpoints."""

import ssl
from pathlib import Path


def client_context(ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A context that verifies the other side's certificate and name, TLS 1.2 or newer.

    ``ca`` (PEM) replaces the machine's authorities; ``cert`` and ``key`` (PEM, the key may be inside ``cert``) are shown to
    endpoints that ask who is calling. Reads files. Raises ``OSError`` (``ssl.SSLError`` is one) where one cannot be used.
    """
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        context.load_cert_chain(str(cert), None if key is None else str(key), password=_no_password)
    return context


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal, and the worker would wait for somebody to type.
    raise ssl.SSLError("the private key is protected by a password; give one that is not")
