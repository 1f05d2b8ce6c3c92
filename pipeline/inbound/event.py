"""The event that a request fires: one of the same shape as those of the source topic, with its attributes."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pipeline.errors import DistributaryError
from pipeline.inbound.keys import uuid_of
from pipeline.inbound.mapping import CompiledWebhook
from pipeline.ingest.decode import DEFAULT_MAX_EVENT_BYTES

WEBHOOK_ATTRIBUTE: Final = "__webhook"
"""The attribute that names the webhook which fired an event."""

WEB: Final = "Web"
"""The platform of an event that names no other."""

LARGEST_EVENT_BYTES: Final = DEFAULT_MAX_EVENT_BYTES
"""What the integrations' side takes of one event."""

_PLATFORM_OF_IDENTIFIER: Final = {"email": "Email", "phone": "SMS"}
_encode: Final = msgspec.json.Encoder().encode


class EventTooLargeError(DistributaryError):
    """An event with more than ``LARGEST_EVENT_BYTES``, which could not be delivered."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the event has {size_bytes} bytes, and at most {LARGEST_EVENT_BYTES} are taken")


def make_event(
    seed: str,
    *,
    name: str,
    application: str,
    platform: str,
    timestamp_s: int,
    user_id: str | None = None,
    hwid: str | None = None,
    email: str | None = None,
    attributes: Mapping[str, Any],
) -> tuple[str, bytes]:
    """An event's uuid and its JSON.

    ``seed`` is what the uuid is made from, so the same one gives the same uuid: the event's key where it has one, else the
    request's id, with the event's number where a request has several. One of ``user_id`` and ``hwid`` must not be empty.
    ``platform`` is a display name. Raises ``EventTooLargeError``.
    """
    assert user_id or hwid, "an event must be somebody's"
    uuid = uuid_of(seed)
    event: dict[str, Any] = {
        "event_name": name,
        "platform": platform,
        "application_code": application,
        "hwid": hwid,
        "user_id": user_id,
        "email": email,
        "timestamp": timestamp_s,
        "uuid": uuid,
        "attributes": attributes,
    }
    encoded = _encode({key: value for key, value in event.items() if value not in (None, "")})
    if len(encoded) > LARGEST_EVENT_BYTES:
        raise EventTooLargeError(len(encoded))
    return uuid, encoded


def fire(
    webhook: CompiledWebhook,
    payload: Mapping[str, Any],
    seed: str,
    *,
    identifier: str,
    timestamp_s: int,
    user_id: str | None = None,
    hwid: str | None = None,
    device_platform: str | None = None,
    email: str | None = None,
) -> tuple[str, bytes]:
    """The event of a webhook's request for the user who was found by ``identifier``: its uuid and its JSON.

    ``identifier`` is what ``CompiledWebhook.identifier_of`` gave. ``user_id``, ``email``, and ``hwid`` with ``device_platform``, are what is known of the user and of one device; where
    neither user id nor device is known, the address that the user was found by stands for the device, as it does in events
    of mails and texts. Raises ``EventTooLargeError``.
    """
    by = webhook.identify_by
    if by == "user_id":
        user_id = identifier
    elif by == "hwid":
        hwid = identifier
    elif by == "email":
        email = identifier
    platform = webhook.settings.platform or platform_of(by, device_platform if hwid else None)
    if not hwid and by in _PLATFORM_OF_IDENTIFIER:
        hwid = identifier
    return make_event(
        seed,
        name=webhook.settings.event,
        application=webhook.settings.application,
        platform=platform,
        timestamp_s=timestamp_s,
        user_id=user_id,
        hwid=hwid,
        email=email,
        attributes=webhook.attributes_of(payload) | {WEBHOOK_ATTRIBUTE: webhook.id},
    )


def platform_of(by: str, device_platform: str | None = None) -> str:
    """The platform of an event: the device's where there is one, else the one of mails or texts, else ``Web``."""
    return device_platform or _PLATFORM_OF_IDENTIFIER.get(by, WEB)
