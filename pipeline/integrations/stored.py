"""The rows of table ``integrations``: what is stored of each integration and webhook, and what was done to it.

- ``i/{id}``: an integration that was made in the API or the UI.
- ``w/{id}``: an inbound webhook that was made there.
- ``k/{id}``: of what kind the integration of that id is or was, also of those in ``faust.yml``. A deleted integration may
  still have an open window, which has to find the topic of its kind; and its lanes' numbers go on if the id is used again.
- ``a/{revision}``: an entry of the audit log.

One counter numbers all of them. The rows of one change are one group, so that no change is without its entry.
"""

from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from pipeline.errors import CodecError

RowGroup = list[tuple[bytes, bytes | None]]
"""Rows that reach the changelog in one record batch: all of them or none. ``None`` removes the row."""

RowKind = Literal["i", "w", "k", "a"]

_VERSION: Final = 1
_REVISION_DIGITS: Final = 12


class Stored(msgspec.Struct, frozen=True):
    """An integration as it is kept. ``settings`` are as in ``faust.yml``, its secrets in plain text: never to be shown.

    ``revision`` is that of its last change, ``changed_at`` UNIX seconds.
    """

    id: str
    settings: dict[str, Any]
    revision: int
    changed_at: float
    changed_by: str
    version: int = _VERSION

    @property
    def kind(self) -> str:
        """What its endpoint speaks."""
        return str(self.settings["kind"])


class StoredWebhook(msgspec.Struct, frozen=True):
    """A webhook as it is kept. ``settings`` are as in ``faust.yml``, its secrets in plain text: never to be shown.

    ``revision`` is that of its last change, ``changed_at`` UNIX seconds. ``made`` is the revision under which it was made, so
    that one that is deleted and made again under the same id is another one; 0 where that was not noted yet.
    """

    id: str
    settings: dict[str, Any]
    revision: int
    changed_at: float
    changed_by: str
    made: int = 0
    version: int = _VERSION


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what to what, and when (``at``, UNIX seconds); ``role`` and ``address`` are those of ``who`` at the time.

    ``details`` tell more: for a changed integration each key that changed, with its value before and after, secrets masked.
    ``revision`` is 0 until the entry is stored.
    """

    revision: int
    at: float
    who: str
    role: str
    what: str
    target: str
    details: dict[str, Any]
    address: str = ""
    version: int = _VERSION


class RowKey(NamedTuple):
    """A key, read: the kind of row, and the id or the revision."""

    kind: RowKind
    name: str


class KindRow(msgspec.Struct, frozen=True):
    """Of what kind an integration is or was."""

    kind: str
    version: int = _VERSION


def stored_key(integration: str) -> bytes:
    """Where an integration is stored."""
    return f"i/{integration}".encode()


def webhook_key(webhook: str) -> bytes:
    """Where a webhook is stored."""
    return f"w/{webhook}".encode()


def kind_key(integration: str) -> bytes:
    """Where its kind is stored."""
    return f"k/{integration}".encode()


def audit_key(revision: int) -> bytes:
    """Where an entry of the audit log is stored; keys sort as revisions do."""
    return f"a/{revision:0{_REVISION_DIGITS}d}".encode()


def parse_key(key: bytes) -> RowKey:
    """Read a key; raises ``CodecError`` where it is none of these."""
    try:
        kind, slash, name = key.decode().partition("/")
    except UnicodeDecodeError:
        kind, slash, name = "", "", ""
    found = _KINDS.get(kind)
    if found is None or not slash or not name or (found == "a" and not name.isdigit()):
        raise CodecError(f"table integrations holds a row {key!r}, which this version does not know")
    return RowKey(found, name)


_KINDS: Final[dict[str, RowKind]] = {kind: kind for kind in get_args(RowKind)}

R = TypeVar("R", Stored, StoredWebhook, KindRow, AuditEntry)

_encode = msgspec.json.Encoder().encode
_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Stored, StoredWebhook, KindRow, AuditEntry)
}


def encode_row(row: Stored | StoredWebhook | KindRow | AuditEntry) -> bytes:
    """The value of a row."""
    return _encode(row)


def decode_row(kind: type[R], key: bytes, value: bytes) -> R:
    """Read a row's value; raises ``CodecError`` where it cannot be, or is of a newer version."""
    try:
        row: R = _DECODERS[kind].decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"table integrations: the row {key!r} cannot be read ({error})") from error
    if row.version > _VERSION:
        raise CodecError(
            f"table integrations: the row {key!r} was written by a newer version than this one; upgrade this worker"
        )
    return row
