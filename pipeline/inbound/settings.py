"""The sections ``inbound``, ``segment_destination`` and ``users`` of ``faust.yml``, and one webhook."""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)

from pipeline.inbound.path import parse_path
from pipeline.model.hosts import Host, Networks, in_url, parts_of
from pipeline.model.integration import EVERYTHING, Count, Id, PerSecond, checked_name, checked_url
from pipeline.model.moments import format_time, parse_fixed_time
from pipeline.model.platforms import platform_name
from pipeline.model.section import InWords, Section, mistakes
from pipeline.model.units import KIB, MIB, Duration, Size, format_size

IdentifyBy = Literal["user_id", "email", "phone", "hwid"]
"""What a user can be looked for by."""

IDENTIFY_LABELS: Final[Mapping[IdentifyBy, str]] = {
    "user_id": "User ID",
    "email": "Email",
    "phone": "Phone",
    "hwid": "HWID",
}
"""How pages call them."""

WEBHOOK_PATH: Final = "/webhooks/"
"""Below it every webhook has its URL: this and its id."""

RESERVED_ATTRIBUTES: Final = "__"
"""Attributes whose names begin so are ours."""

SHORTEST_SECRET: Final = 16
LONGEST_SECRET: Final = 512
LONGEST_WEBHOOK_NAME: Final = 100
LONGEST_ATTRIBUTE: Final = 128
LARGEST_SAMPLE_BYTES: Final = 64 * KIB
MOST_ATTRIBUTES: Final = 200
MOST_WEBHOOKS: Final = 10_000

_APPLICATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCHEME: Final = "Bearer "


def _title(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= LONGEST_WEBHOOK_NAME or not text.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_WEBHOOK_NAME} printable characters")
    return text


def _event(value: object) -> str:
    name = checked_name(value)
    if name == EVERYTHING:
        raise ValueError('is one event; "*" is not used here')
    return name


def checked_application(text: str) -> str:
    """Return ``text`` where it can be an application code; raises ``ValueError`` otherwise."""
    if not _APPLICATION.fullmatch(text):
        raise ValueError("is not an application code; write for example 32E5A-9B411")
    return text


