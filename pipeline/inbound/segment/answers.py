"""The answers to Segment's calls, byte for byte: those of the vendor's service, and ours where it has none.

Segment looks at the status alone. 2xx: all is delivered. 408, 423, 429 and 5xx but 501: sent again for up to 4 hours. Others:
given up for good. RudderStack also reads the bodies: a refusal with ``action`` and ``error`` makes it send each event again
alone, one with ``message`` makes it give up.
"""

import json
from types import MappingProxyType
from typing import Final, NamedTuple

from pipeline.inbound.outcome import Outcome

JSON: Final = "application/json"
_OK: Final = 200


class Answer(NamedTuple):
    """Status and body of an answer; ``content_type`` is empty where the body is."""

    status: int
    body: bytes
    content_type: str


class Refusal(NamedTuple):
    """A call that is not taken: the answer, how it is counted, and what was wrong, for people.

    ``application`` is there where a body names one that we know, as that of ``setTags`` does.
    """

    answer: Answer
    outcome: Outcome
    detail: str
    application: str = ""


def message_answer(status: int, message: str) -> Answer:
    """``{"message":"..."}``, as the vendor's service refuses whole requests."""
    return Answer(status, _compact({"message": message}), JSON)


def failure_answer(action: str, message: str) -> Answer:
    """``{"action":"...","status":"failure","error":{"message":"..."}}``, as it refuses what it cannot decode."""
    return Answer(400, _compact({"action": action, "status": "failure", "error": {"message": message}}), JSON)


def undecodable(action: str, message: str, outcome: Outcome = Outcome.UNDECODABLE) -> Refusal:
    """The refusal of a body that is not what ``action`` takes."""
    return Refusal(failure_answer(action, message), outcome, message)


def set_tags_answer(status: int, status_code: int, status_message: str) -> Answer:
    """An answer of the call ``setTags``, which has an envelope of its own."""
    response: dict[str, str] | None = {} if status_code == _OK else None
    return Answer(
        status, _compact({"status_code": status_code, "status_message": status_message, "response": response}), JSON
    )


def _compact(content: object) -> bytes:
    # Go writes these characters as escapes, so that a body can stand in a page.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace")


POST_EVENT: Final = "post event"
TRACK_USER: Final = "track user"
DELETE_USER: Final = "delete user"

TAKEN: Final = Answer(200, b"", "")
"""To ``track-user``, ``post-events`` and ``delete-user``."""

PONG: Final = Answer(200, b"{}", JSON)
"""To ``ping``."""

TAGS_SET: Final = set_tags_answer(200, 200, "OK")
"""To ``setTags``."""

REFUSALS: Final = MappingProxyType(
    {
        Outcome.APPLICATION_MISSING: message_answer(400, "missing application code"),
        Outcome.APPLICATION_UNKNOWN: message_answer(400, "application not found"),
        Outcome.AUTH_REJECTED: message_answer(401, "unauthorized"),
        Outcome.MALFORMED_JSON: message_answer(400, "the body is not JSON in UTF-8"),
        Outcome.NOT_AN_OBJECT: message_answer(400, "the body is not a JSON object"),
        Outcome.TOO_DEEP: message_answer(400, "the body nests too deep"),
        Outcome.UNREADABLE_BODY: message_answer(400, "the body cannot be read"),
        Outcome.TOO_LARGE: message_answer(413, "the request is too large"),
        Outcome.METHOD_NOT_ALLOWED: message_answer(405, "only POST is taken"),
        Outcome.RATE_LIMITED: message_answer(429, "too many requests"),
        Outcome.BUSY: message_answer(503, "too many requests at once"),
        Outcome.UNAVAILABLE: message_answer(503, "temporarily unavailable"),
    }
)
"""What a call is refused with before its body is looked at; the first three are the vendor's own."""

_MEANINGS: Final = MappingProxyType(
    {
        Outcome.AUTH_REJECTED: "The Authorization header is missing or is not Token and a key of the application; "
        "compare the API key with segment_destination.applications.",
        Outcome.IDENTIFIER_MISSING: "The call names neither a user nor a device.",
    }
)


def meaning(outcome: Outcome) -> str:
    """``outcome.meaning`` in the words of these calls, which have no secret and no sample as webhooks have."""
    return _MEANINGS.get(outcome, outcome.meaning)


def refused(outcome: Outcome, detail: str = "") -> Refusal:
    """The refusal of a whole call for ``outcome``, which is one of ``REFUSALS``."""
    return Refusal(REFUSALS[outcome], outcome, detail or meaning(outcome))
