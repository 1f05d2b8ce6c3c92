"""The values of a profile, brought into one form; ``None`` is a value that has none."""

import functools
import math
import re
import zoneinfo
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.model.platforms import PLATFORMS

LONGEST_IDENTIFIER: Final = 512
"""Characters of a user's or device's id."""

LONGEST_VALUE: Final = 1024
LONGEST_TOKEN: Final = 4096
_LONGEST_EMAIL: Final = 320

_PLATFORMS: Final = MappingProxyType({name.lower(): name for name in PLATFORMS})
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9@._-]*)?")
_EMAIL: Final = re.compile(r"[^\s@\0]+@[^\s@\0]+")
_PHONE: Final = re.compile(r"(?:whatsapp:)?\+?[0-9][0-9 ().-]{3,30}[0-9]")
_ZONE_FORM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


def platform_of(text: str) -> str | None:
    """The display name of a platform written in any case."""
    return _PLATFORMS.get(text.strip().lower())


def language_of(text: str) -> str | None:
    """The language of a locale, in small letters: ``en`` for ``en-US``, ``zh`` for ``zh_Hant_TW``."""
    found = _LANGUAGE.fullmatch(text.strip())
    return found[1].lower() if found is not None else None


def timezone_of(text: str) -> str | None:
    """The name of a time zone as the time zone database writes it: ``Europe/Berlin`` for ``europe/berlin``."""
    name = text.strip()
    zones = _zones()
    if zones:
        return zones.get(name.lower())
    return name if _ZONE_FORM.fullmatch(name) else None  # no database on this machine


def email_of(text: str) -> str | None:
    """An email address, without white space around it."""
    address = text.strip()
    return address if len(address) <= _LONGEST_EMAIL and _EMAIL.fullmatch(address) else None


def phone_of(text: str) -> str | None:
    """A phone number, without white space around it."""
    number = text.strip()
    return number if _PHONE.fullmatch(number) else None


def identifier_of(text: str) -> str | None:
    """The id of a user or device, as it is; longer ones, and those with NUL, cannot be stored."""
    return text if len(text) <= LONGEST_IDENTIFIER and "\0" not in text else None


def value_of(text: str) -> str | None:
    """Any text of up to ``LONGEST_VALUE`` characters, without white space around it."""
    value = text.strip()
    return value if len(value) <= LONGEST_VALUE else None


def token_of(text: str) -> str | None:
    """A push token, as it is."""
    return text if len(text) <= LONGEST_TOKEN else None


def location_of(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, where they name a place on Earth."""
    if latitude is None or longitude is None:
        return None
    is_on_earth = math.fabs(latitude) <= 90 and math.fabs(longitude) <= 180  # noqa: PLR2004  degrees
    return (latitude, longitude) if is_on_earth else None


@functools.cache
def _zones() -> Mapping[str, str]:
    return MappingProxyType({name.lower(): name for name in zoneinfo.available_timezones()})
