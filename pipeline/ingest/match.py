"""Which integrations an event matches, at a cost that follows the matches and not the number of integrations."""

from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

from pipeline.ingest.event import Event
from pipeline.model.integration import EVERYTHING, Integration

T = TypeVar("T")

_Entry = tuple[Integration, T]
"""An integration, and what ``match`` returns for it."""


_ANY_APPLICATION: Final = ""
"""In place of an application: the integrations that take any. No event has an empty one."""


class MatchIndex(Generic[T]):
    """The compiled filters of a set of integrations. It never changes: other integrations, another index.

    ``entries`` gives each integration with what ``match`` returns for it. An integration matches where all its filters
    do: event name, platform, application, campaign code, message code. One that is disabled never matches. An event with
    a live activity needs ``live_activities`` as well. Texts are compared exactly.

    Memory grows with the filters only, whatever names the traffic brings.
    """

    __slots__ = ("_live", "_ordinary")

    def __init__(self, entries: Iterable[tuple[Integration, T]]) -> None:
        enabled = [(integration, entry) for integration, entry in entries if integration.enabled]
        self._ordinary = _Filters(enabled)
        self._live = _Filters([each for each in enabled if each[0].live_activities])

    def match(self, event: Event) -> Sequence[T]:
        """Return the entries of the integrations that ``event`` matches, each once; the order is always the same."""
        filters = self._live if event.live_activity_id else self._ordinary
        own: Sequence[T] = ()
        if filters.has_own_application:
            found = filters.find(event.event_name, event.application_code)
            own = found if isinstance(found, tuple) else found.matches(event)
            if not filters.has_any_application:
                return own
        found = filters.find(event.event_name, _ANY_APPLICATION)
        others = found if isinstance(found, tuple) else found.matches(event)
        return (*others, *own) if own and others else own or others


class _Filters(Generic[T]):
    """By event name, then by application; what follows depends on the integrations that are left.

    In this order, because event names are few: with 10,000 applications a look-up costs what it touches of memory.
    """

    __slots__ = ("_by_name", "_of_every_name", "has_any_application", "has_own_application")

    def __init__(self, entries: Sequence[_Entry[T]]) -> None:
        members: dict[str, list[_Entry[T]]] = {}
        for each in entries:
            for application in dict.fromkeys(each[0].applications or (_ANY_APPLICATION,)):
                members.setdefault(application, []).append(each)
        self.has_any_application = _ANY_APPLICATION in members
        self.has_own_application = len(members) > self.has_any_application
        self._by_name: dict[str, dict[str, _Answer[T]]] = {}
        self._of_every_name: dict[str, _Answer[T]] = {}
        for application, those in members.items():
            for name, answer in _answers(those).items():
                at = self._of_every_name if name == EVERYTHING else self._by_name.setdefault(name, {})
                at[application] = answer

    def find(self, name: str, application: str) -> "_Answer[T]":
        """Return who takes an event name of an application."""
        by_application = self._by_name.get(name)
        if by_application is not None:
            found = by_application.get(application)
            if found is not None:
                return found
        return self._of_every_name.get(application, ())


def _answers(entries: Sequence[_Entry[T]]) -> "dict[str, _Answer[T]]":
    """Compile the integrations of one application: who takes each event name, and under ``*`` any other."""
    listed = dict.fromkeys(name for integration, _ in entries for name in integration.events)
    positions: dict[str, list[int]] = {name: [] for name in listed}
    everything: list[int] = []
    for position, (integration, _) in enumerate(entries):
        if EVERYTHING in integration.events:
            everything.append(position)
        else:
            for name in dict.fromkeys(integration.events):
                positions[name].append(position)
    # Names that the same integrations take share one answer.
    compiled: dict[tuple[int, ...], _Answer[T]] = {}
    answers: dict[str, _Answer[T]] = {}
    for name, own in positions.items():
        taking = tuple(sorted(everything + own))
        if taking not in compiled:
            compiled[taking] = _answer([entries[position] for position in taking])
        answers[name] = compiled[taking]
    return answers


def _answer(entries: Sequence[_Entry[T]]) -> "_Answer[T]":
    needs_more = any(
        integration.campaigns or integration.messages or EVERYTHING not in integration.platforms
        for integration, _ in entries
    )
    return _Cell(entries) if needs_more else tuple(entry for _, entry in entries)


class _Cell(Generic[T]):
    """The integrations of one application and event name, by platform."""

    __slots__ = ("_by_platform", "_entries", "_of_every_platform")

    def __init__(self, entries: Sequence[_Entry[T]]) -> None:
        self._entries = entries
        self._by_platform: dict[object, tuple[T, ...] | _Codes[T]] = {}
        self._of_every_platform: tuple[T, ...] | _Codes[T] | None = None

    def matches(self, event: Event) -> Sequence[T]:
        """Return those whose platforms and codes fit."""
        found = self._by_platform.get(event.platform)
        if found is None:
            # There are 16: a decoded event has no other.
            found = self._by_platform[event.platform] = self._of(event.platform)
        return found if isinstance(found, tuple) else found.matches(event.campaign_code, event.message_code)

    def _of(self, platform: object) -> "tuple[T, ...] | _Codes[T]":
        fitting = [each for each in self._entries if EVERYTHING in each[0].platforms or platform in each[0].platforms]
        if len(fitting) < len(self._entries):
            return _by_codes(fitting)
        if self._of_every_platform is None:
            self._of_every_platform = _by_codes(fitting)
        return self._of_every_platform


def _by_codes(entries: Sequence[_Entry[T]]) -> "tuple[T, ...] | _Codes[T]":
    if any(integration.campaigns or integration.messages for integration, _ in entries):
        return _Codes(entries)
    return tuple(entry for _, entry in entries)


class _Codes(Generic[T]):
    """The integrations of one application, event name and platform, by the codes that they ask for."""

    __slots__ = ("_always", "_by_campaign", "_by_message", "_by_message_and_campaign")

    def __init__(self, entries: Iterable[_Entry[T]]) -> None:
        self._always: list[T] = []
        self._by_campaign: dict[str, list[T]] = {}
        self._by_message: dict[str, list[T]] = {}
        self._by_message_and_campaign: dict[str, list[tuple[frozenset[str], T]]] = {}
        for integration, entry in entries:
            messages = dict.fromkeys(integration.messages)
            campaigns = dict.fromkeys(integration.campaigns)
            if messages and campaigns:
                wanted = frozenset(campaigns), entry
                for code in messages:
                    self._by_message_and_campaign.setdefault(code, []).append(wanted)
            elif messages:
                for code in messages:
                    self._by_message.setdefault(code, []).append(entry)
            elif campaigns:
                for code in campaigns:
                    self._by_campaign.setdefault(code, []).append(entry)
            else:
                self._always.append(entry)

    def matches(self, campaign: str | None, message: str | None) -> Sequence[T]:
        """Return those that ask for no code, and those whose codes fit."""
        matched = list(self._always)
        if campaign is not None:
            matched += self._by_campaign.get(campaign, ())
        if message is not None:
            matched += self._by_message.get(message, ())
            if campaign is not None:
                wanted = self._by_message_and_campaign.get(message, ())
                matched += [entry for campaigns, entry in wanted if campaign in campaigns]
        return matched


_Answer = tuple[T, ...] | _Cell[T]
"""Who takes an event: the entries, or a cell where that depends on more."""
