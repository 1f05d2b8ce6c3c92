"""The HTTP sink: POSTs batches as JSON.

The body of a batch, by the integration's ``body``:

- ``array``: ``[event, event, ...]``
- ``envelope``: ``{"batch":"crm:0-100","lane":"crm","first":0,"end":100,"events":[event, event, ...]}``
- ``object``: one request an event, whose body is the event. Its batch id is that of the one-event range, ``crm:17-18``.

Every request carries ``webhook-id`` (the batch id, the same on every try), ``webhook-timestamp`` (UNIX seconds of this
try) and ``distributary-sequence`` (``LANE FIRST-END``: the sequence numbers of the events inside, ``END`` not included).
The bytes of the body depend on the batch alone.
"""

import asyncio
import ssl
import time
import zlib
from http import HTTPStatus
from pathlib import Path
from typing import Final, Literal

from multidict import CIMultiDict
from pydantic import Field, model_validator

from pipeline.errors import ConfigError
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch, batch_id
from pipeline.model.integration import Integration
from pipeline.model.section import Section
from pipeline.net.client import Answer, Endpoint, NoAnswer
from pipeline.net.retry_after import retry_after_s
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.http_single import DeliveredEvents, send_each

_COMPRESS_FROM_BYTES: Final = 1024
_COMPRESS_ON_THREAD_FROM_BYTES: Final = 64 * 1024
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW_BITS: Final = 31
_SINGLE_REQUESTS_AT_ONCE: Final = 4
_ANSWER_HEAD_CHARS: Final = 1024
_SHORTEST_SECRET_CHARS: Final = 4
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})


class TlsFiles(Section):
    """PEM files for TLS towards the endpoint."""

    ca: Path | None = Field(None, description="Authorities to trust instead of the machine's.")
    cert: Path | None = Field(None, description="The client certificate to show, with its chain.")
    key: Path | None = Field(None, description="The client certificate's private key, where it is not in `cert`.")

    @model_validator(mode="after")
    def _key_belongs_to_cert(self) -> "TlsFiles":
        if self.key is not None and self.cert is None:
            raise ValueError("key needs cert, the certificate that it belongs to")
        return self


class HttpIntegration(Integration):
    """An integration whose batches are POSTed to its URL."""

    kind: Literal["http"] = Field(description="What the endpoint speaks.")
    body: Literal["array", "object", "envelope"] = Field(
        "array",
        description="`array` sends a batch as a JSON array, `envelope` as an object around that array, "
        "`object` each event in a request of its own.",
    )
    compression: Literal["none", "gzip"] = Field(
        "none", description="`gzip` compresses bodies over 1 KiB (`Content-Encoding: gzip`)."
    )
    tls: TlsFiles | None = Field(
        None, description="PEM files: other authorities (`ca`), a client certificate (`cert`, `key`)."
    )

    @model_validator(mode="after")
    def _tls_needs_https(self) -> "HttpIntegration":
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls needs a url that begins with https://")
        return self


