"""What an endpoint has said of the events of one stream."""

from collections.abc import Callable, Iterable
from typing import Final

from pipeline.model.attempt import Refusal
from pipeline.model.ranges import Ranges, count_of, ranges_of
from pipeline.sinks.grpc_ending import one_line
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import EventResult

_MOST_WORDS: Final = 1000
_MOST_CHARS_READ: Final = 4096
_NAMES: Final = {number: name for name, number in EventResult.Status.items()}
_RANKS: Final[dict[int, int]] = {EventResult.Success: 2, EventResult.Rejected: 1}


class Answers:
    """The answers to the events that were sent, by uuid.

    An endpoint may answer in any order and more than once. Where it contradicts itself the best counts, whichever came
    first: ``Success`` before ``Rejected`` before all others, so that nothing is sent again that has arrived, and nothing is
    given up that could have arrived. Events of the same uuid are the same event, and share their answer. ``masked`` takes
    secrets out of what the endpoint said.
    """

    def __init__(self, masked: Callable[[str], str]) -> None:
        self._masked = masked
        self._numbers: dict[str, list[int]] = {}
        self._status: dict[str, int] = {}
        self._words: dict[str, str] = {}
        self.unknown = 0
        """Answers to events that were not sent."""
        self.repeated = 0
        """Answers to events that had been answered in the same way."""
        self.contradicting = 0
        """Answers to events that had been answered in another way."""

    def expect(self, events: Iterable[tuple[str, int]]) -> None:
        """These events, by uuid and sequence number, are about to be sent."""
        for uuid, sequence in events:
            self._numbers.setdefault(uuid, []).append(sequence)

    def take(self, results: Iterable[EventResult]) -> None:
        """Note what the endpoint said."""
        for result in results:
            uuid, status = result.uuid, result.status
            known = self._status.get(uuid)
            if uuid not in self._numbers:
                self.unknown += 1
            elif known is None:
                self._note(result)
            elif known == status:
                self.repeated += 1
            else:
                self.contradicting += 1
                if _rank(status) > _rank(known):
                    self._note(result)

    @property
    def are_complete(self) -> bool:
        """Whether every event that was sent has an answer."""
        return len(self._status) == len(self._numbers)

    @property
    def answered(self) -> Ranges:
        """The events that have an answer, whichever."""
        return ranges_of(number for uuid in self._status for number in self._numbers[uuid])

    @property
    def arrived(self) -> Ranges:
        """The events that the endpoint has."""
        return ranges_of(
            number
            for uuid, status in self._status.items()
            if status == EventResult.Success
            for number in self._numbers[uuid]
        )

    def rejected(self) -> list[Refusal]:
        """The events that the endpoint will never take, each with why."""
        return [
            Refusal(number, number + 1, self._said(uuid))
            for uuid, status in self._status.items()
            if status == EventResult.Rejected
            for number in self._numbers[uuid]
        ]

    def failed(self) -> list[tuple[int, str]]:
        """The events that the endpoint could not take this time, by number, each with what it said."""
        return sorted(
            (number, self._said(uuid))
            for uuid, status in self._status.items()
            if not _rank(status)
            for number in self._numbers[uuid]
        )

    def oddities(self) -> list[str]:
        """What is strange about the answers, in words."""
        counted = (
            (self.unknown, "to events that were not sent"),
            (self.repeated, "that repeated another"),
            (self.contradicting, "that contradicted another"),
        )
        return [f"{count} answer{'s' if count > 1 else ''} {which}" for count, which in counted if count]

    def _note(self, result: EventResult) -> None:
        self._status[result.uuid] = result.status
        if result.message and len(self._words) < _MOST_WORDS:
            words = self._masked(result.message[:_MOST_CHARS_READ])
            self._words[result.uuid] = one_line(words)

    def _said(self, uuid: str) -> str:
        words = self._words.get(uuid)
        name = status_name(self._status[uuid])
        return f"{name}: {words}" if words else name


def status_name(status: int) -> str:
    """The status as the proto calls it; its number where the endpoint knows one that we do not."""
    return _NAMES.get(status, f"status {status}")


def _rank(status: int) -> int:
    """How much a status settles: 0 where the event is to be sent again."""
    return _RANKS.get(status, 0)


def merged(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """``refusals`` in order, those of neighbours with the same detail as one."""
    found: list[Refusal] = []
    for refusal in sorted(refusals, key=lambda refusal: refusal.first):
        last = found[-1] if found else None
        if last is not None and last.end == refusal.first and last.detail == refusal.detail:
            found[-1] = Refusal(last.first, refusal.end, last.detail)
        else:
            found.append(refusal)
    return tuple(found)


def count_refused(refusals: Iterable[Refusal]) -> int:
    """How many events ``refusals`` name."""
    return count_of(tuple((refusal.first, refusal.end) for refusal in refusals))
