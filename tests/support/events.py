"""Events as the route stage hands them on: every known field, encoded."""

import msgspec
from hypothesis import strategies as st

from pipeline.ingest.event import LARGEST_UINT64, Event
from pipeline.model.platforms import PLATFORMS

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FILLED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_CODE = _TEXT | st.integers(-(2**63), 2**63 - 1)
_UINT64 = st.integers(0, LARGEST_UINT64)

decoded = msgspec.json.Decoder(Event).decode


def events(*names: str, platforms: tuple[str, ...] = tuple(PLATFORMS)) -> st.SearchStrategy[bytes]:
    """Any events of ``platforms``, called by one of ``names`` or, where none is given, anything."""
    required = {
        "event_name": st.sampled_from(names) if names else _FILLED,
        "application_code": _FILLED,
        "platform": st.sampled_from(platforms),
        "timestamp": st.integers(0, 2**33),
    }
    optional = {
        "campaign_code": _TEXT,
        "device_type": _CODE,
        "error_message": _TEXT,
        "trigger_id": _CODE,
        "profile_id": _CODE,
        "device_id": _CODE,
        "email": _TEXT,
        "message_id": _UINT64,
        "message_code": _TEXT,
        "campaign_id": _UINT64,
        "payload": _TEXT,
        "hwid": _TEXT,
        "user_id": _TEXT,
        "journey_title": _TEXT,
        "journey_point_title": _TEXT,
        "live_activity_id": _TEXT,
        "uuid": _FILLED,
    }
    fields = st.fixed_dictionaries(required, optional=optional)
    return fields.map(lambda given: msgspec.json.encode(msgspec.convert(given, Event)))