def _platform(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a platform's name or number")
    return platform_name(value.strip() if isinstance(value, str) else value)


def _path(text: str) -> str:
    return str(parse_path(text.strip()))


def _secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.startswith(_SCHEME):
        raise ValueError("begins with Bearer; write the secret alone, callers put Bearer before it")
    if not SHORTEST_SECRET <= len(text) <= LONGEST_SECRET:
        raise ValueError(
            f"must have {SHORTEST_SECRET} to {LONGEST_SECRET} characters, "
            "for example from python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces, since it comes in a header")
    return secret


def _token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if text.startswith("Token "):
        raise ValueError("begins with Token; write the key alone, Segment puts Token before it")
    return _secret(secret)


def _time(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2027-01-31T12:00Z")
    return parse_fixed_time(value)


def _entries(value: Any) -> Any:
    """One token is as good as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _public_url(text: str) -> str:
    checked_url(text, ("https", "http"))
    if "?" in text:
        raise ValueError("holds a query (?...); write it up to where /webhooks/ID is to follow")
    return text.rstrip("/")


EventName = Annotated[str, BeforeValidator(_event), InWords("text")]
Application = Annotated[str, AfterValidator(checked_application), InWords("text, an application code")]
PayloadPath = Annotated[str, AfterValidator(_path), InWords("text, a path into the payload")]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Tokens = Annotated[tuple[Annotated[SecretStr, AfterValidator(_token)], ...], BeforeValidator(_entries)]


class Identify(Section):
    """How a webhook's payload says whose event it is."""

    by: IdentifyBy = Field(
        description="What the payload holds: `user_id` the user's id, `email` or `phone` an address, `hwid` a device, browser "
        "or email identifier."
    )
    field: PayloadPath = Field(
        description="Where the payload holds it: keys with dots, an index for a list, for example `data.user.id` or "
        '`contacts[0].email`. A key with other characters stands in brackets: `data["e-mail"]`.'
    )

    @field_validator("field")
    @classmethod
    def _check_field(cls, text: str) -> str:
        if not parse_path(text).is_one_value:
            raise ValueError("leads to several values; a user is identified by one, so write an index instead of [*]")
        return text


class WebhookSettings(Section):
    """One inbound webhook: which requests fire which event, for whom."""

    id: Id = Field(description="The webhook's name in its URL, unique. Events carry it as the attribute `__webhook`.")
    name: Annotated[str, AfterValidator(_title)] = Field(description="What people call it, up to 100 characters.")
    event: EventName = Field(description="The event that a request fires.")
    application: Application = Field(description="The application code that the event and its user belong to.")
    identify: Identify = Field(description="How the payload says whose event it is.")
    attributes: Annotated[
        Mapping[str, str], InWords("section: an event attribute and its path in the payload a line")
    ] = Field(
        {},
        description="Which attributes the event has, each with the path of its value: `total: order.price`, `skus: items[*].sku`. "
        "A path that leads to nothing in a payload, or to null, leaves its attribute out. Names that begin with `__` are "
        "reserved.",
    )
    sample: str = Field(
        "",
        description="A sample of the payload, JSON, up to 64KiB. It is kept for the form that paths are picked in, and does nothing.",
    )
    secret: Secret = Field(
        description="What callers send as `Authorization: Bearer SECRET`, 16 to 512 characters. Never shown. In the file take it "
        "from the environment: `${ORDERS_SECRET}`."
    )
    previous_secret: Secret | None = Field(
        None, description="The secret before this one, taken as well until `previous_until`. Never shown."
    )
    previous_until_s: (
        Annotated[
            float,
            BeforeValidator(_time),
            PlainSerializer(format_time, when_used="json"),
            InWords("time such as 2027-01-31T12:00Z"),
        ]
        | None
    ) = Field(None, alias="previous_until", description="Until when the previous secret is taken, in UTC.")
    enabled: bool = Field(True, description="Whether requests are taken. Disabled, it keeps all its settings.")
    platform: Annotated[str, BeforeValidator(_platform), InWords("text, a platform")] | None = Field(
        None,
        description="The platform that the event is of, by name or number. Absent: that of the user's device where one is known, "
        "else `Email` or `SMS` where the user is identified by email or phone, else `Web`.",
    )

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, attributes: Mapping[str, str]) -> Mapping[str, str]:
        if len(attributes) > MOST_ATTRIBUTES:
            raise ValueError(f"has too many entries; at most {MOST_ATTRIBUTES}")
        checked: dict[str, str] = {}
        found: dict[tuple[str | int, ...], str] = {}
        for name, text in attributes.items():
            try:
                checked[_attribute(name)] = _path(text)
            except ValueError as error:
                found[name,] = str(error)
        if found:
            raise mistakes(found)
        return checked

    @field_validator("sample")
    @classmethod
    def _check_sample(cls, text: str) -> str:
        if not text.strip():
            return ""
        if len(text.encode("utf-8", "replace")) > LARGEST_SAMPLE_BYTES:
            raise ValueError(f"is larger than {format_size(LARGEST_SAMPLE_BYTES)}; cut long values down")
        read_sample(text)
        return text

    @model_validator(mode="after")
    def _check_together(self) -> "WebhookSettings":
        if (self.previous_secret is None) != (self.previous_until_s is None):
            key = "previous_until" if self.previous_until_s is None else "previous_secret"
            raise mistakes({(key,): "is missing; previous_secret and previous_until go together"})
        return self


def _attribute(name: str) -> str:
    if not name.strip() or name != name.strip() or len(name) > LONGEST_ATTRIBUTE or not name.isprintable():
        raise ValueError(f"the attribute's name must be 1 to {LONGEST_ATTRIBUTE} printable characters")
    if name.startswith(RESERVED_ATTRIBUTES):
        raise ValueError("attributes that begin with __ are reserved; choose another name")
    return name


def read_sample(text: str) -> dict[str, Any]:
    """The payload that ``text`` is a sample of; raises ``ValueError`` where it is not one JSON object."""
    try:
        sample = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(sample, dict):
        raise ValueError('is JSON, but not an object; a payload looks like {"user_id": "12345"}')
    return sample


class InboundRate(Section):
    """How often a webhook may be called."""

    per_second: PerSecond = Field(description="How many requests a second, over all workers together.")
    burst: Count | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="How many may come at once after a quiet time. Absent: one second's worth, at least 1.",
    )

    @property
    def burst_or_default(self) -> int:
        """``burst``, or one second's worth."""
        return self.burst or max(1, round(self.per_second))


class InboundTls(Section):
    """The listener's own certificate."""

    cert: FilePath = Field(description="A PEM file with the certificate and those between it and its authority.")
    key: FilePath | None = Field(None, description="A PEM file with its private key. Absent: it stands in `cert`.")


