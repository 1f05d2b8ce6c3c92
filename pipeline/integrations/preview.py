"""What a filter would have caught: events of the past, matched by the rule that routes them.

Fed a few at a time, so that whoever reads the events stays free to do other things between. A second question is answered
with the first: which filter keeps events away. For each one the index holds the same integration without it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from pipeline.ingest.event import Event
from pipeline.ingest.match import MatchIndex
from pipeline.model.integration import EVERYTHING, Integration

MOST_SAMPLES: Final = 10
MOST_NAMES: Final = 50

_WITHOUT: Final = {
    "events": (EVERYTHING,),
    "platforms": (EVERYTHING,),
    "applications": (),
    "campaigns": (),
    "messages": (),
    "live_activities": True,
}
"""What each filter is where it keeps nothing away."""

_ALL: Final = ""

Mask = Callable[[dict[str, Any]], dict[str, Any]]
"""Hides what a viewer may not see of an event."""


class Preview(msgspec.Struct, frozen=True):
    """What came of it.

    ``events`` were looked at and ``matching`` of them would have been sent; ``by_event_name`` and ``by_platform`` count
    these, the most frequent first. ``kept_away`` says for each filter that is set how many more would match without it.
    ``samples`` are the latest that match, as far as the viewer may see them.
    """

    events: int
    matching: int
    by_event_name: dict[str, int]
    by_platform: dict[str, int]
    kept_away: dict[str, int]
    samples: list[dict[str, Any]]


class Previewer:
    """Counts what ``integration`` would have matched, whether it is enabled or not."""

    def __init__(self, integration: Integration) -> None:
        enabled = integration.model_copy(update={"enabled": True})
        looser = {key: _without(enabled, key) for key in _WITHOUT}
        self._loosened = [key for key, each in looser.items() if each is not None]
        self._index = MatchIndex([(enabled, _ALL), *((each, key) for key, each in looser.items() if each is not None)])
        self._events = 0
        self._found: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._platforms: Counter[str] = Counter()
        self._latest: list[tuple[int, int, Event]] = []

    def look_at(self, events: Iterable[Event]) -> None:
        """Take ``events`` into account."""
        for event in events:
            self._events += 1
            found = self._index.match(event)
            if not found:
                continue
            self._found.update(found)
            if _ALL in found:
                self._names[event.event_name] += 1
                self._platforms[str(event.platform)] += 1
                self._keep(event)

    def result(self, mask: Mask) -> Preview:
        """What came of all events so far; ``mask`` is applied to each sample."""
        matching = self._found[_ALL]
        return Preview(
            events=self._events,
            matching=matching,
            by_event_name=_most_frequent(self._names),
            by_platform=_most_frequent(self._platforms),
            kept_away={key: self._found[key] - matching for key in self._loosened},
            samples=[mask(msgspec.to_builtins(event)) for _, _, event in reversed(self._latest)],
        )

    def _keep(self, event: Event) -> None:
        latest = self._latest
        if len(latest) == MOST_SAMPLES and event.timestamp < latest[0][0]:
            return
        latest.append((event.timestamp, self._events, event))
        latest.sort(key=lambda each: each[:2])
        del latest[:-MOST_SAMPLES]


def preview(integration: Integration, events: Iterable[Event], mask: Mask = dict) -> Preview:
    """What ``integration`` would have matched of ``events``, which are decoded: their platform is a name."""
    previewer = Previewer(integration)
    previewer.look_at(events)
    return previewer.result(mask)


def _without(integration: Integration, key: str) -> Integration | None:
    """``integration`` with one filter less; ``None`` where that filter keeps nothing away, or its kind needs it."""
    everything = _WITHOUT[key]
    if getattr(integration, key) == everything:
        return None
    given = {name: getattr(integration, name) for name in integration.model_fields_set} | {"enabled": True}
    try:
        looser = type(integration).model_validate(given | {key: everything})
    except ValidationError:
        return None
    # A kind may make its filters from other keys: then this one keeps nothing away.
    return None if getattr(looser, key) == getattr(integration, key) else looser


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    """The largest counts; equal ones by name, since events are not read in the same order twice."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_NAMES])
