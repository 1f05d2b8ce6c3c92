"""The rows of table ``users``.

- ``u/{application} {key}``: a user. It lies on the partition of the user's key.
- ``l/{application} {by} {value}``: whom an identifier names. It lies on the partition of the identifier.
- ``x/{digest}``: an identifier of a deleted user, hashed: events from before the deletion do not bring the user back.
- ``p/{request id}``: a deletion whose identifiers are not all removed yet, or whose proof is not written yet.
- ``n``: changes with every write; the index in Redis keeps it as well, so whoever takes a partition over can compare.

Parts of a key are joined by a zero byte.
"""

from typing import Any, Final, TypeVar

import msgspec

from pipeline.errors import CodecError
from pipeline.users.identifiers import By, digest
from pipeline.users.model import Link, User

Row = tuple[bytes, bytes | None]
"""A key and its value; ``None`` removes the row."""

WRITE_KEY: Final = b"n"
USERS: Final = b"u/"
LINKS: Final = b"l/"
GRAVES: Final = b"x/"
PROOFS: Final = b"p/"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion under way: what was removed, as hashes (see :func:`proof_of`), and what is not removed yet."""

    application: str
    request_id: str
    actor: tuple[str, str, str]
    asked_at_us: int
    removed_at_us: int
    was_known: bool
    identifiers: list[str]
    waiting: list[str]
    devices: int
    tags: int
    told_at_us: int = 0
    """When it was written into the audit log; 0 for not yet."""


class Grave(msgspec.Struct, frozen=True):
    """When the user that an identifier named was deleted."""

    at_us: int


def user_key(application: str, key: str) -> bytes:
    """Where a user is stored."""
    return b"u/" + f"{application}\0{key}".encode()


def link_key(application: str, by: By, value: str) -> bytes:
    """Where it is stored whom an identifier names."""
    return b"l/" + f"{application}\0{by}\0{value}".encode()


def link_of_key(key: bytes) -> tuple[str, By, str]:
    """Application, kind and value of a link's key."""
    application, by, value = key[len(LINKS) :].decode().split("\0")
    return application, By(by), value


def grave_key(application: str, key: str) -> bytes:
    """Where it is stored that the user with this key was deleted; an identifier's is that of its anonymous user."""
    return GRAVES + digest(application, "key", key).hex().encode()


def proof_key(request_id: str) -> bytes:
    """Where a deletion is stored that is not done."""
    return PROOFS + request_id.encode()


def proof_of(request_id: str, application: str, by: str, value: str) -> str:
    """The hash that stands for an identifier in a deletion's proof.

    Salted by the request, so that two deletions cannot be compared; whoever has the identifier can make it again.
    """
    return digest(request_id, application, by, value).hex()


R = TypeVar("R", User, Link, Proof, Grave)

_encode = msgspec.json.Encoder().encode
_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (User, Link, Proof, Grave)
}


def encode_row(row: User | Link | Proof | Grave) -> bytes:
    """The value of a row."""
    return _encode(row)


def decode_row(kind: type[R], value: bytes) -> R:
    """Read a row's value; raises ``CodecError`` where it cannot be."""
    try:
        row: R = _DECODERS[kind].decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"table users: a row cannot be read as a {kind.__name__}: {error}") from error
    return row
