"""The email sink: the legacy webhook for email status events, one event a request.

The body is exactly the documented object, in the documented order::

    {"event_name": "Email Sent", "message_id": 200, "message_code": "E682-E6D92B9A-53E24868", "campaign_id": 961048,
     "platform": "Email", "application_code": "32E5A-9B411", "hwid": "ana@mail.example", "user_id": "7",
     "payload": "Summer sale", "timestamp": 1723798222, "journey_title": "Welcome", "journey_point_title": "5_Welcome"}

Optional fields that an event does not have are left out: ``message_id``, ``campaign_id``, ``payload`` and the journey's.
The others are always there, as empty text where the event has none. What the requests carry beside it:
``pipeline.sinks.posting``.
"""

from typing import Final, Literal

import msgspec
from pydantic import Field, field_validator

from pipeline.ingest.event import Event
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch
from pipeline.model.integration import EVERYTHING, Names, Platforms
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.each import send_each
from pipeline.sinks.posting import Events, Posting
from pipeline.sinks.prompt import PromptIntegration

_PLATFORM: Final = "Email"


class EmailIntegration(PromptIntegration):
    """An integration whose email events are POSTed to its URL as they come."""

    kind: Literal["email"] = Field(description="What the endpoint speaks.")
    events: Names = Field(
        (EVERYTHING,), description="Names of email events, for example Email Sent, Email Delivered; absent means all."
    )
    platforms: Platforms = Field((_PLATFORM,), description="Email, and no other: the format knows email events only.")

    @field_validator("platforms")
    @classmethod
    def _only_email(cls, platforms: tuple[str, ...]) -> tuple[str, ...]:
        if platforms != (_PLATFORM,):
            raise ValueError(
                "must be Email alone, or left out: kind email sends email events only; use http for others"
            )
        return platforms


class EmailStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outward form of an email event. ``timestamp`` is UNIX seconds; ``hwid`` the address; ``payload`` the subject.

    Source: the vendor's page on the webhook integration, table of the request's body. What it calls required is without
    a default here, and so always written.
    """

    event_name: str
    message_id: int | None = None
    message_code: str
    campaign_id: int | None = None
    platform: str
    application_code: str
    hwid: str
    user_id: str
    payload: str | None = None
    timestamp: int
    journey_title: str | None = None
    journey_point_title: str | None = None

    @classmethod
    def of(cls, event: Event) -> "EmailStatus":
        """The outward form of ``event``. An email's ``hwid`` is its address, so that stands in where there is none."""
        return cls(
            event_name=event.event_name,
            message_id=event.message_id,
            message_code=event.message_code or "",
            campaign_id=event.campaign_id,
            platform=str(event.platform),
            application_code=event.application_code,
            hwid=event.hwid or event.email or "",
            user_id=event.user_id or "",
            payload=event.payload,
            timestamp=event.timestamp,
            journey_title=event.journey_title,
            journey_point_title=event.journey_point_title,
        )


_decode: Final = msgspec.json.Decoder(Event).decode
_encode: Final = msgspec.json.Encoder().encode


class EmailSink:
    """Delivers one integration's email events. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: EmailIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._posting = Posting(settings, context)
        self._leaving = context.leaving

    def __repr__(self) -> str:
        return f"EmailSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        await self._posting.open()

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``; each event's request has the whole time-out."""
        return await send_each(batch, self._post, now_s=now_s, is_ordered=self._settings.ordered, leaving=self._leaving)

    async def close(self) -> None:
        """Nothing to let go of: connections belong to the worker's client."""

    async def _post(self, events: Events, event: bytes, now_s: float) -> Outcome:
        try:
            body = _encode(EmailStatus.of(_decode(event)))
        except msgspec.MsgspecError as error:
            return Outcome(Verdict.REFUSED, f"the event does not have the fields that the format needs: {error}")
        outcome, _ = await self._posting.post(events, body, now_s=now_s)
        return outcome


SPEC = SinkSpec(
    kind="email",
    settings=EmailIntegration,
    make=EmailSink,
    summary="POSTs each email status event to a URL at once, in the format of the legacy webhook.",
)
