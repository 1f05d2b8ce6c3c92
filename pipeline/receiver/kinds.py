"""How a receiver reads what each kind of sink sends over HTTP, and what it answers."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.receiver.http_server import Request, response
from pipeline.receiver.read import UnacceptableError, read_delivery, read_place
from pipeline.receiver.read_email import read_email
from pipeline.receiver.read_segment import THANKS, read_segment
from pipeline.receiver.read_xtremepush import read_xtremepush
from pipeline.receiver.signature import verify_signature
from pipeline.receiver.tally import Delivery
from pipeline.sinks.signing import signing_key

Read = Callable[[Request, float], Delivery]
"""Reads a request that came at a time in UNIX seconds; raises ``UnacceptableError``."""

_OK: Final = response(200, b"ok")
_UNAUTHORIZED: Final = frozenset({"authorization", "signature", "write-key"})


class Reading(NamedTuple):
    """What a receiver of one kind does with a request: ``read`` it, and say ``thanks`` where it could.

    ``needs_body`` says whether bodies are to be kept at all.
    """

    read: Read
    thanks: bytes
    needs_body: bool


def reading_of(
    kind: str = "http",
    *,
    verify: bool = True,
    check_fields: bool = False,
    secrets: Sequence[str] = (),
    write_key: str | None = None,
    authorization: str | None = None,
) -> Reading:
    """How to read ``kind``; raises ``ValueError`` where there is no such kind, or a secret is none.

    ``secrets`` are those of which one must have signed each request, ``write_key`` the one that Segment's calls must show,
    ``authorization`` the value that the header must have; where they are not given, none is asked for. Without ``verify``
    only the headers of a delivery are looked at.
    """
    if kind not in _READERS:
        raise ValueError(f"{kind} is not one of {', '.join(_READERS)}")
    if secrets and not verify:
        raise ValueError("signatures are verified over bodies: count-only and secrets exclude each other")
    reading = _READERS[kind](_Asked(verify, check_fields, secrets, write_key))
    return reading if authorization is None else reading._replace(read=_authorized(reading.read, authorization))


def refusal_status(reason: str) -> int:
    """The status that answers a request which is unacceptable for ``reason``."""
    return 401 if reason in _UNAUTHORIZED else 400


class _Asked(NamedTuple):
    """What ``reading_of`` was asked for."""

    verify: bool
    check_fields: bool
    secrets: Sequence[str]
    write_key: str | None


def _http(asked: _Asked) -> Reading:
    for secret in asked.secrets:
        signing_key(secret)

    def read(request: Request, now_s: float) -> Delivery:
        if asked.secrets:
            verify_signature(request.headers, request.body, asked.secrets, now_s)
        return read_delivery(request, verify=asked.verify, check_fields=asked.check_fields)

    return Reading(read, _OK, needs_body=asked.verify)


def _email(asked: _Asked) -> Reading:
    if asked.secrets:
        raise ValueError("requests of kind email are not signed, so no secret can verify them")
    return Reading(_unless_counting(asked, lambda request, _: read_email(request)), _OK, needs_body=asked.verify)


def _xtremepush(asked: _Asked) -> Reading:
    def read(request: Request, now_s: float) -> Delivery:
        return read_xtremepush(request, secrets=asked.secrets, now_s=now_s)

    return Reading(_unless_counting(asked, read), _OK, needs_body=asked.verify)


def _segment(asked: _Asked) -> Reading:
    if asked.secrets:
        raise ValueError("Segment's calls are not signed: give the write key instead of a secret")
    if not asked.verify:
        raise ValueError("Segment's calls name their events in the body alone, so they cannot be counted without it")

    def read(request: Request, now_s: float) -> Delivery:  # noqa: ARG001
        return read_segment(request, write_key=asked.write_key)

    return Reading(read, THANKS, needs_body=True)


def _unless_counting(asked: _Asked, read: Read) -> Read:
    """``read`` where requests are verified; else only the headers are looked at."""
    if asked.verify:
        return read
    return lambda request, _: read_place(request.headers, verify=False).delivery(None, request.body_bytes)


def _authorized(read: Read, authorization: str) -> Read:
    expected = authorization.encode()

    def checked(request: Request, now_s: float) -> Delivery:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            raise UnacceptableError("authorization", "the Authorization header is not the one that was agreed on")
        return read(request, now_s)

    return checked


_READERS: Final[Mapping[str, Callable[[_Asked], Reading]]] = {
    "http": _http,
    "email": _email,
    "xtremepush": _xtremepush,
    "segment": _segment,
}

KINDS: Final = tuple(_READERS)
"""The kinds that speak HTTP."""
