"""The Xtremepush-style sink: each event as one JSON object, with the five types of authentication.

The body is the documented object, in the documented order::

    {"event": "message_send", "time": 1723798222, "properties": {"message_type": "email", "campaign_id": 961048,
     "user_id": "7", "email": "ana@mail.example"}}

What its words are made of: ``pipeline.sinks.xtremepush_mapping``. Who sends it: ``pipeline.sinks.xtremepush_auth``. What
the requests carry beside it: ``pipeline.sinks.posting``.
"""

import difflib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from pydantic import AfterValidator, Field, model_validator

from pipeline.ingest.event import Event
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch
from pipeline.model.integration import EVERYTHING, Names, Platforms
from pipeline.model.platforms import platform_name
from pipeline.model.section import InWords, mistakes
from pipeline.net.oauth import AccessToken, ClientCredentials, NoToken, TokenSource
from pipeline.sinks.base import SinkContext, SinkSpec
from pipeline.sinks.each import send_each
from pipeline.sinks.posting import Events, Posting, TlsFiles, spellings_of
from pipeline.sinks.prompt import PromptIntegration
from pipeline.sinks.xtremepush_auth import (
    SIGNATURE_HEADER,
    AnyAuth,
    BasicAuth,
    BearerAuth,
    NoAuth,
    OAuth2Auth,
    SignedAuth,
    signature_header,
)
from pipeline.sinks.xtremepush_mapping import Translation, canonical

_PUSH: Final = "push"
_PUSH_CHANNELS: Final = ("mobile_push", "web_push")
_LONGEST_NAME: Final = 512


def _outward_name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or name == EVERYTHING:
        raise ValueError(f'must be 1 to {_LONGEST_NAME} printable characters, and not "*"')
    return name


