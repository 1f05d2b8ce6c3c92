"""Faust's web server without Faust's own pages: only what is mounted, within limits, with the same headers on everything."""

import logging
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from faust.web.drivers.aiohttp import Web

from pipeline.errors import ConfigError
from pipeline.view.settings import ViewSettings

MOST_LINE_BYTES: Final = 8190
CLOSE_S: Final = 1.0
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "none",
}


class ViewWeb(Web):
    """The web server of a worker. ``check_bind`` is asked before it listens."""

    default_blueprints = ()
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()
    check_bind: Callable[[str], str] = staticmethod(lambda _bind: "")

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self._runner = web.AppRunner(
            self.web_app,
            access_log=None,
            logger=_server_log(),
            # A reader who goes away ends what was done for him; acts are shielded from that.
            handler_cancellation=True,
            shutdown_timeout=CLOSE_S,
            max_line_size=MOST_LINE_BYTES,
            max_field_size=MOST_LINE_BYTES,
        )
        self.web_app.on_response_prepare.append(_add_headers)

    def use(self, settings: ViewSettings) -> None:
        """Listen only where ``settings`` permit it."""
        self.check_bind = settings.refusal

    async def start_server(self) -> None:
        """Begin to listen; raises ``ConfigError`` where that would open the view to everybody."""
        refusal = self.check_bind(self.app.conf.web_bind)
        if refusal:
            raise ConfigError([f"view: {refusal}"])
        await super().start_server()


class _NoHttp(logging.Filter):
    """Bytes that are no HTTP are the sender's mistake, and anybody can send them: one line each, and no trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; all are kept."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.exc_info = None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "a request was no HTTP (%s)", (type(error).__name__,)
        return True


def _server_log() -> logging.Logger:
    log = logging.getLogger("aiohttp.server")
    if not any(isinstance(each, _NoHttp) for each in log.filters):
        log.addFilter(_NoHttp())
    return log


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.popall("Server", None)