class HttpSink:
    """Delivers one integration's batches by HTTP. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: HttpIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._client = context.client
        authorization = settings.authorization.get_secret_value() if settings.authorization else None
        self._secrets = _secrets_in(authorization)
        self._headers = CIMultiDict(
            {
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": context.user_agent,
            }
        )
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._endpoint: Endpoint | None = None
        self._delivered = DeliveredEvents()

    def __repr__(self) -> str:
        return f"HttpSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        files = self._settings.tls or TlsFiles()
        try:
            self._endpoint = self._client.endpoint(
                self._settings.url, timeout_s=self._settings.timeout_s, ca=files.ca, cert=files.cert, key=files.key
            )
        except (OSError, ValueError) as error:
            named = ", ".join(f"{name} {path}" for name, path in files if path is not None)
            reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
            problem = (
                f"integration {self._settings.id}: cannot use its url or tls files ({named or 'none given'}): {reason}"
            )
            raise ConfigError([problem]) from error

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``; with ``body: object`` each event's request has the whole time-out."""
        if self._settings.body == "object":
            return await send_each(
                batch,
                self._delivered,
                lambda sequence, event: self._post(batch.lane, sequence, sequence + 1, event, now_s),
                requests_at_once=1 if self._settings.ordered else _SINGLE_REQUESTS_AT_ONCE,
            )
        return await self._post(batch.lane, batch.first, batch.end, self._body(batch), now_s)

    async def close(self) -> None:
        """Nothing to let go of: connections belong to the worker's client."""

    def _body(self, batch: Batch) -> bytes:
        if self._settings.body == "array":
            return b"[" + batch.block + b"]"
        head = f'{{"batch":"{batch.id}","lane":"{batch.lane}","first":{batch.first},"end":{batch.end},"events":['
        return head.encode() + batch.block + b"]}"

    async def _post(self, lane: str, first: int, end: int, body: bytes, now_s: float) -> Outcome:
        if self._endpoint is None:
            raise RuntimeError(f"the sink of {self._settings.id} is not open: call open() first")
        started_s = time.monotonic()
        headers = self._headers.copy()
        headers["webhook-id"] = batch_id(lane, first, end)
        headers["webhook-timestamp"] = str(int(now_s))
        headers["distributary-sequence"] = f"{lane} {first}-{end}"
        if self._settings.compression == "gzip" and len(body) > _COMPRESS_FROM_BYTES:
            headers["Content-Encoding"] = "gzip"
            body = await _compress(body)
        answer = await self._client.post(self._endpoint, headers, body)
        duration_s = time.monotonic() - started_s
        if isinstance(answer, NoAnswer):
            return Outcome(Verdict.RETRY, self._masked(answer.detail), duration_s=duration_s, request_bytes=len(body))
        verdict = verdict_of(answer.status)
        return Outcome(
            verdict,
            _describe(answer),
            status=answer.status,
            retry_after_s=retry_after_s(answer.retry_after, now_s=now_s) if verdict is Verdict.RETRY else None,
            duration_s=duration_s,
            request_bytes=len(body),
            answer_bytes=answer.body_bytes,
            answer_head=self._masked(answer.head.decode("utf-8", "replace"))[:_ANSWER_HEAD_CHARS],
        )

    def _masked(self, text: str) -> str:
        """``text`` without the secret, which an endpoint may send back."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def verdict_of(status: int) -> Verdict:
    """What an answer's status means for the batch."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.DELIVERED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRIED_STATUSES:
        return Verdict.RETRY
    return Verdict.REFUSED


def _describe(answer: Answer) -> str:
    # The standard's words for the status, since the endpoint's own could be anything.
    try:
        words = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    except ValueError:
        words = str(answer.status)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return f"the endpoint answered {words}; redirects are not followed, set url to where it leads"
    return f"the endpoint answered {words}"


def _secrets_in(authorization: str | None) -> tuple[str, ...]:
    # Endpoints that send headers back often take the scheme ("Bearer", "Basic") off first.
    if authorization is None:
        return ()
    candidates = (authorization, authorization.partition(" ")[2])
    return tuple(text for text in candidates if len(text) >= _SHORTEST_SECRET_CHARS)


async def _compress(body: bytes) -> bytes:
    if len(body) < _COMPRESS_ON_THREAD_FROM_BYTES:
        return _gzip(body)
    return await asyncio.to_thread(_gzip, body)


def _gzip(body: bytes) -> bytes:
    # zlib writes no time into the header, so a retry is the same bytes.
    return zlib.compress(body, _GZIP_LEVEL, wbits=_GZIP_WINDOW_BITS)


SPEC = SinkSpec(
    kind="http",
    settings=HttpIntegration,
    make=HttpSink,
    summary="POSTs batches as JSON to a URL, as an array, an envelope or one event a request.",
)
