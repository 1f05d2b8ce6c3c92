"""Why an event, or a part of a profile, was not taken although the call was: each reason is counted."""

import enum
from types import MappingProxyType
from typing import Final


class Reason(enum.StrEnum):
    """Its value is what counters, topics and tables hold; people read ``label`` and ``meaning``."""

    IDENTITY_MISSING = "identity_missing"
    IDENTITY_WRONG = "identity_wrong"
    PLATFORM_MISSING = "platform_missing"
    PLATFORM_WRONG = "platform_wrong"
    NAME_MISSING = "name_missing"
    TIMESTAMP_WRONG = "timestamp_wrong"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    NOT_AN_OBJECT = "not_an_object"
    TYPE_WRONG = "type_wrong"
    UNREADABLE = "unreadable"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    VALUE_WRONG = "value_wrong"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _WORDS[self][0]

    @property
    def meaning(self) -> str:
        """One sentence for people: what was found, and what to do about it."""
        return _WORDS[self][1]


_WORDS: Final = MappingProxyType(
    {
        Reason.IDENTITY_MISSING: (
            "No user or device",
            "Neither user_id nor device_id says whose it is; map External User ID or Device ID in Segment.",
        ),
        Reason.IDENTITY_WRONG: (
            "Wrong user or device",
            "user_id or device_id is longer than 512 characters or holds the character NUL, so that it cannot be stored.",
        ),
        Reason.PLATFORM_MISSING: (
            "No platform",
            "device_platform is absent, null or empty; map Device Platform in Segment.",
        ),
        Reason.PLATFORM_WRONG: (
            "Wrong platform",
            "device_platform is none of ios, android and web; change the mapping of Device Platform in Segment.",
        ),
        Reason.NAME_MISSING: ("No name", "name is absent, null or empty, so that there is no event to record."),
        Reason.TIMESTAMP_WRONG: (
            "Wrong timestamp",
            "timestamp is not a text in RFC 3339, such as 2024-08-16T09:07:51.123Z.",
        ),
        Reason.TIMESTAMP_OUT_OF_RANGE: (
            "Timestamp out of range",
            "timestamp lies before 1970 or after the year 9999, and events carry UNIX seconds.",
        ),
        Reason.NOT_AN_OBJECT: ("Not an object", "An element of events is not a JSON object."),
        Reason.TYPE_WRONG: ("Wrong type", "A field has another JSON type than the one that the call takes."),
        Reason.UNREADABLE: ("Unreadable", "The event holds bytes that are not UTF-8, or a number that is too large."),
        Reason.TOO_DEEP: ("Nested too deep", "attributes nest more objects and arrays than inbound.max_depth permits."),
        Reason.TOO_LARGE: ("Too large", "The event is larger than 1 MiB."),
        Reason.VALUE_WRONG: (
            "Wrong value",
            "A field of a profile has no usable value; the rest of the profile was taken.",
        ),
    }
)
