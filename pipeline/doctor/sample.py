"""A test event: like a real one of the integration's, and marked as a test wherever the format has room for that."""

import uuid
from typing import Final

import msgspec

from pipeline.ingest.decode import published
from pipeline.ingest.event import Event
from pipeline.model.batch import Batch, Purpose, SealReason
from pipeline.model.events import EventRun
from pipeline.model.integration import EVERYTHING, Integration
from pipeline.model.platforms import PLATFORMS
from pipeline.traffic import APPLICATIONS, EVENT_NAMES, campaigns_of

TEST_USER: Final = "distributary-test"
TEST_TEXT: Final = "Test event of Distributary: nothing has happened, nothing needs to be done"

_MESSAGE_CHANNELS: Final = frozenset({"Email", "SMS", "WhatsApp", "Line"})
_ADDRESSES: Final = {
    "Email": "distributary-test@example.com",
    "SMS": "+15555550100",  # a number that is kept for examples
    "WhatsApp": "whatsapp:+15555550100",
}


def sample_event(integration: Integration, *, now_s: float) -> Event:
    """Make an event that ``integration`` takes, with every field that an event may have and a uuid of its own."""
    name, platform = _name_and_platform(integration)
    application = integration.applications[0] if integration.applications else APPLICATIONS[0]
    campaign = campaigns_of(application)[0]
    address = _ADDRESSES.get(platform, "distributary-test-device")
    return Event(
        campaign_code=integration.campaigns[0] if integration.campaigns else campaign.code,
        device_type=1,
        error_message="",
        trigger_id="0",
        profile_id=TEST_USER,
        device_id=address,
        email=_ADDRESSES["Email"],
        event_name=name,
        message_id=campaign.message_id,
        message_code=integration.messages[0] if integration.messages else campaign.message_code,
        campaign_id=campaign.id,
        platform=platform,
        payload=TEST_TEXT,
        application_code=application,
        hwid=address,
        user_id=TEST_USER,
        timestamp=int(now_s),
        journey_title=TEST_USER,
        journey_point_title=TEST_USER,
        live_activity_id=TEST_USER if integration.live_activities and name.startswith("Live Activity") else None,
        uuid=str(uuid.uuid4()),
    )


def sample_batch(integration: Integration, *, now_s: float) -> Batch:
    """Make a batch of one test event, in the form that ``integration`` wants, on its test lane.

    Its number is the time in milliseconds, so that a receiver that drops what it has seen before does not drop the next.
    """
    encoded = msgspec.json.encode(sample_event(integration, now_s=now_s))
    run = EventRun.of([published(encoded) if integration.fields == "published" else encoded])
    number = int(now_s * 1000)
    return Batch(
        f"{integration.id}~{Purpose.TEST}",
        number,
        number + 1,
        SealReason.COUNT,
        now_s,
        now_s,
        run.packed_ends(),
        run.block,
    )


def _name_and_platform(integration: Integration) -> tuple[str, str]:
    """Choose what belongs together where the filters have something that does."""
    names = EVENT_NAMES if EVERYTHING in integration.events else integration.events
    platforms = tuple(PLATFORMS) if EVERYTHING in integration.platforms else integration.platforms
    return next(
        ((name, platform) for name in names for platform in platforms if _belongs(name, platform)),
        (names[0], platforms[0]),
    )


def _belongs(name: str, platform: str) -> bool:
    channel = name.partition(" ")[0]
    if channel in _MESSAGE_CHANNELS:
        return platform == channel
    if channel == "Live":
        return platform == "iOS"
    return platform not in _MESSAGE_CHANNELS
