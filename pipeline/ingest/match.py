"""Which integrations an event matches, at a cost that follows the matches and not the number of integrations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Final, Generic, TypeVar

from pipeline.ingest.event import Event
from pipeline.model.integration import EVERYTHING, Integration

T = TypeVar("T")

_Entry = tuple[Integration, T]
"""An integration, and what ``match`` returns for it."""

_Members = dict[int, _Entry[T]]
"""Integrations by their rank, which is the order in which ``match`` returns them."""


_ANY_APPLICATION: Final = ""
"""In place of an application: the integrations that take any. No event has an empty one."""


_FEW: Final = 64
"""Integrations of one application that are compiled in one step, where the index is revised."""


class MatchIndex(Generic[T]):
    """The compiled filters of a set of integrations.

    ``entries`` gives each integration with what ``match`` returns for it. An integration matches where all its filters
    do: event name, platform, application, campaign code, message code. One that is disabled never matches. An event with
    a live activity needs ``live_activities`` as well. Texts are compared exactly.

    Memory grows with the filters only, whatever names the traffic brings.
    """

    __slots__ = ("_live", "_next_rank", "_ordinary", "_ranks")

    def __init__(self, entries: Iterable[tuple[Integration, T]]) -> None:
        self._next_rank = count()
        self._ranks: dict[str, list[int]] = {}
        enabled = self._ranked(each for each in entries if each[0].enabled)
        self._ordinary = _Filters(enabled)
        self._live = _Filters(_live_ones(enabled))

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

    def revise(self, changes: Mapping[str, tuple[Integration, T] | None]) -> Iterator[None]:
        """Put other entries in the place of those with these ids, ``None`` for none at all.

        Works in small steps, a few milliseconds each with 10,000 integrations, between which ``match`` goes by what was
        before; all changes take effect together in the last step. One revision at a time, each to its end.
        """
        gone = [rank for name in changes for rank in self._ranks.get(name, ())]
        ranks_before = {name: self._ranks.pop(name) for name in changes if name in self._ranks}
        come = self._ranked(each for each in changes.values() if each is not None and each[0].enabled)
        ranks_after = {name: self._ranks.pop(name) for name in changes if name in self._ranks}
        self._ranks.update(ranks_before)
        drafts = (self._ordinary.draft(gone, come), self._live.draft(gone, _live_ones(come)))
        for draft in drafts:
            yield from draft.steps()
        for name in changes:
            self._ranks.pop(name, None)
        self._ranks.update(ranks_after)
        for draft in drafts:
            draft.take_effect()

    def _ranked(self, entries: Iterable[_Entry[T]]) -> _Members[T]:
        members: _Members[T] = {}
        for each in entries:
            rank = next(self._next_rank)
            self._ranks.setdefault(each[0].id, []).append(rank)
            members[rank] = each
        return members


def _live_ones(members: _Members[T]) -> _Members[T]:
    return {rank: each for rank, each in members.items() if each[0].live_activities}


class _Filters(Generic[T]):
    """By event name, then by application; what follows depends on the integrations that are left.

    In this order, because event names are few: with 10,000 applications a look-up costs what it touches of memory.
    """

    __slots__ = ("_by_name", "_members", "_of_every_name", "has_any_application", "has_own_application")

    def __init__(self, entries: _Members[T]) -> None:
        self._members = _by_application(entries)
        self._by_name: dict[str, dict[str, _Answer[T]]] = {}
        self._of_every_name: dict[str, _Answer[T]] = {}
        for application, those in self._members.items():
            for name, answer in _answers(those, _names_of(those)).items():
                self.put(name, application, answer)
        self.count_applications()

    def find(self, name: str, application: str) -> "_Answer[T]":
        """Return who takes an event name of an application."""
        by_application = self._by_name.get(name)
        if by_application is not None:
            found = by_application.get(application)
            if found is not None:
                return found
        return self._of_every_name.get(application, ())

    def answer(self, name: str, application: str) -> "_Answer[T] | None":
        """Who takes an event name of an application, where integrations ask for just that name, or ``*``."""
        if name == EVERYTHING:
            return self._of_every_name.get(application)
        return self._by_name.get(name, {}).get(application)

    def put(self, name: str, application: str, answer: "_Answer[T] | None") -> None:
        """Set who takes an event name of an application; ``None`` where nobody asks for it any more."""
        at = self._of_every_name if name == EVERYTHING else self._by_name.setdefault(name, {})
        if answer is None:
            at.pop(application, None)
        else:
            at[application] = answer
        if not at and name != EVERYTHING:
            del self._by_name[name]

    def put_members(self, application: str, members: _Members[T]) -> None:
        """Set whose filters name an application."""
        if members:
            self._members[application] = members
        else:
            self._members.pop(application, None)

    def count_applications(self) -> None:
        """Take note of which look-ups are needed at all."""
        self.has_any_application = _ANY_APPLICATION in self._members
        self.has_own_application = len(self._members) > self.has_any_application

    def draft(self, gone: Sequence[int], come: _Members[T]) -> "_Draft[T]":
        """Prepare for some to go and others to come."""
        touched: dict[str, dict[str, None]] = {}
        ranks = frozenset(gone)
        leaving = {
            application: {rank: those[rank] for rank in ranks & those.keys()}
            for application, those in self._members.items()
            if not ranks.isdisjoint(those)
        }
        coming = _by_application(come)
        for part in (leaving, coming):
            for application, those in part.items():
                touched.setdefault(application, {}).update(dict.fromkeys(_names_of(those)))
        members = {
            application: {
                **{rank: each for rank, each in self._members.get(application, {}).items() if rank not in ranks},
                **coming.get(application, {}),
            }
            for application in touched
        }
        return _Draft(self, members, touched)


class _Draft(Generic[T]):
    """What filters are going to be: for the applications that are touched, all members and the answers for some names."""

    __slots__ = ("_answers", "_filters", "_members", "_touched")

    def __init__(
        self, filters: _Filters[T], members: dict[str, _Members[T]], touched: dict[str, dict[str, None]]
    ) -> None:
        self._filters = filters
        self._members = members
        self._touched = touched
        self._answers: list[tuple[str, str, _Answer[T] | None]] = []

    def steps(self) -> Iterator[None]:
        """Compile the answers, a little at a time."""
        for application, names in self._touched.items():
            members = self._members[application]
            # Whoever takes every event is part of the answer for each name.
            chosen = [*dict.fromkeys([*names, *_names_of(members)])] if EVERYTHING in names else [*names]
            # A few members are compiled at once; of many, one name is as much as a step may take.
            at_once = _answers(members, chosen) if len(members) <= _FEW else {}
            for name in chosen:
                answer = at_once.get(name) if len(members) <= _FEW else _answers(members, [name]).get(name)
                before = self._filters.answer(name, application)
                if isinstance(answer, _Cell) and isinstance(before, _Cell):
                    yield from answer.prepare(before)
                self._answers.append((name, application, answer))
                if len(members) > _FEW:
                    yield
            yield

    def take_effect(self) -> None:
        """Let the filters be so from now on."""
        for application, members in self._members.items():
            self._filters.put_members(application, members)
        for name, application, answer in self._answers:
            self._filters.put(name, application, answer)
        self._filters.count_applications()


def _by_application(members: _Members[T]) -> dict[str, _Members[T]]:
    found: dict[str, _Members[T]] = {}
    for rank, each in members.items():
        for application in each[0].applications or (_ANY_APPLICATION,):
            found.setdefault(application, {})[rank] = each
    return found


def _names_of(members: _Members[T]) -> list[str]:
    return [*dict.fromkeys(name for integration, _ in members.values() for name in integration.events)]


def _answers(members: _Members[T], names: Sequence[str]) -> "dict[str, _Answer[T]]":
    """Compile the integrations of one application: who takes each of ``names``, and under ``*`` any other.

    A name that none of them asks for has no answer of its own.
    """
    positions: dict[str, list[int]] = {name: [] for name in names}
    everything: list[int] = []
    for rank, (integration, _) in members.items():
        if EVERYTHING in integration.events:
            everything.append(rank)
        elif len(names) == 1:
            if names[0] in integration.events:
                positions[names[0]].append(rank)
        else:
            for name in positions.keys() & dict.fromkeys(integration.events).keys():
                positions[name].append(rank)
    # Names that the same integrations take share one answer.
    compiled: dict[tuple[int, ...], _Answer[T]] = {}
    answers: dict[str, _Answer[T]] = {}
    for name, own in positions.items():
        if not own and not (everything and name == EVERYTHING):
            continue
        taking = tuple(sorted(everything + own))
        if taking not in compiled:
            compiled[taking] = _answer([members[rank] for rank in taking])
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

    def prepare(self, before: "_Cell[T]") -> Iterator[None]:
        """Find out beforehand what was asked of the cell that this one comes after, a platform at a time."""
        for platform in [*before._by_platform]:  # noqa: SLF001
            self._by_platform[platform] = self._of(platform)
            yield

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
