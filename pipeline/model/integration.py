"""One customer's configured delivery: what every kind of sink has in common."""

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator
from yarl import URL

from pipeline.model.platforms import platform_name
from pipeline.model.section import InWords, Section, mistakes
from pipeline.model.units import DAY_S, HOUR_S, KIB, MIB, Duration, Size

EVERYTHING: Final = "*"
"""In ``events`` and ``platforms``: all of them."""

_ID = re.compile(r"[a-z0-9-]{1,64}")
_MOST_EVENTS: Final = 100_000
_LONGEST_NAME: Final = 512
_LAST_LATIN_1: Final = 0xFF


def checked_id(text: str) -> str:
    """Return ``text`` where it can name an integration or an app; raises ``ValueError`` otherwise."""
    if not _ID.fullmatch(text):
        raise ValueError("must be 1 to 64 of the characters a-z, 0-9 and -")
    return text


def _whole_number(value: object) -> object:
    # To pydantic true is 1, which nobody means who writes max_events: true.
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _listed(value: object) -> object:
    """Take ``Email Sent, Push Sent`` for a list of two, and one number for a list of one."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def checked_name(value: object) -> str:
    """Return ``value`` as the name of an event or a code; raises ``ValueError`` where it cannot be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")
    if not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
        raise ValueError(f"must be 1 to {_LONGEST_NAME} printable characters")
    return value.strip()


def _code(value: object) -> str:
    name = checked_name(value)
    if name == EVERYTHING:
        raise ValueError('"*" is not used here; leave the list empty for any')
    return name


def _platform(value: object) -> str:
    if value == EVERYTHING:
        return EVERYTHING
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a platform's name or number")
    return platform_name(value.strip() if isinstance(value, str) else value)


def _at_least_one(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError('needs at least one; "*" stands for all')
    return (EVERYTHING,) if EVERYTHING in names else names


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


Count = Annotated[int, BeforeValidator(_whole_number)]
"""A whole number; ``true`` is none."""

PerSecond = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0.001, le=1_000_000),
    InWords("number, 0.001 to 1000000"),
]
"""A rate."""

Names = Annotated[
    tuple[Annotated[str, BeforeValidator(checked_name)], ...],
    BeforeValidator(_listed),
    AfterValidator(_each_once),
    AfterValidator(_at_least_one),
    InWords('list of names, or one text with commas; `"*"` for all'),
]
Codes = Annotated[
    tuple[Annotated[str, BeforeValidator(_code)], ...],
    BeforeValidator(_listed),
    AfterValidator(_each_once),
    InWords("list of codes, or one text with commas"),
]
Platforms = Annotated[
    tuple[Annotated[str, BeforeValidator(_platform)], ...],
    BeforeValidator(_listed),
    AfterValidator(_each_once),
    AfterValidator(_at_least_one),
    InWords('list of platforms, or one text with commas; `"*"` for all'),
]
Id = Annotated[str, AfterValidator(checked_id), InWords("text, 1 to 64 of a-z, 0-9 and -")]


def checked_authorization(secret: SecretStr) -> SecretStr:
    """Return ``secret`` where a header can carry it; raises ``ValueError``, which does not show it, otherwise."""
    text = secret.get_secret_value()
    if not text.strip():
        raise ValueError("is empty; leave the key out to send no Authorization header")
    if text != text.strip():
        raise ValueError("begins or ends with white space or a line break, which a header cannot carry")
    if any(not character.isprintable() or ord(character) > _LAST_LATIN_1 for character in text):
        raise ValueError("holds a line break, a control character or one outside Latin-1, which a header cannot carry")
    return secret


def checked_url(text: str, schemes: tuple[str, ...]) -> str:
    """Return ``text`` where requests can go to it; raises ``ValueError``, which does not show it, otherwise."""
    # The text is never part of the message: it may hold a token.
    if not text.isprintable() or " " in text:
        raise ValueError("holds a space or a control character; percent-encode it")
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise ValueError("is not a valid URL; write for example https://host.example:8081/path") from None
    if url.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(scheme + '://' for scheme in schemes)}")
    if not host or not host.strip(".") or port == 0:
        raise ValueError("needs a host, for example https://host.example:8081/path")
    if url.user is not None or url.password is not None:
        raise ValueError("holds credentials, which logs would show; use authorization instead")
    if url.fragment:
        raise ValueError("holds a fragment (#...), which is never sent; leave it out")
    return text


