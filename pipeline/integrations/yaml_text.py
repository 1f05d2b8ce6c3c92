"""Integrations as YAML: out of the view into ``faust.yml``, and back.

What is exported is a part of ``faust.yml`` that ``distributary check`` takes once the variables that stand for its secrets are
set. What is imported may be such a part, a whole ``faust.yml``, a list of integrations or one alone; it is compared with what
there is, so that people see what would happen before it does, and every mistake at once, by line.

Variables are never taken from a worker's environment: the text comes from outside, and could send what it finds there anywhere.
"""

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from pipeline.config.describe import settings_of_kind
from pipeline.config.tree import Location, Tree
from pipeline.config.words import unknown_kind
from pipeline.errors import InvalidChangeError
from pipeline.integrations.secrets import KEEP, masked, masked_url, restored, secret_places
from pipeline.integrations.written import settings_of
from pipeline.model.integration import Integration

LONGEST_BYTES: Final = 4 << 20

_Dumper: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WIDEST: Final = 100_000
_INTEGRATIONS: Final = "integrations"
_VARIABLE: Final = re.compile("\ue003([A-Za-z_][A-Za-z0-9_]*)\ue004")
_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")


class Known(NamedTuple):
    """An integration that there is: its settings with secrets, and the revision to name in a change.

    Those of ``faust.yml`` are read-only.
    """

    integration: Integration
    settings: Mapping[str, Any]
    revision: int
    is_read_only: bool


class Fate(enum.StrEnum):
    """What an import would do with an integration."""

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
    """One integration of the text. ``settings`` hold secrets, and are empty where it is refused."""

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

    integrations: tuple[Imported, ...]
    mistakes: tuple[Mistake, ...]

    def count(self, fate: Fate) -> int:
        """How many integrations would come to this."""
        return sum(each.fate is fate for each in self.integrations)