def _platforms_by_name(given: dict[str, str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for platform, channel in given.items():
        name = platform_name(platform)
        if name in named:
            raise ValueError(f"names {name} twice")
        named[name] = channel
    return named


_OutwardName = Annotated[str, AfterValidator(_outward_name)]
ChannelMap = Annotated[
    dict[str, _OutwardName], AfterValidator(_platforms_by_name), InWords("section: a platform and its channel a line")
]
EventMap = Annotated[dict[_OutwardName, _OutwardName], InWords("section: an event name and its name there a line")]


class XtremepushIntegration(PromptIntegration):
    """An integration whose events are POSTed one by one in Xtremepush's format.

    Once read, ``events`` are names of our own events and ``platforms`` those of the ``channels``, so that only events that
    the format has a word for are matched.
    """

    url_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("url",), ("auth", "token_url"))

    kind: Literal["xtremepush"] = Field(description="What the endpoint speaks.")
    channels: Names = Field(
        description='Channels, at least one; `"*"` for all. By default there are mobile_push, web_push, email, sms, whatsapp '
        "and line; Push stands for mobile_push and web_push. Case, spaces and dashes do not matter."
    )
    events: Names = Field(
        (EVERYTHING,),
        description="Event names, ours (Push Sent) or theirs (message_send, which stands for all events that are called so "
        "there). Absent means all that have a name there.",
    )
    platforms: Platforms = Field(
        (EVERYTHING,),
        description="Narrows the channels down to some of their platforms, for example mobile_push to iOS. Absent means all.",
    )
    channel_map: ChannelMap = Field(
        {},
        description="Channels of platforms where they are to differ from "
        "[the usual ones](sinks/xtremepush.md#channels-of-platforms): `{iOS: app_push}`.",
    )
    event_map: EventMap = Field(
        {},
        description="Names of events where they are to differ from [the usual ones](sinks/xtremepush.md#names-of-events), or where there "
        "is none: `{Push Shown: message_display}`.",
    )
    auth: AnyAuth = Field(
        NoAuth(type="none"),
        description="How requests show who sends them; absent means `none`, where `authorization` may be used instead.",
    )

    @model_validator(mode="after")
    def _derive_what_is_matched(self) -> "XtremepushIntegration":
        translation = Translation(self.channel_map, self.event_map)
        found: dict[tuple[str | int, ...], str] = {}
        events = _events_named(self.events, translation.event_of, found)
        of_channels = _platforms_of(self.channels, translation.channel_of, found)
        platforms = _narrowed(self.platforms, of_channels, found) if of_channels else ()
        if self.authorization is not None and not isinstance(self.auth, NoAuth):
            found["authorization",] = f"cannot stand beside auth of type {self.auth.type}; leave one of the two out"
        if found:
            raise mistakes(found)
        # The class is frozen for everybody else.
        self.__dict__.update(events=events, platforms=platforms)
        return self


def _events_named(
    names: tuple[str, ...], event_of: Mapping[str, str], found: dict[tuple[str | int, ...], str]
) -> tuple[str, ...]:
    if EVERYTHING in names:
        return tuple(event_of)
    chosen: list[str] = []
    for index, name in enumerate(names):
        own = [name] if name in event_of else [ours for ours, theirs in event_of.items() if theirs == name]
        if not own:
            near = difflib.get_close_matches(name, [*event_of, *event_of.values()], n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            found["events", index] = f"is an event without a name there; {guess}Give it one in event_map"
        chosen += own
    return tuple(dict.fromkeys(chosen))


def _platforms_of(
    channels: tuple[str, ...], channel_of: Mapping[str, str], found: dict[tuple[str | int, ...], str]
) -> tuple[str, ...]:
    if EVERYTHING in channels:
        return tuple(channel_of)
    members: dict[str, list[str]] = {}
    for platform, channel in channel_of.items():
        members.setdefault(canonical(channel), []).append(platform)
    if _PUSH not in members:
        members[_PUSH] = [platform for each in _PUSH_CHANNELS for platform in members.get(each, ())]
    chosen: set[str] = set()
    for index, channel in enumerate(channels):
        own = members.get(canonical(channel))
        if not own:
            known = ", ".join(dict.fromkeys(channel_of.values()))
            found["channels", index] = (
                f"is no platform's channel; channels: {known}. Others need an entry in channel_map"
            )
        chosen.update(own or ())
    return tuple(platform for platform in channel_of if platform in chosen)


def _narrowed(
    platforms: tuple[str, ...], of_channels: tuple[str, ...], found: dict[tuple[str | int, ...], str]
) -> tuple[str, ...]:
    if EVERYTHING in platforms:
        return of_channels
    for index, platform in enumerate(platforms):
        if platform not in of_channels:
            found["platforms", index] = f"is not of the channels; their platforms: {', '.join(of_channels)}"
    return platforms


_decode: Final = msgspec.json.Decoder(Event).decode
_encode: Final = msgspec.json.Encoder().encode


class XtremepushSink:
    """Delivers one integration's events. See ``pipeline.sinks.base.Sink`` for when what is called."""

    def __init__(self, settings: XtremepushIntegration, context: SinkContext) -> None:
        self._settings = settings
        self._context = context
        self._translation = Translation(settings.channel_map, settings.event_map)
        self._signing_keys: tuple[str, ...] = ()
        self._credentials: ClientCredentials | None = None
        self._tokens: TokenSource | None = None
        headers: dict[str, str] = {}
        secrets: Iterable[str] = ()
        match settings.auth:
            case BasicAuth() as auth:
                headers["Authorization"] = auth.header()
                secrets = (*spellings_of(auth.header()), auth.password.get_secret_value())
            case BearerAuth() as auth:
                headers["Authorization"] = auth.header()
                secrets = (*spellings_of(auth.header()), auth.token.get_secret_value())
            case SignedAuth() as auth:
                self._signing_keys = secrets = auth.keys()
            case OAuth2Auth() as auth:
                self._credentials = ClientCredentials(
                    auth.client_id, auth.client_secret.get_secret_value(), auth.scope, auth.client_auth
                )
                secrets = self._credentials.secrets()
            case NoAuth():
                pass
        self._posting = Posting(settings, context, headers=headers, secrets=secrets)
        self._leaving = context.leaving

    def __repr__(self) -> str:
        return f"XtremepushSink({self._settings.id!r})"

    async def open(self) -> None:
        """Read the certificate files; raises ``ConfigError`` where one cannot be used."""
        await self._posting.open()
        if self._credentials is not None and isinstance(self._settings.auth, OAuth2Auth):
            self._tokens = self._token_source(self._settings.auth.token_url, self._credentials)

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Make one try to deliver ``batch``; each event's request has the whole time-out."""
        return await send_each(batch, self._post, now_s=now_s, is_ordered=self._settings.ordered, leaving=self._leaving)

    async def close(self) -> None:
        """Give up the fetch of a token, where one is under way."""
        if self._tokens is not None:
            await self._tokens.close()

    def _token_source(self, url: str, credentials: ClientCredentials) -> TokenSource:
        files = self._settings.tls or TlsFiles()
        endpoint = self._context.client.endpoint(
            url, timeout_s=self._settings.timeout_s, ca=files.ca, cert=files.cert, key=files.key
        )
        return TokenSource(self._context.client, endpoint, credentials, user_agent=self._context.user_agent)

    async def _post(self, events: Events, event: bytes, now_s: float) -> Outcome:
        try:
            body = _encode(self._translation.translate(_decode(event)))
        except (msgspec.MsgspecError, ValueError) as error:
            return Outcome(Verdict.REFUSED, f"the event cannot be put into the endpoint's format: {error}")
        if self._tokens is not None:
            return await self._post_with_token(self._tokens, events, body, now_s)
        headers = {}
        if self._signing_keys:
            headers[SIGNATURE_HEADER] = signature_header(body, self._signing_keys, now_s=now_s)
        outcome, _ = await self._posting.post(events, body, now_s=now_s, headers=headers)
        return outcome

    async def _post_with_token(self, tokens: TokenSource, events: Events, body: bytes, now_s: float) -> Outcome:
        """POST with a token, and once more with another one where that is refused."""
        token = await tokens.token()
        if isinstance(token, NoToken):
            return self._without_token(token)
        outcome = await self._post_with(token, tokens, events, body, now_s)
        if outcome.status != HTTPStatus.UNAUTHORIZED:
            return outcome
        other = await tokens.another(token)
        if other is None:
            return outcome
        if isinstance(other, NoToken):
            return self._without_token(other)
        return await self._post_with(other, tokens, events, body, now_s)

    async def _post_with(
        self, token: AccessToken, tokens: TokenSource, events: Events, body: bytes, now_s: float
    ) -> Outcome:
        headers = {"Authorization": f"Bearer {token.value}"}
        outcome, _ = await self._posting.post(events, body, now_s=now_s, headers=headers, secrets=(token.value,))
        if outcome.verdict is Verdict.DELIVERED:
            tokens.accepted(token)
        return outcome

    def _without_token(self, failure: NoToken) -> Outcome:
        detail = self._posting.masked(f"nothing was sent, for want of an access token; {failure.detail}")
        hint = Hint.UNAUTHORIZED if failure.is_client_refused else Hint.THROTTLED if failure.is_throttled else None
        return Outcome(Verdict.RETRY, detail, retry_after_s=failure.retry_after_s, hint=hint)


SPEC = SinkSpec(
    kind="xtremepush",
    settings=XtremepushIntegration,
    make=XtremepushSink,
    summary="POSTs each event to a URL at once, as an Xtremepush-style webhook.",
)
