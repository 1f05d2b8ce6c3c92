"""The entries of the index: what of the directory the request path looks up, as it is kept in Redis.

An entry lies in the hash of a partition, under a digest, so that Redis holds no identifier as a name.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.errors import CodecError
from pipeline.model.placement import partition_of
from pipeline.users.identifiers import By, digest, is_anonymous, place_of_identifier, place_of_user, user_id_of
from pipeline.users.model import Link, User
from pipeline.users.updates import TrackUser

Kind = Literal["u", "p", "l", "a", "x"]
"""A user; a part of a user, of whom the rest may be known; whom an identifier names; the same, where that is an anonymous
user; nobody any more."""

PARTITION_DIGITS: Final = 6


class UserBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is looked up of a user; the names are short as there is one of these for each user."""

    k: str
    """The user's key."""
    u: str | None = None
    """The user id."""
    e: str | None = None
    """The email address."""
    h: str | None = None
    """The device seen last."""
    p: str | None = None
    """Its platform."""


class LinkBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is looked up of an identifier, beside whose it is."""

    p: str | None = None
    """The device's platform."""


class Entry(NamedTuple):
    """One entry; ``field`` is its name in the partition's hash, ``at_us`` the time of what it says."""

    partition: int
    field: bytes
    at_us: int
    kind: Kind
    body: bytes


class Place(NamedTuple):
    """Where an entry is looked up."""

    partition: int
    field: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_user: Final = msgspec.msgpack.Decoder(UserBody).decode
_decode_link: Final = msgspec.msgpack.Decoder(LinkBody).decode


def place_of_user_entry(application: str, key: str, partitions: int) -> Place:
    """Where a user is looked up."""
    return Place(partition_of(place_of_user(application, key), partitions), digest(application, "key", key))


def place_of_link_entry(application: str, by: By, value: str, partitions: int) -> Place:
    """Where it is looked up whom an identifier names."""
    return Place(partition_of(place_of_identifier(application, value), partitions), digest(application, by, value))


def user_entry(user: User, partitions: int) -> Entry:
    """All that is looked up of a user."""
    place = place_of_user_entry(user.application, user.key, partitions)
    hwid, device = user.newest_device or (None, None)
    platform = None if device is None else device.platform
    body = UserBody(user.key, user.user_id, user.email, hwid, platform)
    return Entry(*place, user.updated_at_us, "u", _encode(body))


def link_entry(application: str, by: By, value: str, link: Link, partitions: int) -> Entry:
    """Whom an identifier names."""
    place = place_of_link_entry(application, by, value, partitions)
    owner = place_of_user_entry(application, link.owner, partitions)
    where = f"{owner.partition:0{PARTITION_DIGITS}d}".encode() + owner.field
    return Entry(*place, link.at_us, "a" if is_anonymous(link.owner) else "l", where + _encode(LinkBody(link.platform)))


def no_entry(application: str, by: str, value: str, partitions: int, at_us: int) -> Entry:
    """Nobody any more; ``by`` is ``key`` for a user's own entry."""
    if by == "key":
        place = place_of_user_entry(application, value, partitions)
    else:
        place = place_of_link_entry(application, By(by), value, partitions)
    return Entry(*place, at_us, "x", b"")


def entries_of(update: TrackUser, key: str, partitions: int) -> list[Entry]:
    """What an update about the user with ``key`` says by itself, for the index to show before its rows are written."""
    place = place_of_user_entry(update.application, key, partitions)
    body = UserBody(key, user_id_of(key), update.email, update.hwid, update.device.platform if update.hwid else None)
    entries = [Entry(*place, update.at_us, "p", _encode(body))]
    for by, value in update.identifiers():
        platform = update.device.platform if by is By.HWID else None
        link = Link(key, update.at_us, platform)
        entries.append(link_entry(update.application, by, value, link, partitions))
    return entries


def decode_user_body(body: bytes) -> UserBody:
    """Raises ``CodecError`` where it is none."""
    try:
        return _decode_user(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"an entry of the users' index cannot be read: {error}") from error


def decode_link_body(body: bytes) -> LinkBody:
    """Raises ``CodecError`` where it is none."""
    try:
        return _decode_link(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"an entry of the users' index cannot be read: {error}") from error
