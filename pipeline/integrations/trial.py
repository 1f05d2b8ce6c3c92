"""A test send: one test event through an integration's own sink, with the request as it went and the answer as it came.

It travels in the lane ``{id}~test``, past windows, ledger and retries, like the test event of ``distributary doctor``. What
is shown holds no secret: neither those of the settings nor a token that was fetched with them.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from multidict import CIMultiDict
from yarl import URL

from pipeline.doctor.describe import event_step
from pipeline.doctor.examine import Doctor
from pipeline.doctor.sample import sample_batch
from pipeline.doctor.step import CONFIGURATION, Examination, State, Step
from pipeline.errors import ConfigError
from pipeline.integrations.secrets import KEEP, masked_url, secret_places
from pipeline.integrations.written import settings_of
from pipeline.model.integration import Integration
from pipeline.net.client import ANSWER_HEAD_BYTES, Answer, Endpoint, HttpClient, NoAnswer
from pipeline.net.mask import Mask
from pipeline.net.proxy import Proxy
from pipeline.sinks.base import SinkContext
from pipeline.sinks.posting import spellings_of
from pipeline.sinks.registry import spec_of

LONGEST_S: Final = 20.0
"""How long a test waits for an endpoint, however long deliveries may: somebody waits for the page."""

_SHOWN_BYTES: Final = 64 * 1024
_OF_DELIVERIES: Final = "webhook-id"
_Exchange = tuple[URL, CIMultiDict[str], bytes, Answer | NoAnswer]
_HIDDEN_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


class SentRequest(msgspec.Struct, frozen=True):
    """One request: ``headers`` and ``body`` as far as they may be shown, the answer's status and beginning, or ``problem``."""

    url: str
    headers: dict[str, str]
    body: str
    status: int | None = None
    answer: str = ""
    problem: str = ""


class Trial(msgspec.Struct, frozen=True):
    """What came of a test send. ``requests`` are there for what speaks HTTP; ``step`` says it in words."""

    integration: str
    kind: str
    is_delivered: bool
    step: Step
    requests: tuple[SentRequest, ...]


async def try_sending(integration: Integration, client: HttpClient, *, now_s: float) -> Trial:
    """Send a test event, ``now_s`` being UNIX seconds. ``client`` is one as workers have it, not opened yet.

    Raises nothing for what the endpoint or the network does.
    """
    integration = _patient(integration)
    recorder = _Recorder(client)
    sink = spec_of(integration.kind).make(integration, SinkContext(recorder))
    await recorder.open()
    try:
        try:
            await sink.open()
        except ConfigError as error:
            step = Step(CONFIGURATION, State.BAD, str(error), "correct the settings")
            return Trial(integration.id, integration.kind, False, step, ())
        try:
            batch = sample_batch(integration, now_s=now_s)
            outcome = await sink.send(batch, now_s=now_s)
        finally:
            await sink.close()
    finally:
        await recorder.close()
    step = event_step(integration, batch, outcome)
    requests = await asyncio.to_thread(_all_shown, recorder.exchanges, _spellings(integration))
    return Trial(integration.id, integration.kind, step.state is State.GOOD, step, requests)


async def examine(integration: Integration, client: HttpClient, *, sends: bool) -> Examination:
    """Take the steps of ``distributary doctor``; with ``sends`` a test event too. ``client`` is not opened yet."""
    doctor = Doctor(client)
    await doctor.open()
    try:
        return await doctor.examine(_patient(integration), sends=sends)
    finally:
        await doctor.close()


class _Recorder(HttpClient):
    """A client that remembers the deliveries that went through it."""

    def __init__(self, inner: HttpClient) -> None:
        super().__init__(inner.guard)
        self._inner = inner
        self.exchanges: list[_Exchange] = []

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def addresses(self, host: str, port: int) -> list[str]:
        return await self._inner.addresses(host, port)

    def endpoint(
        self, url: str, *, timeout_s: float, ca: Path | None = None, cert: Path | None = None, key: Path | None = None
    ) -> Endpoint:
        return self._inner.endpoint(url, timeout_s=timeout_s, ca=ca, cert=cert, key=key)

    def proxy_for(self, url: URL) -> Proxy | None:
        return self._inner.proxy_for(url)

    async def post(
        self,
        endpoint: Endpoint,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[bytes],
        *,
        head_bytes: int = ANSWER_HEAD_BYTES,
    ) -> Answer | NoAnswer:
        answer = await self._inner.post(endpoint, headers, body, head_bytes=head_bytes)
        # A request for an access token is no delivery, and its answer is nothing but a secret.
        if _OF_DELIVERIES in headers:
            self.exchanges.append((endpoint.url, headers.copy(), body if isinstance(body, bytes) else b"", answer))
        return answer


def _patient(integration: Integration) -> Integration:
    return integration.model_copy(update={"timeout_s": min(integration.timeout_s, LONGEST_S)})


def _all_shown(exchanges: Iterable[_Exchange], secrets: Collection[str]) -> tuple[SentRequest, ...]:
    return tuple(_shown(*each, secrets) for each in exchanges)


def _shown(
    url: URL, headers: CIMultiDict[str], body: bytes, answer: Answer | NoAnswer, secrets: Collection[str]
) -> SentRequest:
    # What went in these headers may be in no setting as it stands there: a token that was fetched, a name joined to a password.
    credentials = [
        each for name, text in headers.items() if name.lower() in _HIDDEN_HEADERS for each in spellings_of(text)
    ]
    mask = Mask([*secrets, *credentials])
    return SentRequest(
        url=masked_url(mask.hide(str(url))),
        headers={name: KEEP if name.lower() in _HIDDEN_HEADERS else mask.hide(text) for name, text in headers.items()},
        body=_text(body, mask),
        status=answer.status if isinstance(answer, Answer) else None,
        answer=_text(answer.head, mask) if isinstance(answer, Answer) else "",
        problem=mask.hide(answer.detail) if isinstance(answer, NoAnswer) else "",
    )


def _text(body: bytes, mask: Mask) -> str:
    return mask.hide(body[:_SHOWN_BYTES].decode("utf-8", "replace"))


def _spellings(integration: Integration) -> set[str]:
    """Each secret of the settings as it may stand in a request or come back in an answer."""
    settings = settings_of(integration)
    texts = {text for place in secret_places(type(integration)) for text in _texts_at(settings, place)}
    texts |= {word for text in texts for word in text.split()}
    return texts | {base64.b64encode(each.encode()).decode() for text in texts for each in (text, f"{text}:")}


def _texts_at(settings: Any, place: tuple[str, ...]) -> list[str]:
    for key in place:
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    values = settings if isinstance(settings, list) else [settings]
    return [value for value in values if isinstance(value, str)]