class BatchLimits(Section):
    """When a window is sealed: at whichever limit is reached first."""

    max_events: Count = Field(100, ge=1, le=_MOST_EVENTS, description="Seal when the window holds this many events.")
    max_age_s: Annotated[float, Duration(0.01, 7 * DAY_S)] = Field(
        HOUR_S,
        alias="max_age",
        description="Seal when this long has passed since the first event after the last transmission.",
    )
    max_bytes: Annotated[int, Size(KIB, 8 * MIB)] = Field(
        MIB, description="Seal before the events' JSON grows beyond this. A single larger event travels alone."
    )


class Retry(Section):
    """What happens after a try that failed in a way that another try may cure."""

    delays_s: Annotated[tuple[Annotated[float, Duration(0.0, DAY_S)], ...], Field(max_length=100)] = Field(
        (1.0, 3.0, 8.0),
        alias="delays",
        description="The pause before each further try; an empty list means one try only. "
        "A `Retry-After` that the endpoint sends wins over the pause.",
    )
    on_exhausted: Literal["park", "discard"] = Field(
        "park",
        description="After the last try: `park` keeps the batch for replay, `discard` drops it and counts its events.",
    )


class BreakerSettings(Section):
    """When an endpoint that fails every try is left alone, and for how long. See ``pipeline.delivery.breaker``."""

    enabled: bool = Field(True, description="Whether a failing endpoint is left alone at all.")
    after_tries: Count = Field(
        10,
        ge=1,
        le=10_000,
        description="Open after this many tries of a lane that failed one after the other, whatever their batches.",
    )
    after_s: Annotated[float, Duration(0.0, DAY_S)] = Field(
        10.0,
        alias="after",
        description="These tries must have taken at least this long, unless a batch among them used up its schedule.",
    )
    pause_s: Annotated[float, Duration(0.01, DAY_S)] = Field(
        30.0,
        alias="pause",
        description="How long nothing is sent, before one batch is tried. Each probe that fails doubles it. "
        "It is longer by up to a quarter, differently for each lane, so that lanes do not probe together.",
    )
    max_pause_s: Annotated[float, Duration(0.01, DAY_S)] = Field(
        600.0, alias="max_pause", description="The pause grows no longer than this."
    )

    @model_validator(mode="after")
    def _pause_fits_below_its_maximum(self) -> "BreakerSettings":
        if self.pause_s > self.max_pause_s:
            raise mistakes(
                {("pause",): f"is longer than max_pause ({self.max_pause_s:g}s); raise max_pause or shorten pause"}
            )
        return self


class RateSettings(Section):
    """How often an endpoint is asked at most. See ``pipeline.delivery.rate``."""

    per_second: PerSecond = Field(description="How many `unit` a second may be sent.")
    burst: Count | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="How many may be sent at once after a quiet time. Absent: one second's worth, at least 1. "
        "Where the rate is shared it is counted in whole seconds, so it is a second's worth at least.",
    )
    unit: Literal["requests", "events"] = Field(
        "requests",
        description="What is counted: requests, or the events in them. A batch with more events than `burst` is "
        "sent whole, and the ones after it wait the longer.",
    )
    shared: bool = Field(
        False,
        description="`false`: each worker keeps to the rate on its own, which is enough where an integration has one lane. "
        "`true`: all workers together, through Redis; while Redis is away each keeps to its share.",
    )

    @property
    def burst_or_default(self) -> int:
        """``burst``, or one second's worth."""
        return self.burst or max(1, round(self.per_second))


