"""A profile as a call tells it: who it is, and what is known of the user and the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.profile_values import (
    email_of,
    identifier_of,
    language_of,
    location_of,
    phone_of,
    platform_of,
    timezone_of,
    token_of,
    value_of,
)
from pipeline.inbound.segment.reading import Fields, UnreadableError, is_null, kind_of, read
from pipeline.inbound.segment.reasons import Reason

T = TypeVar("T")

_IDENTIFIERS: Final = ("user_id", "device_id", "email")
_PHONE_ATTRIBUTE: Final = "phone"


@dataclass(frozen=True, slots=True)
class TrackedUser:
    """What a call says of a user; a text that it does not say is empty.

    ``platform`` is a display name, ``language`` in small letters, ``timezone`` a name of the time zone database, ``location``
    latitude and longitude in degrees. One of ``user_id``, ``device_id`` and ``email`` is not empty. ``ignored`` tells which fields could
    not be used, and why.
    """

    user_id: str = ""
    device_id: str = ""
    email: str = ""
    phone: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    platform: str = ""
    model: str = ""
    os_version: str = ""
    app_version: str = ""
    token: str = ""
    language: str = ""
    country: str = ""
    city: str = ""
    location: tuple[float, float] | None = None
    timezone: str = ""
    user_agent: str = ""
    ignored: Mapping[str, Reason] = field(default_factory=dict)

    @property
    def identifier(self) -> tuple[str, str]:
        """What tells whose it is, and its value: ``user_id`` before ``hwid`` before ``email``."""
        if self.user_id:
            return "user_id", self.user_id
        return ("hwid", self.device_id) if self.device_id else ("email", self.email)

    @property
    def detail(self) -> str:
        """One sentence on what could not be used; empty where all was."""
        return f"not used: {', '.join(sorted(self.ignored))}" if self.ignored else ""

    @property
    def disregarded(self) -> dict[str, int]:
        """How many fields could not be used, by reason."""
        counts: dict[str, int] = {}
        for reason in self.ignored.values():
            counts[reason.value] = counts.get(reason.value, 0) + 1
        return counts


class FieldTypeError(ValueError):
    """A field of another JSON type than the call takes, where the call is to be refused for it."""


_TEXTS: Final[Mapping[str, tuple[str, Callable[[str], str | None]]]] = MappingProxyType(
    {
        "user_id": ("user_id", identifier_of),
        "device_id": ("device_id", identifier_of),
        "email": ("email", email_of),
        "device_platform": ("platform", platform_of),
        "device_model": ("model", value_of),
        "device_os_version": ("os_version", value_of),
        "app_version": ("app_version", value_of),
        "device_token": ("token", token_of),
        "language": ("language", language_of),
        "country": ("country", value_of),
        "city": ("city", value_of),
        "timezone": ("timezone", timezone_of),
        "user_agent": ("user_agent", value_of),
    }
)
"""Field of the call -> field of the profile, and what brings its value into form."""


class _Location(msgspec.Struct):
    latitude: float | None = None
    longitude: float | None = None


_text: Final = msgspec.json.Decoder(str)
_attributes: Final = msgspec.json.Decoder(dict[str, Any])
_location: Final = msgspec.json.Decoder(_Location)


def tracked_user(fields: Fields, *, is_strict: bool = False) -> TrackedUser | None:
    """Read the fields of a profile; ``None`` where they do not say whose it is.

    Absent, null, empty and blank are the same, and unknown fields do no harm. A value that cannot be used costs only itself;
    with ``is_strict`` one of a wrong type raises ``FieldTypeError``. A text ``phone`` among the attributes, as Segment's traits
    have it, is also the user's phone number.
    """
    profile = _Profile(fields, is_strict=is_strict)
    for name, (target, brought_into_form) in _TEXTS.items():
        profile.read_text(name, target, brought_into_form)
    profile.read_attributes()
    profile.read_location()
    return profile.user()


class _Profile:
    """What was read so far."""

    def __init__(self, fields: Fields, *, is_strict: bool) -> None:
        self._fields = fields
        self._is_strict = is_strict
        self._values: dict[str, Any] = {}
        self._ignored: dict[str, Reason] = {}

    def user(self) -> TrackedUser | None:
        if not any(name in self._values for name in _IDENTIFIERS):
            return None
        return TrackedUser(**self._values, ignored=self._ignored)

    def read_text(self, name: str, target: str, brought_into_form: Callable[[str], str | None]) -> None:
        text = self._read(name, _text, "a text")
        if text is None or not text.strip():
            return
        value = brought_into_form(text)
        if value is None:
            self._ignored[name] = Reason.VALUE_WRONG
        else:
            self._values[target] = value

    def read_attributes(self) -> None:
        attributes = self._read("attributes", _attributes, "an object")
        if attributes is None:
            return
        self._values["attributes"] = attributes
        phone = attributes.get(_PHONE_ATTRIBUTE)
        if isinstance(phone, str) and (number := phone_of(phone)) is not None:
            self._values["phone"] = number

    def read_location(self) -> None:
        place = self._read("current_location", _location, "an object")
        if place is None or (place.latitude is None and place.longitude is None):
            return
        self._values["location"] = location_of(place.latitude, place.longitude)
        if self._values["location"] is None:
            self._ignored["current_location"] = Reason.VALUE_WRONG

    def _read(self, name: str, decoder: "msgspec.json.Decoder[T]", expected: str) -> T | None:
        content = self._fields.get(name)
        if content is None or is_null(content):
            return None
        try:
            return read(decoder, bytes(content))
        except UnreadableError as error:
            if self._is_strict and error.outcome is Outcome.UNDECODABLE:
                raise FieldTypeError(f"{name} must be {expected}, and is {kind_of(content)}") from None
            is_unreadable = kind_of(content) == expected and error.outcome is not Outcome.UNDECODABLE
            self._ignored[name] = Reason.UNREADABLE if is_unreadable else Reason.TYPE_WRONG
            return None
