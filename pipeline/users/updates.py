"""The records of ``<app>-user-updates``: what was learned of users, and what parts of the directory tell each other.

The key of a record is not used; its partition is that of the user, or of the identifier, that it is about.
"""

from typing import Any, Final

import msgspec

from pipeline.errors import CodecError
from pipeline.users.identifiers import (
    By,
    key_of_anonymous,
    key_of_user,
    normalized,
    place_of_identifier,
    place_of_user,
)
from pipeline.users.model import Device, User


class _Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """Identifiers that were seen together. ``at_us`` is when, UNIX microseconds.

    ``key`` is whom it is about where an identifier's row has told; ``hops`` counts how often it was told.
    """

    application: str
    at_us: int
    user_id: str | None = None
    hwid: str | None = None
    email: str | None = None
    phone: str | None = None
    key: str = ""
    hops: int = 0

    def __post_init__(self) -> None:
        for by in By:
            value = getattr(self, by)
            if value is not None:
                msgspec.structs.force_setattr(self, by, normalized(by, value) if value else None)
        if not (self.user_id or self.hwid or self.email or self.phone):
            raise ValueError("neither a user id nor a device, an email address or a phone number says whose it is")

    @property
    def anchor(self) -> tuple[By, str]:
        """The identifier that finds the user."""
        for by in (By.USER_ID, By.HWID, By.EMAIL, By.PHONE):
            value: str | None = getattr(self, by)
            if value:
                return by, value
        raise AssertionError("checked when it was made")

    @property
    def own_key(self) -> str:
        """The key that its identifiers give."""
        by, value = self.anchor
        return key_of_user(value) if by is By.USER_ID else key_of_anonymous(value)

    @property
    def place(self) -> str:
        """See ``partition_of``."""
        return place_of_user(self.application, self.key or self.own_key)

    def identifiers(self) -> list[tuple[By, str]]:
        """Those that are given, but for the user id."""
        given = ((By.HWID, self.hwid), (By.EMAIL, self.email), (By.PHONE, self.phone))
        return [(by, value) for by, value in given if value]


class TrackUser(_Sighting, frozen=True, kw_only=True, tag="track"):
    """Somebody told what is so of a user: identifiers, ``device`` facts, ``attributes`` (``None`` removes one).

    Raises ``ValueError`` where an identifier cannot be stored, or there is none.
    """

    device: Device = Device()
    attributes: dict[str, Any] = {}


class Seen(_Sighting, frozen=True, kw_only=True, tag="seen"):
    """An event of the source topic named these together; ``at_us`` is the event's time."""

    platform: str | None = None

    @property
    def device(self) -> Device:
        """What is known of the device."""
        return Device(platform=self.platform)

    @property
    def attributes(self) -> dict[str, Any]:
        """None."""
        return {}


class _ToUser(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """For the user ``key`` of an application."""

    application: str
    key: str

    @property
    def place(self) -> str:
        """See ``partition_of``."""
        return place_of_user(self.application, self.key)


class _ToIdentifier(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """For an identifier of an application."""

    application: str
    by: By
    value: str

    @property
    def place(self) -> str:
        """See ``partition_of``."""
        return place_of_identifier(self.application, self.value)


class DeleteUser(_ToUser, frozen=True, kw_only=True, tag="delete"):
    """A user is to be removed; ``actor`` is who wants it: name, role, address."""

    at_us: int
    request_id: str
    actor: tuple[str, str, str]


class Claim(_ToIdentifier, frozen=True, kw_only=True, omit_defaults=True, tag="claim"):
    """To an identifier: it was seen with the user ``owner`` at ``at_us``."""

    owner: str
    at_us: int
    platform: str | None = None


class Release(_ToIdentifier, frozen=True, kw_only=True, omit_defaults=True, tag="release"):
    """To an identifier: it is not ``owner``'s any more. ``request_id`` is of the deletion that wants it, if there is one."""

    owner: str
    at_us: int
    request_id: str = ""


class Leave(_ToUser, frozen=True, kw_only=True, tag="leave"):
    """To a user: this identifier is ``owner``'s, who was seen with it at ``at_us``."""

    by: By
    value: str
    owner: str
    at_us: int


class Linked(_ToUser, frozen=True, kw_only=True, tag="linked"):
    """To a user: this identifier names it from now on, unless it has let go of it meanwhile."""

    by: By
    value: str


class Absorb(_ToUser, frozen=True, kw_only=True, tag="absorb"):
    """To a user: what another record held, which is theirs now: all of an anonymous user, or a device that moved.

    ``at_us`` is when they were seen with the identifier that it came by.
    """

    at_us: int
    user: User
    is_whole: bool


class Released(_ToUser, frozen=True, kw_only=True, tag="released"):
    """To a user that is being deleted: an identifier is removed; ``proof`` is its hash, as the proof has it."""

    request_id: str
    proof: str


Sighting = TrackUser | Seen
Update = TrackUser | Seen | DeleteUser | Claim | Release | Leave | Linked | Absorb | Released

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Update).decode


def encode_update(update: Update) -> bytes:
    """As JSON."""
    return _encode(update)


def decode_update(value: bytes | None) -> Update:
    """Read a record's value; raises ``CodecError`` where it is no update."""
    try:
        update: Update = _decode(value or b"")
    except (msgspec.MsgspecError, ValueError) as error:
        raise CodecError(f"a record of the user updates cannot be read: {error}") from error
    return update
