"""What is known of a user."""

from typing import Any, Final

import msgspec

from pipeline.users.identifiers import By, is_anonymous

MOST_DEVICES: Final = 100
"""How many devices a user keeps: those seen last."""
MOST_OTHER_TAGS: Final = 200
"""How many attributes are kept apart, of a user, that are no known tags."""
MOST_TAG_CHARACTERS: Final = 4096
"""The longest value of an attribute that is kept, a list or an object as JSON."""
MOST_TAG_NAME_CHARACTERS: Final = 256


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device, browser or address that messages reach a user on. ``seen_at_us`` is when it was seen last with its user."""

    seen_at_us: int = 0
    platform: str | None = None
    model: str | None = None
    os_version: str | None = None
    app_version: str | None = None
    token: str | None = None
    language: str | None = None
    country: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    timezone: str | None = None
    user_agent: str | None = None


class User(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user of one application. Times are UNIX microseconds.

    ``tags`` are the attributes whose names are known, ``other_tags`` those kept apart because nobody has set them up.
    ``devices`` are by hwid. ``email_at_us`` and ``phone_at_us`` say when the address was seen last with this user.
    """

    application: str
    key: str
    user_id: str | None = None
    email: str | None = None
    email_at_us: int = 0
    phone: str | None = None
    phone_at_us: int = 0
    tags: dict[str, Any] = {}
    other_tags: dict[str, Any] = {}
    devices: dict[str, Device] = {}
    created_at_us: int
    updated_at_us: int

    @property
    def is_anonymous(self) -> bool:
        """Whether no user id is known."""
        return is_anonymous(self.key)

    @property
    def newest_device(self) -> tuple[str, Device] | None:
        """The hwid and the device that was seen last."""
        return max(self.devices.items(), key=lambda item: (item[1].seen_at_us, item[0]), default=None)

    def identifiers(self) -> list[tuple[By, str]]:
        """All that name this user, but for the user id."""
        found = [(By.HWID, hwid) for hwid in self.devices]
        if self.email:
            found.append((By.EMAIL, self.email))
        if self.phone:
            found.append((By.PHONE, self.phone))
        return found

    def held_since(self, by: By, value: str) -> int | None:
        """When this identifier was seen last with this user; ``None`` where it is not the user's."""
        if by is By.HWID:
            device = self.devices.get(value)
            return None if device is None else device.seen_at_us
        if by is By.EMAIL:
            return self.email_at_us if self.email == value else None
        if by is By.PHONE:
            return self.phone_at_us if self.phone == value else None
        return self.updated_at_us if self.user_id == value else None


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom an identifier names: the user with the key ``owner``, with whom it was seen last at ``at_us``."""

    owner: str
    at_us: int
    platform: str | None = None


def outranks(owner: str, at_us: int, other: str, other_at_us: int) -> bool:
    """Whether an identifier is ``owner``'s rather than ``other``'s: a user id beats none, then the one seen last."""
    return (not is_anonymous(owner), at_us, owner) > (not is_anonymous(other), other_at_us, other)
