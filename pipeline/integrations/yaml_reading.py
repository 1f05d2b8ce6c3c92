"""Integrations, or webhooks, in a text: compared with what there is, with every mistake at its line."""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.config.tree import Location, Tree
from pipeline.config.words import unknown_kind
from pipeline.errors import InvalidChangeError
from pipeline.integrations.families import Family
from pipeline.integrations.secrets import KEEP, masked, masked_url, secret_places, url_places
from pipeline.integrations.written import settings_of
from pipeline.model.integration import Integration
from pipeline.model.section import Section

_VARIABLE: Final = re.compile("\ue003([A-Za-z_][A-Za-z0-9_]*)\ue004")


class Known(NamedTuple):
    """An integration or a webhook that there is: its settings with secrets, and the revision to name in a change.

    Those of ``faust.yml`` are read-only.
    """

    section: Section
    settings: Mapping[str, Any]
    revision: int
    is_read_only: bool


class Fate(enum.StrEnum):
    """What an import would do with an integration or a webhook."""

    CREATE = "create"
    REPLACE = "replace"
    SAME = "same"  # it is so already
    REFUSED = "refused"


class Mistake(NamedTuple):
    """What is wrong in the text: the line, from 1, the key with dots, and the problem."""

    line: int
    key: str
    problem: str


class Difference(NamedTuple):
    """A key that would change, with dots; both values as they may be shown, ``None`` for an absent key."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Imported:
    """One entry of the text. ``settings`` hold secrets, and are empty where it is refused; a webhook has no ``kind``."""

    id: str
    kind: str
    line: int
    fate: Fate
    settings: Mapping[str, Any]
    revision: int | None = None
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do. Nothing of it may be done while there are ``mistakes``."""

    entries: tuple[Imported, ...]
    mistakes: tuple[Mistake, ...]

    def count(self, fate: Fate) -> int:
        """How many entries would come to this."""
        return sum(each.fate is fate for each in self.entries)


