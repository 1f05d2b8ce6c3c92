"""``delete-user``: Segment passes on that a user is to be forgotten."""

from typing import Final

import msgspec

from pipeline.inbound.segment.answers import DELETE_USER, Refusal, undecodable
from pipeline.inbound.segment.profile_values import LONGEST_IDENTIFIER, identifier_of
from pipeline.inbound.segment.reading import UnreadableError, decode_fields, is_null, kind_of, read

NOBODY: Final = "external_id is absent, null or empty: a deletion of somebody who was never identified"
"""Why a deletion is disregarded."""

_text: Final = msgspec.json.Decoder(str)


def read_delete_user(body: bytes) -> str | Refusal | None:
    """The id of the user to delete; ``None`` where the body names nobody, which is answered as if it were done, and counted.

    Segment sends ``{}`` for somebody who only has an anonymous id, of whom it has told nothing under that id. An id that is
    no text is refused, strict or not: answered 200 it would pass for a deletion that was done.
    """
    try:
        content = read(decode_fields, body).get("external_id")
        if content is None or is_null(content):
            return None
        if kind_of(content) != "a text":
            return undecodable(DELETE_USER, f"external_id must be a text, and is {kind_of(content)}")
        user_id = read(_text, bytes(content))
    except UnreadableError as error:
        return undecodable(DELETE_USER, str(error), error.outcome)
    if identifier_of(user_id) is None:
        return undecodable(DELETE_USER, f"external_id has NUL or more than {LONGEST_IDENTIFIER} characters")
    return user_id if user_id.strip() else None
