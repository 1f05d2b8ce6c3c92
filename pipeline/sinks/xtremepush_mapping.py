"""From our events to Xtremepush's: what their names, channels and properties are made of.

The vendor's page shows two event names, ``message_send`` and ``message_delivery``, and no channel's spelling. The other
names here follow the same pattern: they are assumptions, and an integration can replace each of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from pipeline.ingest.event import Event

CHANNEL_OF_PLATFORM: Final = MappingProxyType(
    {
        "iOS": "mobile_push",
        "Android": "mobile_push",
        "macOS": "mobile_push",
        "Windows": "mobile_push",
        "Amazon": "mobile_push",
        "Safari": "web_push",
        "Chrome": "web_push",
        "Firefox": "web_push",
        "Internet Explorer": "web_push",
        "Baidu": "mobile_push",
        "Huawei": "mobile_push",
        "Email": "email",
        "SMS": "sms",
        "Line": "line",
        "Xiaomi": "mobile_push",
        "WhatsApp": "whatsapp",
        "Web": "web_push",
    }
)
"""The channel of each platform, unless an integration says otherwise."""

EVENT_OF_NAME: Final = MappingProxyType(
    {
        "Push Sent": "message_send",
        "Push Delivered": "message_delivery",
        "Push Opened": "message_open",
        "Push Failed": "message_failure",
        "Email Sent": "message_send",
        "Email Delivered": "message_delivery",
        "Email Opened": "message_open",
        "Email Clicked": "message_click",
        "Email Link Clicked": "message_click",
        "Email Unsubscribed": "message_unsubscribe",
        "Email Complained": "message_complaint",
        "Email Bounced": "message_bounce",
        "Email Failed": "message_failure",
        "SMS Sent": "message_send",
        "SMS Delivered": "message_delivery",
        "SMS Failed": "message_failure",
        "WhatsApp Sent": "message_send",
        "WhatsApp Delivered": "message_delivery",
        "WhatsApp Read": "message_open",
        "WhatsApp Failed": "message_failure",
        "Line Sent": "message_send",
        "Line Delivered": "message_delivery",
    }
)
"""What each of our events is called outward, unless an integration says otherwise."""

CHANNELS: Final = frozenset({*CHANNEL_OF_PLATFORM.values(), "in_app"})
DEVICE_CHANNELS: Final = frozenset({"mobile_push", "web_push", "in_app"})
"""The channels whose campaigns go to devices: only their events name one."""

FAILURE_EVENTS: Final = frozenset({"message_failure", "message_bounce"})
"""The events that tell of a failure: only they carry an error message."""


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``properties`` holds, in the documented order; what an event does not have is left out.

    Source: the vendor's page on the webhooks integration, "Event properties".
    """

    message_type: str
    campaign_id: int | None = None
    profile_id: str | int | None = None
    device_id: str | int | None = None
    trigger_id: str | int | None = None
    error_message: str | None = None
    user_id: str | None = None
    email: str | None = None


class Webhook(msgspec.Struct, frozen=True):
    """The body of a request. ``time`` is UNIX seconds."""

    event: str
    time: int
    properties: Properties


class Translation:
    """One integration's tables: the defaults with its own entries on top.

    ``channel_map`` gives platforms (display names) another channel, ``event_map`` our event names another name.
    """

    def __init__(self, channel_map: Mapping[str, str], event_map: Mapping[str, str]) -> None:
        self.channel_of = {**CHANNEL_OF_PLATFORM, **channel_map}
        self.event_of = {**EVENT_OF_NAME, **event_map}
        self._names_device = {
            platform: _names_device(platform, self.channel_of[platform]) for platform in self.channel_of
        }
        self._is_failure = {name: _is_failure(name, self.event_of[name]) for name in self.event_of}

    def translate(self, event: Event) -> Webhook:
        """The outward form of ``event``; raises ``ValueError`` where it has none."""
        name, platform = event.event_name, str(event.platform)
        if name not in self.event_of:
            raise ValueError(f"the event {name} has no name there; give it one in event_map")
        if platform not in self.channel_of:
            raise ValueError(f"the platform {platform} has no channel there; give it one in channel_map")
        return Webhook(
            self.event_of[name],
            event.timestamp,
            Properties(
                message_type=self.channel_of[platform],
                campaign_id=event.campaign_id,
                profile_id=_code(event.profile_id),
                device_id=_code(event.device_id, event.hwid) if self._names_device[platform] else None,
                trigger_id=_code(event.trigger_id),
                error_message=(event.error_message or None) if self._is_failure[name] else None,
                user_id=event.user_id or None,
                email=event.email or (event.hwid if platform == "Email" else None) or None,
            ),
        )


def _code(value: str | int | None, otherwise: str | None = None) -> str | int | None:
    """``value`` where it says something, or else what may stand in for it."""
    return (otherwise or None) if value is None or value == "" else value


def canonical(channel: str) -> str:
    """How channels are compared: ``In-App``, ``in app`` and ``in_app`` are one."""
    return "_".join(channel.lower().replace("-", " ").replace("_", " ").split())


def _names_device(platform: str, channel: str) -> bool:
    known = canonical(channel)
    # A channel with a name of the customer's own is still what its platform is.
    return (known if known in CHANNELS else CHANNEL_OF_PLATFORM[platform]) in DEVICE_CHANNELS


def _is_failure(name: str, outward: str) -> bool:
    known = outward if outward in EVENT_OF_NAME.values() else EVENT_OF_NAME.get(name)
    # Nothing is known of an event that is in neither table, but only failures have an error message.
    return known is None or known in FAILURE_EVENTS
