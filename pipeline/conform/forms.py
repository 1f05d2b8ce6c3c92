"""The form that requests of each kind have."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from standardwebhooks import Webhook

from pipeline.conform.compose import Form, Sign, Signed
from pipeline.ingest.event import Event
from pipeline.sinks.email import EmailStatus
from pipeline.sinks.posting import Events
from pipeline.sinks.signing import signing_key
from pipeline.sinks.xtremepush_auth import SIGNATURE_HEADER, signature_header
from pipeline.sinks.xtremepush_mapping import Translation

Body = Literal["array", "envelope", "object"]

KINDS: Final = ("http", "email", "xtremepush")
"""The kinds of receivers that can be tried."""

_decode: Final = msgspec.json.Decoder(Event).decode
_encode: Final = msgspec.json.Encoder().encode
_NOBODYS_KEY: Final = hashlib.sha256(b"a key that no receiver has").digest()
_GZIP_WINDOW_BITS: Final = 31


def form_of(kind: str, *, body: Body = "array", secret: str | None = None) -> Form:
    """What requests of ``kind`` look like, signed where there is a ``secret``; ``body`` is the http sink's setting.

    Raises ``ValueError`` where the secret cannot be used for this kind.
    """
    match kind:
        case "email" if secret is not None:
            raise ValueError("requests of kind email are not signed; leave --secret out")
        case "email":
            return Form(kind, _email, most_events=1, is_ever_signed=False)
        case "xtremepush":
            sign = None if secret is None else _xtremepush_signatures(secret)
            return Form(kind, _xtremepush, most_events=1, sign=sign, has_long_texts=False)
        case _:
            return http_form(body, secret)


def http_form(body: Body = "array", secret: str | None = None) -> Form:
    """What the http sink sends with this ``body`` setting, signed where there is a ``secret``.

    Raises ``ValueError`` where the secret is none.
    """
    return Form(
        kind="http",
        body_of={"array": _array, "envelope": _envelope, "object": _single}[body],
        most_events=1 if body == "object" else 0,
        sign=None if secret is None else _standard_webhooks(signing_key(secret)),
        compress=_gzip,
        sends_unknown_fields=True,
    )


def _array(_: Events, encoded: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(encoded) + b"]"


def _envelope(events: Events, encoded: Sequence[bytes]) -> bytes:
    first, end = events.ranges[0][0], events.ranges[-1][1]
    head = f'{{"batch":"{events.name}","lane":"{events.lane}","first":{first},"end":{end},"events":'
    return head.encode() + _array(events, encoded) + b"}"


def _single(_: Events, encoded: Sequence[bytes]) -> bytes:
    return encoded[0]


def _email(_: Events, encoded: Sequence[bytes]) -> bytes:
    return _encode(EmailStatus.of(_decode(encoded[0])))


_translation: Final = Translation({}, {})


def _xtremepush(_: Events, encoded: Sequence[bytes]) -> bytes:
    return _encode(_translation.translate(_decode(encoded[0])))


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, 1, wbits=_GZIP_WINDOW_BITS)


def _standard_webhooks(key: bytes) -> Sign:
    own, other = Webhook(key), Webhook(_NOBODYS_KEY)

    def sign(headers: Mapping[str, str], body: bytes, at_s: int, signed: Signed) -> Mapping[str, str]:
        moment, webhook_id, text = datetime.fromtimestamp(at_s, UTC), headers["webhook-id"], body.decode()
        right, wrong = own.sign(webhook_id, moment, text), other.sign(webhook_id, moment, text)
        values = {
            Signed.RIGHT: right,
            Signed.WRONG: wrong,
            Signed.OTHER_BODY: own.sign(webhook_id, moment, text + " "),
            Signed.WRONG_THEN_RIGHT: f"{wrong} {right}",
            Signed.UNKNOWN_SCHEME_TOO: f"v9,{wrong.partition(',')[2]} {right}",
        }
        return {"webhook-signature": values[signed]}

    return sign


def _xtremepush_signatures(secret: str) -> Sign:
    other = _NOBODYS_KEY.hex()

    def sign(_: Mapping[str, str], body: bytes, at_s: int, signed: Signed) -> Mapping[str, str]:
        def header(body: bytes, *keys: str) -> str:
            return signature_header(body, keys, now_s=at_s)

        right, wrong = header(body, secret), header(body, other)
        values = {
            Signed.RIGHT: right,
            Signed.WRONG: wrong,
            Signed.OTHER_BODY: header(body + b" ", secret),
            Signed.WRONG_THEN_RIGHT: header(body, other, secret),
            Signed.UNKNOWN_SCHEME_TOO: right.replace(",v1=", f",v9={wrong.partition('v1=')[2]},v1="),
        }
        return {SIGNATURE_HEADER: values[signed]}

    return sign
