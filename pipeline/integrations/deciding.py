"""What every decision has in common, whether it is on an integration or on a webhook."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from pipeline.errors import ConflictError, InvalidChangeError, NotFoundError
from pipeline.integrations.kept import MOST_AUDITED, Kept
from pipeline.integrations.stored import AuditEntry, RowGroup, audit_key, encode_row

MOST_BYTES: Final = 256 * 1024
"""How large the settings of one may be, as JSON."""

_ALREADY_THERE: Final = 409


class Found(Protocol):
    """What is stored before a change."""

    @property
    def revision(self) -> int: ...  # noqa: D102

    @property
    def changed_by(self) -> str: ...  # noqa: D102


class Wanted(NamedTuple):
    """Where a change goes: the ``noun`` of what it changes with its article, its id, and what it is to do."""

    noun: str
    id: str
    action: str
    expected_revision: int | None


def check_place(wanted: Wanted, before: Found | None, *, is_in_file: bool) -> None:
    """Raise ``NotFoundError`` or ``ConflictError`` (409: it exists or is in faust.yml; 412: it was changed meanwhile)."""
    noun, name, action, expected = wanted
    if is_in_file and not (action == "delete" and before is not None):
        raise ConflictError(
            f"{name} is {noun} of faust.yml, which is read-only here: change it there, or choose another id",
            status=_ALREADY_THERE,
        )
    if action == "create" and before is not None:
        raise ConflictError(f"there is {noun} {name} already; choose another id", status=_ALREADY_THERE)
    if action != "create" and before is None:
        raise NotFoundError(f"there is no {noun.partition(' ')[2]} {name}")
    found = 0 if before is None else before.revision
    if expected is not None and expected != found:
        who = "" if before is None else f", by {before.changed_by}"
        raise ConflictError(
            f"{name} was changed meanwhile{who}: it is at revision {found}, not {expected}; "
            "look at it again, then repeat the change"
        )


def check_size(settings: Mapping[str, Any]) -> None:
    """Raise ``InvalidChangeError`` where ``settings`` are too large to be kept."""
    size_bytes = len(msgspec.json.encode(settings))
    if size_bytes > MOST_BYTES:
        raise InvalidChangeError([("", f"the settings take {size_bytes} bytes, and at most {MOST_BYTES} are taken")])


def audited(entry: AuditEntry, kept: Kept) -> RowGroup:
    """The row of ``entry``, and the removal of the oldest ones that make room."""
    old = kept.audit_beyond(MOST_AUDITED - 1)
    return [(audit_key(entry.revision), encode_row(entry)), *((audit_key(number), None) for number in old)]