def export_yaml(integrations: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The text of ``integrations``, which are settings with secrets, a piece at a time. Secrets become ``${NAME}``."""
    names: set[str] = set()
    is_empty = True
    for settings in integrations:
        if is_empty:
            yield "# A part of faust.yml. Set the variables that stand for secrets before a worker reads it.\nintegrations:\n"
            is_empty = False
        variables = _Variables(str(settings.get("id", "")), names)
        section = settings_of_kind(settings.get("kind")) or Integration
        shown = _exported(settings, section, variables)
        if variables.made:
            yield f"  # needs {', '.join(variables.made)}\n"
        dumped = yaml.dump([shown], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDEST)
        yield "".join(f"  {line}\n" for line in dumped.splitlines())
    if is_empty:
        yield "# There are no integrations.\nintegrations: []\n"


def plan_import(
    text: str,
    variables: Mapping[str, str],
    known: Callable[[str], Known | None],
    read: Callable[[Mapping[str, Any]], Integration],
) -> ImportPlan:
    """Compare ``text`` with the integrations that there are, which ``known`` finds by id. Mistakes are part of the plan.

    ``variables`` are what ``${NAME}`` may stand for. A secret that is a variable without a value is kept as it is stored.
    ``read`` checks settings and raises ``InvalidChangeError``.
    """
    if len(text.encode(errors="replace")) > LONGEST_BYTES:
        return ImportPlan((), (Mistake(1, "", f"is larger than {LONGEST_BYTES >> 20}MiB; import it in parts"),))
    tree = Tree(text, _Offered(variables))
    mistakes = [Mistake(problem.line, _dotted(problem.location), problem.message) for problem in tree.problems]
    listed = _listed(tree.data)
    if listed is None:
        if not mistakes:
            expected = "must be a list of integrations, or hold one under integrations:"
            mistakes = [Mistake(1, "", expected if tree.data is not None else "is empty")]
        return ImportPlan((), tuple(mistakes))
    reader = _Reader(tree, known, read)
    imported = [reader.imported(location, data) for location, data in listed]
    return ImportPlan(tuple(imported), tuple(sorted({*mistakes, *reader.mistakes})))


def differences(before: Integration, after: Integration) -> tuple[Difference, ...]:
    """What is different between two integrations of one kind, secrets told apart but not shown."""
    if before == after:
        return ()
    section = type(after)
    old_settings, new_settings = (settings_of(each, with_defaults=True) for each in (before, after))
    old, new = _flat(old_settings), _flat(new_settings)
    old_shown, new_shown = _flat(masked(old_settings, section)), _flat(masked(new_settings, section))
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return tuple(Difference(".".join(key), old_shown.get(key), new_shown.get(key)) for key in keys)


class _Reader:
    """Reads the integrations of one text, and collects what is wrong with them."""

    def __init__(
        self, tree: Tree, known: Callable[[str], Known | None], read: Callable[[Mapping[str, Any]], Integration]
    ) -> None:
        self._tree = tree
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
        section = settings_of_kind(kind)
        if section is None:
            self._report(location, "kind", unknown_kind(data.get("kind")))
            return refused
        known = self._known(name)
        if known is not None and known.is_read_only:
            self._report(location, "id", "is an integration of faust.yml, which can only be changed there")
            return refused
        if name and name in self._lines:
            problem = f"is already the id of the integration in line {self._lines[name]}; ids are unique"
            self._report(location, "id", problem)
            return refused
        self._lines[name] = self._tree.line_of((*location, "id"))
        if known is not None and known.integration.kind != kind:
            self._report(
                location, "kind", f"is {known.integration.kind} for this id, which cannot change; use another id"
            )
            return refused
        found = self._read_whole(location, data, section, known)
        if found is None:
            return refused
        settings, integration = found
        if known is None:
            return Imported(name, kind, line, Fate.CREATE, settings)
        changed = differences(known.integration, integration)
        fate = Fate.REPLACE if changed else Fate.SAME
        return Imported(name, kind, line, fate, settings, known.revision, changed)

    def _read_whole(
        self, location: Location, data: dict[str, Any], section: type[Integration], known: Known | None
    ) -> tuple[dict[str, Any], Integration] | None:
        """The settings with every secret in its place, and the integration that they make."""
        count = len(self.mistakes)
        settings = self._with_variables(location, data, section, known)
        try:
            settings = restored(settings, {} if known is None else known.settings, section)
            integration = self._read(settings)
        except InvalidChangeError as error:
            reported = {mistake.key for mistake in self.mistakes[count:]}
            for key, problem in error.problems:
                here = _dotted((*location, key))
                if not any(f"{each}.".startswith(f"{here}.") for each in reported):  # it only follows from that
                    self._report(location, key, problem)
            return None
        return (settings, integration) if len(self.mistakes) == count else None

    def _with_variables(
        self, location: Location, data: dict[str, Any], section: type[Integration], known: Known | None
    ) -> dict[str, Any]:
        """``data`` in which a secret whose variable has no value is kept; any other such variable is a mistake."""
        secrets, urls = secret_places(section), section.url_keys

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
        self.mistakes.append(Mistake(self._tree.line_of(place), _dotted(place), shown))


class _Offered(dict[str, str]):
    """The variables of an import; any other one is left standing, marked, for whoever knows what it is for."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 what a mapping takes
        return super().get(name, f"\ue003{name}\ue004")


class _Variables:
    """Names for the secrets of one integration, different from all ``taken``."""

    def __init__(self, integration_id: str, taken: set[str]) -> None:
        self._id = integration_id
        self._taken = taken
        self.made: list[str] = []

    def reference(self, place: Iterable[str]) -> str:
        """A variable for the secret at ``place``."""
        stem = _NO_NAME.sub("_", "_".join((self._id, *place)).upper()).strip("_")
        stem = stem if stem[:1].isalpha() else f"INTEGRATION_{stem}"
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        self.made.append(f"${{{name}}}")
        return self.made[-1]


def _exported(settings: Mapping[str, Any], section: type[Integration], variables: _Variables) -> dict[str, Any]:
    secrets, urls = secret_places(section), section.url_keys

    def shown(value: Any, place: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            return {key: shown(each, (*place, key)) for key, each in value.items() if each is not None}
        if isinstance(value, list | tuple):
            return [shown(each, (*place, str(number))) for number, each in enumerate(value, 1)]
        if place in secrets or place[:-1] in secrets:
            return variables.reference(place)
        if not isinstance(value, str):
            return value
        if place in urls and "?" in value:
            return f"{_literal(value.partition('?')[0])}?{variables.reference((*place, 'query'))}"
        return _literal(value)

    exported: dict[str, Any] = shown(settings, ())
    return exported


def _literal(text: str) -> str:
    return text.replace("${", "$${")


def _listed(data: Any) -> list[tuple[Location, Any]] | None:
    """The integrations of a text, each with its place; ``None`` where it is something else."""
    if isinstance(data, dict) and "id" in data and _INTEGRATIONS not in data:
        return [((), data)]
    place: Location = ()
    if isinstance(data, dict) and _INTEGRATIONS in data:
        data, place = data[_INTEGRATIONS] or [], (_INTEGRATIONS,)
    if not isinstance(data, list):
        return None
    return [((*place, number), each) for number, each in enumerate(data)]


def _flat(settings: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Values by the keys that lead to them; lists are values."""
    if not isinstance(settings, Mapping):
        return {place: [*settings] if isinstance(settings, tuple) else settings}
    return {key: value for step, inner in settings.items() for key, value in _flat(inner, (*place, step)).items()}


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))
