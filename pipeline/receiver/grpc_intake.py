"""What one gRPC stream has brought, and what is to be answered."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from pipeline.model.batch import batch_id
from pipeline.model.ranges import ranges_of, without
from pipeline.receiver.read import Place, UnacceptableError, read_place
from pipeline.receiver.tally import Delivery
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest, Event, EventResult

_UNIX_SECONDS: Final = re.compile(r"\d{1,12}")


def place_of(metadata: Mapping[str, str], *, verify: bool) -> Place:
    """Which events a stream with this metadata carries; raises ``UnacceptableError``."""
    if verify and not _UNIX_SECONDS.fullmatch(metadata.get("webhook-timestamp", "")):
        raise UnacceptableError("timestamp", "expected metadata webhook-timestamp with UNIX seconds")
    return read_place(metadata, verify=verify)


class Intake:
    """The events of one stream, as they are read and taken."""

    def __init__(self, place: Place, *, verify: bool) -> None:
        self._place = place
        self._verify = verify
        self._taken: dict[int, str] = {}
        self._body_bytes = 0
        self.results: list[EventResult] = []
        """Answers that are still to be given."""
        self.wake = asyncio.Event()
        """Set when there are answers, and when the stream has ended."""
        self.is_ended = False

    def read(self, content: bytes) -> Sequence[Event]:
        """The events of one message; raises ``UnacceptableError``."""
        try:
            events = DeliverRequest.FromString(content).events
        except DecodeError as error:
            raise UnacceptableError("message", f"a message is no DeliverRequest: {error}") from error
        self._body_bytes += len(content)
        if self._verify:
            self._check(events)
        return events

    def take(self, events: Sequence[Event]) -> list[Delivery]:
        """Accept ``events``; they are deliveries of their own, one for each run of numbers, for the record."""
        numbered = {event.sequence: event.uuid for event in events}
        self._taken |= numbered
        self.answer(events, EventResult.Success)
        return [
            Delivery(
                batch_id(self._place.lane, first, end),
                self._place.lane,
                first,
                end,
                [numbered[number] for number in range(first, end)],
                0,
            )
            for first, end in ranges_of(numbered)
        ]

    def answer(self, events: Sequence[Event], status: EventResult.Status, message: str = "") -> None:
        """Say the same of all ``events``."""
        self.results += [EventResult(uuid=event.uuid, status=status, message=message) for event in events]
        self.wake.set()

    def end(self) -> None:
        """No more events will come."""
        self.is_ended = True
        self.wake.set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was taken."""
        return not self._taken

    def delivery(self) -> Delivery:
        """All that was taken. Each event says its own number, so they are known even where the metadata name few."""
        place = self._place._replace(ranges=ranges_of(self._taken), scattered_count=None)
        return place.delivery([self._taken[number] for number in sorted(self._taken)], self._body_bytes)

    def names(self) -> list[str]:
        """The ids of all that was taken: one for each run of numbers."""
        return [batch_id(self._place.lane, first, end) for first, end in ranges_of(self._taken)]

    def _check(self, events: Sequence[Event]) -> None:
        for event in events:
            if not (event.uuid and event.event_name and event.application_code and event.platform):
                raise UnacceptableError("fields", f"event {event.sequence} lacks what every event has")
            if not (event.hwid or event.user_id):
                raise UnacceptableError("fields", f"event {event.sequence} has neither hwid nor user_id")
        strange = without(ranges_of(event.sequence for event in events), self._place.ranges)
        if strange:
            detail = f"event {strange[0][0]} is not among those that the metadata announce"
            raise UnacceptableError("sequence", detail)
        come = len(self._taken.keys() | {event.sequence for event in events})
        if come > self._place.event_count:
            detail = f"{come} events came, the metadata announce {self._place.event_count}"
            raise UnacceptableError("count", detail)
