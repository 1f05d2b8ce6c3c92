"""``post-events``: the events of a call that are taken, and how many are not, by reason."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import POST_EVENT, Refusal, message_answer, undecodable
from pipeline.inbound.segment.posted_event import DisregardedError, PostedEvent, read_posted_event
from pipeline.inbound.segment.reading import UnreadableError, read
from pipeline.inbound.segment.reasons import Reason

MOST_EVENTS: Final = 1000
DEEPEST: Final = 32


class PostedEvents(NamedTuple):
    """What a call brought: the events that are taken, in order; how many were not, by reason; the first of each in words."""

    events: list[PostedEvent]
    disregarded: Mapping[Reason, int]
    first_details: Mapping[Reason, str]

    @property
    def detail(self) -> str:
        """One sentence on what was not taken; empty where all was."""
        return "; ".join(self.first_details.values())


class _Call(msgspec.Struct):
    events: list[msgspec.Raw] | None = None


_decoder: Final = msgspec.json.Decoder(_Call)


def read_post_events(
    body: bytes, *, is_strict: bool = False, max_events: int = MOST_EVENTS, max_depth: int = DEEPEST
) -> PostedEvents | Refusal:
    """Read the body of ``post-events``.

    With ``is_strict`` an event that cannot be decoded refuses the whole call, with the words of the vendor's service for
    timestamps; otherwise it costs only itself. Events without user and device, platform or name are disregarded either way,
    as the vendor does. Bodies without events are taken. Refused are: what is no JSON object with a list ``events``, and more
    than ``max_events`` of them.
    """
    try:
        contents = read(_decoder, body).events or []
    except UnreadableError as error:
        return undecodable(POST_EVENT, str(error), error.outcome)
    if len(contents) > max_events:
        message = f"the request has {len(contents)} events, and at most {max_events} are taken"
        return Refusal(message_answer(Outcome.TOO_LARGE.status, message), Outcome.TOO_LARGE, message)
    events: list[PostedEvent] = []
    disregarded: Counter[Reason] = Counter()
    first_details: dict[Reason, str] = {}
    first_undecodable: DisregardedError | None = None
    for place, content in enumerate(contents):
        try:
            events.append(read_posted_event(place, bytes(content), max_depth=max_depth, is_strict=is_strict))
        except DisregardedError as error:
            disregarded[error.reason] += 1
            first_details.setdefault(error.reason, f"events[{place}] {error.detail}")
            if is_strict and error.is_undecodable:
                # The vendor's service stops at a timestamp, and reports another mistake only where no timestamp is wrong.
                if error.reason is Reason.TIMESTAMP_WRONG:
                    return undecodable(POST_EVENT, error.detail)
                first_undecodable = first_undecodable or error
    if first_undecodable is not None:
        return undecodable(POST_EVENT, first_details[first_undecodable.reason])
    return PostedEvents(events, disregarded, first_details)
