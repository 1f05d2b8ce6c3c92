"""What people are told, as a record of ``<app>-notices`` and as a request to the operations webhook."""

import enum
from typing import Final

import msgspec

from pipeline.errors import CodecError


class Cause(enum.StrEnum):
    """What a notice is about."""

    BREAKER_OPENED = "breaker_opened"  # an endpoint fails every try: it is left alone for a while
    BREAKER_CLOSED = "breaker_closed"  # it takes batches again
    BATCHES_PARKED = "batches_parked"  # batches gave up and wait for replay
    ENDPOINT_GONE = "endpoint_gone"  # 410: nothing more is sent before somebody says so
    CREDENTIALS_REFUSED = "credentials_refused"  # 401 or 403, several times in a row
    WAITING_LONG = "waiting_long"  # a batch will soon have waited for max_wait
    PARKED_EXPIRING = "parked_expiring"  # parked batches can be replayed for less than a day more
    AUTH_REJECTED = "auth_rejected"  # requests to a webhook had a wrong secret, several times in a row
    SOURCE_RECREATED = "source_recreated"  # the source topic's offsets start again: the worker stopped


CLOSES: Final = {Cause.BREAKER_CLOSED: Cause.BREAKER_OPENED}
"""What ends, by what tells of its end."""

_WORDS: Final = {
    Cause.BREAKER_OPENED: "endpoint fails, nothing is sent for a while",
    Cause.BREAKER_CLOSED: "endpoint takes batches again",
    Cause.BATCHES_PARKED: "batches were parked",
    Cause.ENDPOINT_GONE: "endpoint is gone, nothing more is sent",
    Cause.CREDENTIALS_REFUSED: "endpoint refuses the credentials",
    Cause.WAITING_LONG: "batches have waited for long",
    Cause.PARKED_EXPIRING: "parked batches can soon no longer be replayed",
    Cause.AUTH_REJECTED: "callers do not have its secret",
    Cause.SOURCE_RECREATED: "source topic was made again, the worker stopped",
}


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record value of ``<app>-notices``, as JSON.

    ``id`` is unique. ``integration`` is absent where the notice is about an inbound webhook, which ``webhook`` names, or about
    the whole deployment. ``at`` is UNIX seconds. ``detail`` is one line for people. ``suppressed`` is how many of the same
    cause and integration, or webhook, were not told since the last one that was.
    """

    id: str
    cause: Cause
    at: float
    detail: str
    integration: str | None = None
    suppressed: int = 0
    webhook: str | None = None

    @property
    def text(self) -> str:
        """All of it in one line."""
        times = "once" if self.suppressed == 1 else f"{self.suppressed} times"
        more = f" (and {times} more before)" if self.suppressed else ""
        about = f"webhook {self.webhook}" if self.webhook else self.integration or "worker"
        return f"{about}: {_WORDS[self.cause]}: {self.detail}{more}"


class _Posted(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    app: str
    cause: Cause
    at: float
    text: str
    detail: str
    integration: str | None = None
    suppressed: int = 0
    webhook: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Notice)
encode_notice = _encoder.encode


def decode_notice(value: bytes) -> Notice:
    """Read a record value of the notices topic; raises ``CodecError`` where it is none."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CodecError(
            f"a record of the notices topic is no notice ({error}); was it written by another program?"
        ) from error


def webhook_body(notice: Notice, app: str) -> bytes:
    """What is POSTed: the notice, with the deployment's name and ``text``, one line that chat services show as it is."""
    return _encoder.encode(
        _Posted(
            notice.id,
            app,
            notice.cause,
            notice.at,
            f"{app}: {notice.text}",
            notice.detail,
            notice.integration,
            notice.suppressed,
            notice.webhook,
        )
    )