class InboundSettings(Section):
    """The listener for webhooks and Segment's calls."""

    host: Host = Field("127.0.0.1", description="The address that the listener is on, apart from the view's.")
    port: Count = Field(
        6070, ge=1, le=65_535, description="Its port. Several workers on one machine share it, and the requests."
    )
    public_url: Annotated[str, AfterValidator(_public_url), InWords("text, a URL")] | None = Field(
        None,
        description="What the URLs that people are given begin with, for example `https://hooks.example`. Absent: `host` and "
        "`port`.",
    )
    max_body_bytes: Annotated[int, Size(KIB, 4 * MIB)] = Field(
        MIB, alias="max_body", description="The largest body of a webhook request."
    )
    max_depth: Count = Field(
        32, ge=2, le=48, description="How many objects and arrays may be nested in each other in a body."
    )
    max_concurrent: Count = Field(
        512,
        ge=1,
        le=65_536,
        description="How many requests a worker has under way at once. More are answered with 503.",
    )
    rate: InboundRate | None = Field(
        None,
        description="How often each webhook may be called, counted in Redis. What comes beyond is answered with 429. "
        "Absent: as often as it is.",
    )
    tls: InboundTls | None = Field(
        None, description="The listener's own certificate. Absent: plain HTTP, for a proxy in front that speaks TLS."
    )
    trust_proxy: Networks = Field(
        (),
        description="Where proxies connect from, for example `[10.1.2.3/32]`: from there alone the caller's address is taken "
        "from `X-Forwarded-For`.",
    )
    route_inbound: bool = Field(
        False,
        description="Whether accepted events also go through the integrations, like those of the source topic. They are in the "
        "topic `<app>-inbound` in any case.",
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        (),
        max_length=MOST_WEBHOOKS,
        description="Webhooks that are set up here. The view shows them and cannot change them; others are made there.",
    )

    @property
    def base_url(self) -> str:
        """What the URLs of webhooks begin with, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url
        return f"{'http' if self.tls is None else 'https'}://{in_url(self.host)}:{self.port}"

    def url_of(self, webhook_id: str) -> str:
        """The URL of a webhook, as people are given it."""
        return f"{self.base_url}{WEBHOOK_PATH}{webhook_id}"


class SegmentDestinationSettings(Section):
    """What Segment's calls may do."""

    applications: Annotated[
        Mapping[str, Tokens], InWords("section: an application code and its key, or a list of keys, a line")
    ] = Field(
        {},
        description="Which applications are called, each with the API key that stands in Segment's settings: "
        "`32E5A-9B411: ${SEGMENT_TOKEN}`, or several as a list while one takes another's place. Never shown.",
    )
    is_strict: bool = Field(
        False,
        alias="strict",
        description="`false`: the good events of a batch are taken, the others counted with their reason. `true`: one event that "
        "cannot be decoded refuses the whole batch, which Segment then drops.",
    )
    max_body_bytes: Annotated[int, Size(KIB, 16 * MIB)] = Field(
        5 * MIB, alias="max_body", description="The largest body of a call. Segment sends batches up to 4MB."
    )
    max_events: Count = Field(
        1000, ge=1, le=10_000, description="The most events of a call. Segment sends up to 1,000."
    )

    @field_validator("applications")
    @classmethod
    def _check_applications(
        cls, applications: Mapping[str, tuple[SecretStr, ...]]
    ) -> Mapping[str, tuple[SecretStr, ...]]:
        found: dict[tuple[str | int, ...], str] = {}
        for code, tokens in applications.items():
            try:
                checked_application(code)
            except ValueError as error:
                found[code,] = str(error)
            if not tokens:
                found[code,] = "needs a key; without one nobody could call"
        if found:
            raise mistakes(found)
        return applications


class UsersSettings(Section):
    """The directory of users."""

    from_events: bool = Field(
        True,
        description="Whether ids, devices and email addresses are also learned from the events of the source topic.",
    )
    tags: Annotated[
        tuple[Annotated[str, BeforeValidator(checked_name)], ...],
        BeforeValidator(parts_of),
        InWords("list of names, or one text with commas"),
    ] = Field(
        (),
        description="The tags that there are. Attributes of other names are kept apart with their user, and become no tags.",
    )
    redis_timeout_s: Annotated[float, Duration(0.01, 10.0)] = Field(
        0.25,
        alias="redis_timeout",
        description="How long the look-up of a user may take. What needs one that takes longer is answered with 503.",
    )
