"""``track-user``: a user's attributes and devices, as Segment tells them with each ``identify``."""

from typing import Final

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import TRACK_USER, Refusal, undecodable
from pipeline.inbound.segment.post_events import DEEPEST
from pipeline.inbound.segment.reading import UnreadableError, decode_fields, read
from pipeline.inbound.segment.tracked_user import FieldTypeError, TrackedUser, tracked_user
from pipeline.ingest.poison import is_nested_too_deep

NOBODY: Final = "neither user_id nor device_id nor email says whose profile it is"
"""Why a profile is disregarded."""


def read_track_user(body: bytes, *, is_strict: bool = False, max_depth: int = DEEPEST) -> TrackedUser | Refusal | None:
    """Read the body of ``track-user``; ``None`` where it is nobody's, which is answered as if it were taken, and counted.

    Refused is what is no JSON object, or nests more than ``max_depth`` objects and lists; with ``is_strict`` also a field of
    a wrong type.
    """
    if is_nested_too_deep(body, max_depth):
        message = f"the body nests more than {max_depth} objects and lists in each other"
        return undecodable(TRACK_USER, message, Outcome.TOO_DEEP)
    try:
        return tracked_user(read(decode_fields, body), is_strict=is_strict)
    except UnreadableError as error:
        return undecodable(TRACK_USER, str(error), error.outcome)
    except FieldTypeError as error:
        return undecodable(TRACK_USER, str(error))
