"""What callers are answered: JSON, with the outcome, what to do about it, and when to come again."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from pipeline.inbound.outcome import Outcome

RETRY_AFTER_S: Final = 1
"""When to come again after an answer of 503: what is overloaded or away is asked for no more often than this."""

SERVER: Final = "Distributary"
_JSON: Final = "application/json"

_encode = msgspec.json.Encoder().encode


class _Accepted(msgspec.Struct):
    outcome: str
    request_id: str
    event_id: str


class _Refused(msgspec.Struct, omit_defaults=True):
    outcome: str
    message: str
    detail: str = ""
    request_id: str = ""


def json_answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer with ``body``, JSON, as it is; none where it is empty."""
    own = {"Server": SERVER, **(headers or {})}
    if body:
        own["Content-Type"] = _JSON
    return web.Response(status=status, body=body, headers=own)


def accepted(request_id: str, event_id: str) -> web.Response:
    """Kafka has the event."""
    return json_answer(Outcome.ACCEPTED.status, _encode(_Accepted(Outcome.ACCEPTED.value, request_id, event_id)))


def refused(
    outcome: Outcome, *, request_id: str = "", detail: str = "", retry_after_s: int = RETRY_AFTER_S
) -> web.Response:
    """No event, and why. ``retry_after_s`` goes with outcomes that pass."""
    headers: dict[str, str] = {}
    if outcome.is_temporary:
        headers["Retry-After"] = str(retry_after_s)
    if outcome is Outcome.METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    if outcome is Outcome.AUTH_REJECTED:
        headers["WWW-Authenticate"] = "Bearer"
    body = _encode(_Refused(outcome.value, outcome.meaning, detail, request_id))
    return json_answer(outcome.status, body, headers)
