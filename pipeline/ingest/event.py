"""The event of the source topic, typed."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

LATEST_TIMESTAMP_S: Final = 253_402_300_799
"""The end of the year 9999: what lies beyond is no time in seconds (most often it is one in milliseconds)."""

LARGEST_UINT64: Final = 2**64 - 1
"""The largest ``message_id`` and ``campaign_id``; msgspec's own limits end at 2**63, so ``decode`` looks at it."""

Text = Annotated[str, Meta(min_length=1)]
Uint64 = Annotated[int, Meta(ge=0)]
Seconds = Annotated[int, Meta(ge=0, le=LATEST_TIMESTAMP_S)]
# The vendor does not say whether these are numbers or text, and has sent both.
Code = str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Event(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """One communication event, as ``channels-tracking-log`` carries it: a JSON object, UTF-8.

    ``timestamp`` is UNIX seconds; ``platform`` a display name once decoded; one of ``hwid`` and ``user_id`` is not empty.
    An optional field that is absent or null is ``None``, and is left out where the event is encoded.

    The order matters: first the fields that are never published, then, from ``event_name`` on, the published ones, so that
    the published form is a tail of the encoded event (``pipeline.ingest.decode``).
    """

    campaign_code: str | None = None
    device_type: Code | None = None
    error_message: str | None = None
    trigger_id: Code | None = None
    profile_id: Code | None = None
    device_id: Code | None = None
    email: str | None = None

    event_name: Text
    message_id: Uint64 | None = None
    message_code: str | None = None
    campaign_id: Uint64 | None = None
    platform: Code
    payload: str | None = None
    application_code: Text
    hwid: str | None = None
    user_id: str | None = None
    timestamp: Seconds
    journey_title: str | None = None
    journey_point_title: str | None = None
    live_activity_id: str | None = None
    uuid: str | None = None


FIRST_PUBLISHED: Final = "event_name"
"""The field of ``Event`` with which the published ones begin."""

PUBLISHED_FIELDS: Final = Event.__struct_fields__[Event.__struct_fields__.index(FIRST_PUBLISHED) :]
"""What ``fields: published`` sends, in the order of sending."""