class Offered(dict[str, str]):
    """The variables of an import; any other one is left standing, marked, for whoever knows what it is for."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 what a mapping takes
        """The value of ``name``, or its mark."""
        return super().get(name, f"\ue003{name}\ue004")


def differences(before: Section, after: Section) -> tuple[Difference, ...]:
    """What is different between two integrations of one kind, or two webhooks, secrets told apart but not shown."""
    if before == after:
        return ()
    section = type(after)
    old_settings, new_settings = (settings_of(each, with_defaults=True) for each in (before, after))
    old, new = _flat(old_settings), _flat(new_settings)
    old_shown, new_shown = _flat(masked(old_settings, section)), _flat(masked(new_settings, section))
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return tuple(Difference(".".join(key), old_shown.get(key), new_shown.get(key)) for key in keys)


class Reader:
    """Reads the entries of one text, and collects what is wrong with them."""

    def __init__(
        self,
        tree: Tree,
        family: Family,
        known: Callable[[str], Known | None],
        read: Callable[[Mapping[str, Any]], Section],
    ) -> None:
        self._tree = tree
        self._family = family
        self._known = known
        self._read = read
        self._lines: dict[str, int] = {}
        self.mistakes: list[Mistake] = []

    def imported(self, location: Location, data: Any) -> Imported:  # noqa: PLR0911 one return a way to be refused
        """What would become of one entry."""
        line = self._tree.line_of(location)
        if not isinstance(data, dict):
            self._report(location, "", "must be a section of keys, each as `key: value`")
            return Imported("", "", line, Fate.REFUSED, {})
        name, kind = (value if isinstance(value := data.get(key), str) else "" for key in ("id", "kind"))
        refused = Imported(name, kind, line, Fate.REFUSED, {})
        section = self._family.class_of(data)
        if section is None:
            self._report(location, "kind", unknown_kind(data.get("kind")))
            return refused
        known = self._known(name)
        if known is not None and known.is_read_only:
            self._report(
                location, "id", f"is {self._family.with_article} of faust.yml, which can only be changed there"
            )
            return refused
        if name and name in self._lines:
            problem = f"is already the id of the {self._family.noun} in line {self._lines[name]}; ids are unique"
            self._report(location, "id", problem)
            return refused
        self._lines[name] = self._tree.line_of((*location, "id"))
        if known is not None and isinstance(known.section, Integration) and known.section.kind != kind:
            self._report(location, "kind", f"is {known.section.kind} for this id, which cannot change; use another id")
            return refused
        found = self._read_whole(location, data, section, known)
        if found is None:
            return refused
        settings, read = found
        if known is None:
            return Imported(name, kind, line, Fate.CREATE, settings)
        changed = differences(known.section, read)
        fate = Fate.REPLACE if changed else Fate.SAME
        return Imported(name, kind, line, fate, settings, known.revision, changed)

    def _read_whole(
        self, location: Location, data: dict[str, Any], section: type[Section], known: Known | None
    ) -> tuple[dict[str, Any], Section] | None:
        """The settings with every secret in its place, and what they make."""
        count = len(self.mistakes)
        settings = self._with_variables(location, data, section, known)
        try:
            settings = self._family.restored(settings, {} if known is None else known.settings)
            read = self._read(settings)
        except InvalidChangeError as error:
            reported = {mistake.key for mistake in self.mistakes[count:]}
            for key, problem in error.problems:
                here = dotted((*location, key))
                if not any(f"{each}.".startswith(f"{here}.") for each in reported):  # it only follows from that
                    self._report(location, key, problem)
            return None
        return (settings, read) if len(self.mistakes) == count else None

    def _with_variables(
        self, location: Location, data: dict[str, Any], section: type[Section], known: Known | None
    ) -> dict[str, Any]:
        """``data`` in which a secret whose variable has no value is kept; any other such variable is a mistake."""
        secrets, urls = secret_places(section), url_places(section)

        def settled(value: Any, place: tuple[str, ...]) -> Any:
            if isinstance(value, dict):
                return {key: settled(each, (*place, key)) for key, each in value.items() if each is not None}
            if isinstance(value, list):
                return [settled(each, (*place, str(number))) for number, each in enumerate(value)]
            found = _VARIABLE.search(value) if isinstance(value, str) else None
            if found is None:
                return value
            if known is not None and (place in secrets or place[:-1] in secrets):
                return KEEP if place in secrets else f"{KEEP}#{int(place[-1]) + 1}"
            if known is not None and place in urls and value.partition("?")[2] == found[0]:
                return masked_url(value)
            problem = f"the variable {found[1]} has no value here; give it one, or write the value in its place"
            self._report(location, ".".join(place), problem)
            return ""

        whole: dict[str, Any] = settled(data, ())
        return whole

    def _report(self, location: Location, key: str, problem: str) -> None:
        steps: Location = tuple(int(step) if step.isdigit() else step for step in key.split(".") if step)
        place = (*location, *steps)
        shown = self._tree.without_environment(place, _VARIABLE.sub(r"${\1}", problem))
        self.mistakes.append(Mistake(self._tree.line_of(place), dotted(place), shown))


def listed(data: Any, family: Family) -> list[tuple[Location, Any]] | None:
    """The entries of a text, each with its place; ``None`` where it is something else."""
    if isinstance(data, dict) and "id" in data and family.place[0] not in data:
        return [((), data)]
    place: Location = ()
    if isinstance(data, dict) and family.place[0] in data:
        for key in family.place:
            if data is not None and not isinstance(data, dict):
                return None
            data = (data or {}).get(key)
        data, place = [] if data is None else data, family.place
    if not isinstance(data, list):
        return None
    return [((*place, number), each) for number, each in enumerate(data)]


def _flat(settings: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Values by the keys that lead to them; lists are values."""
    if not isinstance(settings, Mapping):
        return {place: [*settings] if isinstance(settings, tuple) else settings}
    return {key: value for step, inner in settings.items() for key, value in _flat(inner, (*place, step)).items()}


def dotted(location: Location) -> str:
    """A place as people read it."""
    return ".".join(map(str, location))
