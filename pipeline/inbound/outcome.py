"""What can become of an inbound request: one outcome each, as it is counted, shown and answered."""

import enum
from types import MappingProxyType
from typing import Final, NamedTuple


class Outcome(enum.StrEnum):
    """The outcome of one request. Its value is what counters, topics and tables hold; people read ``label``."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    AUTH_REJECTED = "auth_rejected"
    IDENTIFIER_MISSING = "identifier_missing"
    USER_NOT_FOUND = "user_not_found"
    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    UNREADABLE_BODY = "unreadable_body"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    DISABLED = "disabled"
    UNKNOWN_WEBHOOK = "unknown_webhook"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    APPLICATION_MISSING = "application_missing"
    APPLICATION_UNKNOWN = "application_unknown"
    UNDECODABLE = "undecodable"

    @property
    def label(self) -> str:
        """What the activity log calls it."""
        return _FACTS[self].label

    @property
    def status(self) -> int:
        """The HTTP status that it is answered with."""
        return _FACTS[self].status

    @property
    def meaning(self) -> str:
        """One sentence for people: what happened, and what to do about it."""
        return _FACTS[self].meaning

    @property
    def is_success(self) -> bool:
        """Whether the request counts as a success: authenticated, its user found, its event taken."""
        return self in _SUCCESSES

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later, so that the answer names a time in ``Retry-After``."""
        return self in _TEMPORARY


class _Facts(NamedTuple):
    label: str
    status: int
    meaning: str


_FACTS: Final = MappingProxyType(
    {
        Outcome.ACCEPTED: _Facts("Accepted", 200, "The event was taken."),
        Outcome.DUPLICATE: _Facts(
            "Repeated", 200, "A request with this idempotency key was taken within the last 24 hours; no second event."
        ),
        Outcome.AUTH_REJECTED: _Facts(
            "Auth rejected",
            401,
            "The Authorization header is missing or is not the secret of this webhook; copy the secret again or rotate it.",
        ),
        Outcome.IDENTIFIER_MISSING: _Facts(
            "User identifier field missing",
            422,
            "The payload field that identifies the user is not there, or holds no text; compare it with the sample.",
        ),
        Outcome.USER_NOT_FOUND: _Facts(
            "User not found", 422, "No user of this application has this identifier; register the user first."
        ),
        Outcome.MALFORMED_JSON: _Facts("Malformed JSON", 400, "The body is not JSON in UTF-8."),
        Outcome.NOT_AN_OBJECT: _Facts("Not a JSON object", 400, "The body is JSON, but not an object of fields."),
        Outcome.TOO_DEEP: _Facts(
            "Nested too deep", 400, "The body nests more objects and arrays than inbound.max_depth."
        ),
        Outcome.TOO_LARGE: _Facts("Too large", 413, "The body, or the event made of it, is larger than permitted."),
        Outcome.UNREADABLE_BODY: _Facts(
            "Unreadable body", 400, "The body did not arrive whole, or not in the encoding that its headers name."
        ),
        Outcome.METHOD_NOT_ALLOWED: _Facts("Method not allowed", 405, "Only POST is taken."),
        Outcome.DISABLED: _Facts("Webhook disabled", 404, "The webhook is disabled; enable it to take requests again."),
        Outcome.UNKNOWN_WEBHOOK: _Facts("No such webhook", 404, "No webhook has this URL; copy the URL again."),
        Outcome.RATE_LIMITED: _Facts(
            "Rate limited", 429, "More requests than inbound.rate permits; send again after the time in Retry-After."
        ),
        Outcome.BUSY: _Facts("Busy", 503, "Too many requests at once; send again after the time in Retry-After."),
        Outcome.UNAVAILABLE: _Facts(
            "Unavailable",
            503,
            "Users cannot be looked up, or events not be kept, just now; send again after the time in Retry-After.",
        ),
        Outcome.APPLICATION_MISSING: _Facts(
            "Application code missing", 400, "The header X-PW-Appcode is missing or empty."
        ),
        Outcome.APPLICATION_UNKNOWN: _Facts(
            "Application not found", 400, "segment_destination.applications does not name this application."
        ),
        Outcome.UNDECODABLE: _Facts(
            "Undecodable", 400, "The call is not what its path takes; the detail names the field."
        ),
    }
)

_SUCCESSES: Final = frozenset({Outcome.ACCEPTED, Outcome.DUPLICATE})
_TEMPORARY: Final = frozenset({Outcome.RATE_LIMITED, Outcome.BUSY, Outcome.UNAVAILABLE})
