"""How the record of a request is filled in, whichever way the request came."""

from typing import Final

from aiohttp import web

from agents.inbound.reading import read_soon
from pipeline.inbound.keys import LONGEST_IDEMPOTENCY_KEY
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import SHOWN_BODY_BYTES, SHOWN_UNREAD_BYTES, InboundRequest, shown_body

KEY_HEADERS: Final = ("Idempotency-Key", "webhook-id")
"""What a caller may name a request with, so that it fires once however often it is sent; the first one counts."""


def key_of(request: web.BaseRequest) -> str:
    """The caller's idempotency key, as it came; empty where there is none."""
    for name in KEY_HEADERS:
        key = request.headers.get(name)
        if key:
            return key
    return ""


def refuse(record: InboundRequest, outcome: Outcome, detail: str = "") -> None:
    """Note that nothing came of the request, and why."""
    record.outcome, record.status, record.detail = outcome, outcome.status, shown(detail)


def show(record: InboundRequest, body: bytes) -> None:
    """Keep the body for people."""
    record.size_bytes = len(body)
    record.body, record.is_cut = shown_body(body)


async def show_unread(record: InboundRequest, request: web.BaseRequest) -> None:
    """Keep what has come of the body of a request that was refused before it was read, and its size where the head tells."""
    body = await read_soon(request, SHOWN_BODY_BYTES)
    record.size_bytes = len(body) or request.content_length or 0
    record.body, record.is_cut = shown_body(body, SHOWN_UNREAD_BYTES)
    record.is_cut = record.is_cut or (bool(record.size_bytes) and not record.body)


def shown(text: str) -> str:
    """``text`` as a record holds it: headers may hold bytes that are no text."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text[:LONGEST_IDEMPOTENCY_KEY]
