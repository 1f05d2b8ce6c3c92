"""The Segment sink: tells events to Segment as track calls, many in one request to ``/v1/batch``.

A request's body is ``{"batch": [message, ...], "context": {...}, "sentAt": ..., "writeKey": ...}``, its ``Authorization``
is the write key as a user's name, as Segment's own library sends them. The messages: ``pipeline.sinks.segment_message``.
``sentAt`` is the time of the try, since Segment corrects the events' times by its distance from its own clock: it is the one
thing that differs between two tries.
"""

import asyncio
import base64
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from yarl import URL

from pipeline.model.attempt import Outcome
from pipeline.model.batch import Batch
from pipeline.model.integration import EVERYTHING, BatchLimits, Count, Names, Platforms
from pipeline.model.section import mistakes
from pipeline.model.units import KIB, Size
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.posting import Events, PostedIntegration, Posting
from pipeline.sinks.segment_call import THREADS, Carried, SharedThreads, call_segment
from pipeline.sinks.segment_message import MOST_EVENTS_A_CALL, Call, iso_8601, plan_of
from pipeline.sinks.segment_outcome import ends_the_try, outcome_of, understood

RESERVED_EVENTS: Final = (
    "Email Sent",
    "Push Sent",
    "SMS Sent",
    "Email Delivered",
    "Push Delivered",
    "SMS Delivered",
    "Email Bounced",
)
"""The events that the vendor's integration promises to Segment."""

REGIONS: Final[Mapping[str, str]] = {
    "us": "https://api.segment.io",
    "eu": "https://events.eu1.segmentapis.com",
}
"""Region -> base URL. A workspace is in one of them, and the other one takes its events without a word and loses them."""

BATCH_PATH: Final = "/v1/batch"
_CONTEXT: Final = {"library": {"name": "distributary", "version": version("distributary")}}
_threads = SharedThreads(THREADS)


def _blank_is_everything(value: object) -> object:
    """The vendor's setting: an empty list of events exports all."""
    is_blank = not value.strip(" ,") if isinstance(value, str) else isinstance(value, list | tuple) and not value
    return EVERYTHING if is_blank else value


class SegmentBatchLimits(BatchLimits):
    """When a window for Segment is sealed."""

    max_events: Count = Field(
        100, ge=1, le=MOST_EVENTS_A_CALL, description="Seal when the window holds this many events."
    )
    max_bytes: Annotated[int, Size(KIB, 450 * KIB)] = Field(
        256 * KIB,
        description="Seal before the events' JSON grows beyond this. Segment takes 500 KB a request and 32 KB an event: a batch "
        "that is more when it is written as messages goes in several requests, and a larger event is given up alone.",
    )


class SegmentIntegration(PostedIntegration):
    """An integration whose events become track calls of a Segment source."""

    kind: Literal["segment"] = Field(description="What the endpoint speaks.")
    write_key: SecretStr = Field(description="The write key of the Segment source. Never shown.")
    region: Literal["us", "eu"] | None = Field(
        None,
        description="Where the workspace is; `us` unless said otherwise. The wrong one loses events without an error.",
    )
    url: str = Field(
        REGIONS["us"],
        description="Where requests go instead of a region: a base URL, to whose path `/v1/batch` is added.",
    )
    events: Annotated[Names, BeforeValidator(_blank_is_everything)] = Field(
        RESERVED_EVENTS,
        description='Event names. `[]` and `""` stand for all, as `"*"` does; without the key they are the seven that the '
        "vendor promises to Segment.",
    )
    platforms: Platforms = Field((EVERYTHING,), description="Platforms by display name or number.")
    batch: SegmentBatchLimits = Field(
        SegmentBatchLimits(),
        description="When a window is sealed: at whichever limit comes first.",
    )
    fields: Literal["known"] = Field(
        "known", description="Segment gets properties of its own, made from all fields that an event may have."
    )

    @model_validator(mode="before")
    @classmethod
    def _url_follows_from_region(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("region") is None:
            return data
        region_url = REGIONS.get(data["region"]) if isinstance(data["region"], str) else None
        if region_url is None:
            return data
        if data.get("url") not in (None, region_url):
            raise mistakes({("region",): "and url both say where requests go; leave one of them out"})
        return data | {"url": region_url}

    @field_validator("url")
    @classmethod
    def _url_can_be_added_to(cls, text: str) -> str:
        url = URL(text)
        if url.raw_query_string or text.endswith("?"):
            raise ValueError(
                f"holds a query (?...), which nothing can be added to; give the URL that {BATCH_PATH} is added to"
            )
        if url.path.rstrip("/").endswith(("/v1", BATCH_PATH)):
            raise ValueError(f"ends in what is added to it; leave {BATCH_PATH} out")
        return text

    @field_validator("authorization")
    @classmethod
    def _write_key_is_the_authorization(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            raise ValueError("is not used by kind segment, whose requests are authorized by write_key; leave it out")
        return None

    @field_validator("write_key")
    @classmethod
    def _check_write_key(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if not text:
            raise ValueError("is empty; give the write key of the Segment source")
        if not text.isascii() or not text.isprintable() or " " in text or ":" in text:
            raise ValueError(
                "holds a space, a colon or a character that is not printable ASCII, which no write key does"
            )
        return secret

    @property
    def base_url(self) -> str:
        """What ``/v1/batch`` is added to."""
        return self.url.rstrip("/")


class SegmentSink:
    """Delivers one integration's batches to Segment. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: SegmentIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._write_key = settings.write_key.get_secret_value()
        secrets = [self._write_key, base64.b64encode(f"{self._write_key}:".encode()).decode()]
        self._posting = Posting(settings, context, secrets=secrets, url=settings.base_url + BATCH_PATH)
        self._leaving = context.leaving
        self._pool: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"SegmentSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        await self._posting.open()
        self._pool = _threads.join()

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``; each of its calls may take the whole time-out."""
        if self._pool is None:
            raise RuntimeError(f"the sink of {self._settings.id} is not open: call open() first")
        started_s = time.monotonic()
        plan = await asyncio.get_running_loop().run_in_executor(self._pool, plan_of, batch)
        outcomes: list[Outcome] = []
        for call in plan.calls:
            passed_s = time.monotonic() - started_s if outcomes else 0.0
            outcomes.append(await self._call(self._pool, batch, call, now_s=now_s + passed_s))
            if ends_the_try(outcomes[-1]) or self._leaving.is_on:
                break
        return outcome_of(plan, outcomes, duration_s=time.monotonic() - started_s)

    async def close(self) -> None:
        """Let go of the threads; the last Segment sink that closes ends them."""
        if self._pool is not None:
            self._pool = None
            _threads.leave()

    async def _call(self, pool: ThreadPoolExecutor, batch: Batch, call: Call, *, now_s: float) -> Outcome:
        part = batch.only(call.ranges)

        async def carry(body: bytes, headers: Mapping[str, str]) -> Carried:
            return await self._posting.post(Events.of(part), body, now_s=now_s, headers=headers)

        outcome, answer = await call_segment(
            carry,
            pool,
            write_key=self._write_key,
            base_url=self._settings.base_url,
            timeout_s=self._settings.timeout_s,
            content={"batch": call.messages, "context": _CONTEXT, "sentAt": iso_8601(now_s)},
        )
        return outcome if answer is None else understood(outcome, answer, now_s=now_s)


SPEC = SinkSpec(
    kind="segment",
    settings=SegmentIntegration,
    make=SegmentSink,
    summary="Tells events to Segment as track calls, many in a request.",
)
