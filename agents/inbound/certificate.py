"""The listener's own certificate, taken anew when its files change."""

import ssl
from pathlib import Path
from typing import Final

import structlog

from pipeline.errors import ConfigError
from pipeline.inbound.settings import InboundTls

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 60.0


class Certificate:
    """``context`` is what connections are made with. Reads files; raises ``ConfigError`` where they cannot be used."""

    def __init__(self, settings: InboundTls) -> None:
        self._settings = settings
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._load(self.context)
            self._changed_at = self._last_change()
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError([f"inbound.tls: the certificate or its key cannot be used: {error}"]) from None

    def look(self) -> None:
        """Use the files as they are now, for new connections; where they cannot be used, what was read before goes on."""
        try:
            changed_at = self._last_change()
            if changed_at == self._changed_at:
                return
            self._changed_at = changed_at
            self._load(
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            )  # a pair that does not fit must not replace one that does
            self._load(self.context)
        except OSError as error:
            log.error("the new certificate of inbound.tls cannot be used, the one before stays", error=str(error))  # noqa: TRY400 the words say it
        else:
            log.info("the certificate of inbound.tls was read again")

    def _load(self, context: ssl.SSLContext) -> None:
        key = self._settings.key
        context.load_cert_chain(str(self._settings.cert), None if key is None else str(key), password=_no_password)

    def _last_change(self) -> tuple[int, ...]:
        paths: list[Path] = [self._settings.cert, *([self._settings.key] if self._settings.key else [])]
        return tuple(path.stat().st_mtime_ns for path in paths)


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal, and the worker would wait for somebody to type.
    raise ssl.SSLError("the private key is protected by a password; give one that is not")
