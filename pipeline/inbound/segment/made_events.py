"""From posted events to those that go on: with uuid, key and the shape of every other event."""

from collections import Counter
from typing import NamedTuple

import msgspec

from pipeline.inbound.event import EventTooLargeError, make_event
from pipeline.inbound.keys import content_key, request_key
from pipeline.inbound.request import InboundEvent
from pipeline.inbound.segment.post_events import PostedEvents
from pipeline.inbound.segment.posted_event import PostedEvent
from pipeline.inbound.segment.reasons import Reason


class MadeEvent(NamedTuple):
    """An event as it goes on, and whose it is: one of ``user_id`` and ``device_id`` is not empty."""

    user_id: str
    device_id: str
    event: InboundEvent


class MadeEvents(NamedTuple):
    """The events that go on, and the count of all that do not, by reason."""

    events: list[MadeEvent]
    disregarded: dict[str, int]


def make_events(
    posted: PostedEvents, *, application: str, request_id: str, at_s: float, idempotency_key: str = ""
) -> MadeEvents:
    """Make the events of a call that came ``at_s`` (UNIX seconds) and has ``request_id``.

    Callers send again what they got no answer to, in other batches, and events carry no id. So the same user, device, name,
    timestamp and attributes are the same event. One without a timestamp happened ``at_s``, and is known again only by the
    ``idempotency_key`` that the caller may have sent for the whole call, and its place in it.
    """
    made: list[MadeEvent] = []
    disregarded: Counter[str] = Counter({reason.value: count for reason, count in posted.disregarded.items()})
    call_key = request_key(f"segment/{application}", idempotency_key)
    for event in posted.events:
        key = _key(application, event) or (f"{call_key}-{event.place}" if call_key else "")
        try:
            uuid, encoded = make_event(
                key or f"{request_id}-{event.place}",
                name=event.name,
                application=application,
                platform=event.platform,
                timestamp_s=int(at_s) if event.moment is None else event.moment.seconds,
                user_id=event.user_id,
                hwid=event.device_id,
                attributes=event.attributes,
            )
        except EventTooLargeError:
            disregarded[Reason.TOO_LARGE.value] += 1
        else:
            inbound = InboundEvent(key=key, uuid=uuid, event=msgspec.Raw(encoded))
            made.append(MadeEvent(event.user_id, event.device_id, inbound))
    return MadeEvents(made, dict(disregarded))


def _key(application: str, event: PostedEvent) -> str:
    moment = event.moment.text() if event.moment is not None else None
    return content_key(
        application=application,
        user_id=event.user_id,
        device_id=event.device_id,
        name=event.name,
        timestamp=moment,
        attributes=event.attributes,
    )
