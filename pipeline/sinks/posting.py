"""POSTing to one integration's endpoint: what all sinks that speak HTTP have in common.

Every request carries ``webhook-id`` (the batch's name, the same whenever these events are tried), ``webhook-timestamp``
(UNIX seconds of this try) and ``distributary-sequence`` (``LANE FIRST-END``: the sequence numbers of the events inside,
``END`` not included; several ranges, with commas, where a part is left of a batch; ``LANE FIRST-END~COUNT`` where these would
be long, which says between which numbers the events lie and how many they are). Events that have not just happened are
marked with ``distributary-purpose``: ``backfill`` or ``test``.
"""

import ssl
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from multidict import CIMultiDict
from pydantic import Field, model_validator

from pipeline.errors import ConfigError
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch, batch_id, purpose_of
from pipeline.model.integration import Integration
from pipeline.model.ranges import Ranges, count_of
from pipeline.model.section import Section
from pipeline.net.client import ANSWER_HEAD_BYTES, ANSWER_READ_BYTES, Answer, Endpoint, NoAnswer
from pipeline.net.encoding import unpacked
from pipeline.net.location import ITSELF, destination_of
from pipeline.net.mask import Mask
from pipeline.net.retry_after import retry_after_s
from pipeline.sinks.base import SinkContext

_ANSWER_HEAD_CHARS: Final = 1024
_LONGEST_SEQUENCE_BYTES: Final = 4096  # servers take 8 KiB, some for all headers together
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
_HINTS: Final = {
    401: Hint.UNAUTHORIZED,
    403: Hint.UNAUTHORIZED,
    410: Hint.GONE,
    413: Hint.TOO_LARGE,
    429: Hint.THROTTLED,
    503: Hint.THROTTLED,
}


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


class PostedIntegration(Integration):
    """An integration whose events are POSTed to its URL."""

    tls: TlsFiles | None = Field(
        None, description="PEM files: other authorities (`ca`), a client certificate (`cert`, `key`)."
    )

    @model_validator(mode="after")
    def _tls_needs_https(self) -> "PostedIntegration":
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls needs a url that begins with https://")
        return self


class Events(NamedTuple):
    """Which events a request carries: the name they go by, and where they stand in their lane's sequence."""

    name: str
    lane: str
    ranges: Ranges

    @classmethod
    def of(cls, batch: Batch) -> "Events":
        """All of ``batch``."""
        return cls(batch.id, batch.lane, batch.ranges)

    @classmethod
    def single(cls, lane: str, sequence: int) -> "Events":
        """One event."""
        return cls(batch_id(lane, sequence, sequence + 1), lane, ((sequence, sequence + 1),))

    def headers(self, *, now_s: float) -> dict[str, str]:
        """What tells a receiver which events these are, ``now_s`` being UNIX seconds of the try."""
        sequence = f"{self.lane} " + ",".join(f"{first}-{end}" for first, end in self.ranges)
        if len(sequence) > _LONGEST_SEQUENCE_BYTES:
            sequence = f"{self.lane} {self.ranges[0][0]}-{self.ranges[-1][1]}~{count_of(self.ranges)}"
        headers = {
            "webhook-id": self.name,
            "webhook-timestamp": str(int(now_s)),
            "distributary-sequence": sequence,
        }
        purpose = purpose_of(self.lane)
        return headers if purpose is None else headers | {"distributary-purpose": purpose}


class Posting:
    """Requests to the endpoint of one integration, and what their answers mean.

    ``headers`` go with every request. ``secrets`` are texts that must not be shown, should the endpoint send them back.
    ``url`` is where requests go, if that is not the integration's own.
    """

    def __init__(
        self,
        settings: PostedIntegration,
        context: SinkContext,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        url: str | None = None,
    ) -> None:
        self._settings = settings
        self._url = url or settings.url
        self._client = context.client
        self._endpoint: Endpoint | None = None
        all_secrets = [*secrets]
        self._headers = CIMultiDict(
            {
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": context.user_agent,
            }
        )
        if settings.authorization is not None:
            self._headers["Authorization"] = settings.authorization.get_secret_value()
            all_secrets += spellings_of(settings.authorization.get_secret_value())
        self._headers.update(headers or {})
        self._mask = Mask(all_secrets)

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        files = self._settings.tls or TlsFiles()
        try:
            self._endpoint = self._client.endpoint(
                self._url, timeout_s=self._settings.timeout_s, ca=files.ca, cert=files.cert, key=files.key
            )
        except (OSError, ValueError) as error:
            named = ", ".join(f"{name} {path}" for name, path in files if path is not None)
            reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
            problem = (
                f"integration {self._settings.id}: cannot use its url or tls files ({named or 'none given'}): {reason}"
            )
            raise ConfigError([problem]) from error

    async def post(
        self,
        events: Events,
        body: bytes,
        *,
        now_s: float,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
    ) -> tuple[Outcome, Answer | None]:
        """POST ``body``, with ``headers`` and ``secrets`` of this try; what it means, and the answer where one came."""
        if self._endpoint is None:
            raise RuntimeError(f"the sink of {self._settings.id} is not open: call open() first")
        started_s = time.monotonic()
        all_headers = self._headers.copy()
        all_headers.update(events.headers(now_s=now_s))
        all_headers.update(headers or {})
        answer = await self._client.post(self._endpoint, all_headers, body, head_bytes=ANSWER_READ_BYTES)
        duration_s = time.monotonic() - started_s
        if isinstance(answer, NoAnswer):
            detail = self.masked(answer.detail, secrets)
            outcome = Outcome(Verdict.RETRY, detail, duration_s=duration_s, request_bytes=len(body), is_unanswered=True)
            return outcome, None
        answer = unpacked(answer)
        verdict = verdict_of(answer.status)
        outcome = Outcome(
            verdict,
            describe(answer.status, destination_of(self._endpoint.url, answer.location)),
            status=answer.status,
            retry_after_s=retry_after_s(answer.retry_after, now_s=now_s) if verdict is Verdict.RETRY else None,
            duration_s=duration_s,
            request_bytes=len(body),
            answer_bytes=answer.body_bytes,
            answer_head=self.masked(answer.head[:ANSWER_HEAD_BYTES].decode("utf-8", "replace"), secrets)[
                :_ANSWER_HEAD_CHARS
            ],
            hint=_HINTS.get(answer.status),
        )
        return outcome, answer

    def masked(self, text: str, more_secrets: Iterable[str] = ()) -> str:
        """``text`` without the secrets, which an endpoint may send back."""
        return self._mask.hide(text, more_secrets)


def verdict_of(status: int) -> Verdict:
    """What an answer's status means for the events."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.DELIVERED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRIED_STATUSES:
        return Verdict.RETRY
    return Verdict.REFUSED


def describe(status: int, destination: str = "") -> str:
    """One line on an answer, with the standard's words for its status, since the endpoint's own could be anything.

    ``destination`` is where a redirect leads, in words.
    """
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = str(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        if destination == ITSELF:
            return f"the endpoint answered {words} and leads to itself; redirects are not followed"
        leads = f" and leads to {destination}" if destination else ""
        return f"the endpoint answered {words}{leads}; redirects are not followed, set url to where it leads"
    return f"the endpoint answered {words}"


def spellings_of(authorization: str) -> list[str]:
    """What is to be masked of an ``Authorization`` header: endpoints that send headers back often take the scheme off."""
    return [authorization, authorization.partition(" ")[2]]