class Integration(Section):
    """One customer's delivery: which events, in what batches, to where.

    Kinds of sinks derive from it, narrow ``kind`` to a ``Literal`` and add their own keys.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    """What a kind's ``url`` may begin with."""

    url_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("url",),)
    """Where a kind's settings name hosts that it connects to: each must be one that ``outbound`` permits."""

    id: Id = Field(
        description="The integration's name, unique. It is part of every batch id, "
        "so a changed id is a new integration that starts at number 0."
    )
    kind: str = Field(description="What the endpoint speaks. An id keeps its kind: for another one choose another id.")
    url: str = Field(
        description="Where batches go, with scheme and host. Credentials do not belong in it: use `authorization`."
    )
    authorization: SecretStr | None = Field(
        None, description="The whole value of the `Authorization` header, sent as it is. Never shown."
    )
    applications: Codes = Field((), description="Application codes; empty means any.")
    events: Names = Field(description="Event names, at least one.")
    platforms: Platforms = Field(
        description="Platforms by display name or number, at least one: iOS, Android, macOS, Windows, Amazon, "
        "Safari, Chrome, Firefox, Internet Explorer, Baidu, Huawei, Email, SMS, Line, Xiaomi, WhatsApp, Web."
    )
    campaigns: Codes = Field((), description="Campaign codes; empty means any, also events without a campaign.")
    messages: Codes = Field((), description="Message codes; empty means any, also events without a message.")
    live_activities: bool = Field(False, description="Whether events that carry a `live_activity_id` are sent too.")
    enabled: bool = Field(True, description="Whether the integration takes events. What it already holds is kept.")
    batch: BatchLimits = Field(BatchLimits(), description="When a window is sealed: at whichever limit comes first.")
    timeout_s: Annotated[float, Duration(0.01, 600.0)] = Field(
        30.0, alias="timeout", description="How long one try may take, from connecting to the end of the answer."
    )
    retry: Retry = Field(Retry(), description="What happens after a failed try.")
    max_wait_s: Annotated[float, Duration(1.0, 6 * DAY_S)] = Field(
        3 * DAY_S, alias="max_wait", description="A batch that has waited longer than this is parked."
    )
    ordered: bool = Field(
        False, description="Whether a batch waits for the one before it; `max_in_flight` is then taken for 1."
    )
    lanes: Count = Field(
        1,
        ge=1,
        le=64,
        description="Into how many lanes, each with its own sequence, windows and order, the events are spread by user. More than "
        "one lets several workers deliver for a hot integration; each user's events keep their order. Another number spreads the "
        "users anew: what is still open or waiting by then may arrive after newer events of the same user. Where that matters, "
        "change it while `distributary ledger` shows nothing of the integration open or waiting.",
    )
    max_in_flight: Count = Field(
        4,
        ge=1,
        le=256,
        description="How many batches may be under way at once. An endpoint that becomes slow, or asks for less, gets fewer.",
    )
    breaker: BreakerSettings = Field(
        BreakerSettings(),
        description="An endpoint that fails every try is left alone for a while. Its batches wait and are not parked.",
    )
    rate: RateSettings | None = Field(
        None, description="How often the endpoint is asked at most. Absent: as fast as it answers."
    )
    fields: Literal["published", "known", "all"] = Field(
        "published",
        description="`published` sends the fields of the published event and its uuid; `known` also the others that an "
        "event may have (`campaign_code`, `device_type`, `email` and so on); `all` each event's own bytes, as they came.",
    )

    @property
    def sends_each(self) -> bool:
        """Whether each event is a request of its own."""
        return False

    @property
    def counted_rate(self) -> RateSettings | None:
        """``rate`` as it is counted a batch: where each event is a request, requests are events."""
        if self.rate is None or not self.sends_each:
            return self.rate
        return self.rate.model_copy(update={"unit": "events"})

    @property
    def seal_limits(self) -> BatchLimits:
        """When windows are sealed: where each event is a request, no batch has more of them than the rate's burst."""
        if self.rate is None or not self.sends_each:
            return self.batch
        return self.batch.model_copy(update={"max_events": min(self.batch.max_events, self.rate.burst_or_default)})

    @property
    def in_flight_cap(self) -> int:
        """How many batches may be under way at once, ``ordered`` considered."""
        return 1 if self.ordered else self.max_in_flight

    @field_validator("url")
    @classmethod
    def _check_url(cls, text: str) -> str:
        return checked_url(text, cls.url_schemes)

    @field_validator("authorization")
    @classmethod
    def _check_authorization(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else checked_authorization(secret)
