"""The HTTP sink: POSTs batches as JSON.

The body of a batch, by the integration's ``body``:

- ``array``: ``[event, event, ...]``
- ``envelope``: ``{"batch":"crm:0-100","lane":"crm","first":0,"end":100,"events":[event, event, ...]}``
- ``object``: one request an event, whose body is the event. Its batch id is that of the one-event range, ``crm:17-18``.

The bytes of the body depend on the batch alone. What the requests carry beside it: ``pipeline.sinks.posting``, and where
the integration signs, ``pipeline.sinks.signing``. An answer may take a batch but for some events:
``pipeline.sinks.failed_events``.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from typing import Final, Literal

from pydantic import Field

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.each import send_each
from pipeline.sinks.failed_events import without_failed
from pipeline.sinks.posting import Events, PostedIntegration, Posting
from pipeline.sinks.signing import Signer, Signing, spellings_of_secrets

_COMPRESS_FROM_BYTES: Final = 1024
_COMPRESS_ON_THREAD_FROM_BYTES: Final = 64 * 1024
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW_BITS: Final = 31


class HttpIntegration(PostedIntegration):
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
    signing: Signing | None = Field(
        None, description="Signs each request by Standard Webhooks (`webhook-signature`), with one secret or two."
    )

    @property
    def sends_each(self) -> bool:
        """Whether each event is a request of its own."""
        return self.body == "object"


class HttpSink:
    """Delivers one integration's batches by HTTP. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: HttpIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._signer = None if settings.signing is None else Signer(settings.signing)
        secrets = [] if settings.signing is None else spellings_of_secrets(settings.signing)
        self._posting = Posting(settings, context, secrets=secrets)
        self._leaving = context.leaving

    def __repr__(self) -> str:
        return f"HttpSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        await self._posting.open()

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``; with ``body: object`` each event's request has the whole time-out."""
        if self._settings.body == "object":
            return await send_each(
                batch,
                lambda one, event, at_s: self._post(one, event, at_s, lambda: [(one.ranges[0][0], event)]),
                now_s=now_s,
                is_ordered=self._settings.ordered,
                leaving=self._leaving,
            )
        return await self._post(Events.of(batch), self._body(batch), now_s, batch.numbered)

    async def close(self) -> None:
        """Nothing to let go of: connections belong to the worker's client."""

    def _body(self, batch: Batch) -> bytes:
        if self._settings.body == "array":
            return b"[" + batch.block + b"]"
        head = f'{{"batch":"{batch.id}","lane":"{batch.lane}","first":{batch.first},"end":{batch.end},"events":['
        return head.encode() + batch.block + b"]}"

    async def _post(
        self, events: Events, body: bytes, now_s: float, numbered: Callable[[], Iterable[tuple[int, bytes]]]
    ) -> Outcome:
        headers = {}
        if self._signer is not None:
            headers["webhook-signature"] = await self._signer.signature(events.name, body, now_s=now_s)
        if self._settings.compression == "gzip" and len(body) > _COMPRESS_FROM_BYTES:
            headers["Content-Encoding"] = "gzip"
            body = await _compress(body)
        outcome, answer = await self._posting.post(events, body, now_s=now_s, headers=headers)
        if answer is None:
            return outcome
        return without_failed(outcome, answer, numbered, now_s=now_s, masked=self._posting.masked)


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
