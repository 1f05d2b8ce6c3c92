"""The revision that whoever changes something has seen: as an entity tag, and as ``If-Match`` says it."""

from typing import Final

from pipeline.errors import ConflictError
from pipeline.integrations.snapshot import Entry, WebhookEntry

_ANY: Final = "*"


def tag_of(entry: Entry | WebhookEntry) -> str:
    """The entity tag of an integration or a webhook: its revision, or ``"file"``."""
    return f'"{entry.stored.revision}"' if entry.origin == "stored" and entry.stored is not None else '"file"'


def expected_revision(if_match: str, entry: Entry | WebhookEntry, *, is_required: bool = True) -> int | None:
    """The revision that ``If-Match`` names.

    Raises ``ConflictError`` where it is needed and absent (428), or names another one than there is (412).
    """
    if not if_match.strip():
        if is_required:
            raise ConflictError(
                f"say which revision you have seen: send If-Match with the ETag of {entry.id}", status=428
            )
        return None
    current = tag_of(entry)
    tags = [tag.strip() for tag in if_match.split(",")]
    if _ANY in tags:
        return None
    if current not in tags:
        who, place = "", "in faust.yml"
        if entry.origin == "stored" and entry.stored is not None:
            who, place = f", by {entry.stored.changed_by}", f"at revision {entry.stored.revision}"
        raise ConflictError(
            f"{entry.id} was changed meanwhile{who}: it is {place} now, and this change was made to something else; "
            "look at it again, then repeat the change"
        )
    return entry.stored.revision if entry.origin == "stored" and entry.stored is not None else None
