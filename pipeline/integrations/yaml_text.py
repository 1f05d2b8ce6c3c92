"""Integrations and webhooks as YAML: out of the view into ``faust.yml``, and back.

What is exported is a part of ``faust.yml`` that ``distributary check`` takes once the variables that stand for its secrets are
set. What is imported may be such a part, a whole ``faust.yml``, a list of integrations (or webhooks) or one alone; it is compared with what
there is, so that people see what would happen before it does, and every mistake at once, by line.

Variables are never taken from a worker's environment: the text comes from outside, and could send what it finds there anywhere.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel

from pipeline.config.tree import Tree
from pipeline.integrations.families import INTEGRATIONS, Family
from pipeline.integrations.secrets import secret_places, url_places
from pipeline.integrations.yaml_reading import ImportPlan, Known, Mistake, Offered, Reader, dotted, listed
from pipeline.model.integration import Integration
from pipeline.model.section import Section

LONGEST_BYTES: Final = 4 << 20

_WIDEST: Final = 100_000
_ODD_BREAKS: Final = re.compile("[\r\x85\u2028\u2029]")
_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes text of several lines as such."""


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        # Where PyYAML has no C part, it breaks lines at these too, and they would lose their indentation.
        style = '"' if _ODD_BREAKS.search(text) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def export_yaml(entries: Iterable[Mapping[str, Any]], family: Family = INTEGRATIONS) -> Iterator[str]:
    """The text of ``entries``, which are settings with secrets, a piece at a time. Secrets become ``${NAME}``."""
    names: set[str] = set()
    is_empty = True
    indent = "  " * len(family.place)
    opening = "".join(f"{'  ' * depth}{key}:\n" for depth, key in enumerate(family.place))
    for settings in entries:
        if is_empty:
            yield f"# A part of faust.yml. Set the variables that stand for secrets before a worker reads it.\n{opening}"
            is_empty = False
        variables = _Variables(str(settings.get("id", "")), family.noun, names)
        shown = _exported(settings, family.class_of(settings) or Integration, variables)
        if variables.made:
            yield f"{indent}# needs {', '.join(variables.made)}\n"
        dumped = yaml.dump([shown], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDEST)
        yield "".join(f"{indent}{line}\n" if line else "\n" for line in dumped.removesuffix("\n").split("\n"))
    if is_empty:
        yield f"# There are no {family.noun}s.\n{opening.rstrip()} []\n"


def plan_import(
    text: str,
    variables: Mapping[str, str],
    known: Callable[[str], Known | None],
    read: Callable[[Mapping[str, Any]], Section],
    family: Family = INTEGRATIONS,
) -> ImportPlan:
    """Compare ``text`` with what there is of ``family``, which ``known`` finds by id. Mistakes are part of the plan.

    ``variables`` are what ``${NAME}`` may stand for. A secret that is a variable without a value is kept as it is stored.
    ``read`` checks settings and raises ``InvalidChangeError``.
    """
    if len(text.encode(errors="replace")) > LONGEST_BYTES:
        return ImportPlan((), (Mistake(1, "", f"is larger than {LONGEST_BYTES >> 20}MiB; import it in parts"),))
    tree = Tree(text, Offered(variables))
    mistakes = [Mistake(problem.line, dotted(problem.location), problem.message) for problem in tree.problems]
    found = listed(tree.data, family)
    if found is None:
        if not mistakes:
            expected = f"must be a list of {family.noun}s, or hold one under {': '.join(family.place)}:"
            mistakes = [Mistake(1, "", expected if tree.data is not None else "is empty")]
        return ImportPlan((), tuple(mistakes))
    reader = Reader(tree, family, known, read)
    imported = [reader.imported(location, data) for location, data in found]
    return ImportPlan(tuple(imported), tuple(sorted({*mistakes, *reader.mistakes})))


class _Variables:
    """Names for the secrets of one entry, different from all ``taken``."""

    def __init__(self, entry_id: str, noun: str, taken: set[str]) -> None:
        self._id = entry_id
        self._noun = noun
        self._taken = taken
        self.made: list[str] = []

    def reference(self, place: Iterable[str]) -> str:
        """A variable for the secret at ``place``."""
        stem = _NO_NAME.sub("_", "_".join((self._id, *place)).upper()).strip("_")
        stem = stem if stem[:1].isalpha() else f"{self._noun.upper()}_{stem}"
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        self.made.append(f"${{{name}}}")
        return self.made[-1]


def _exported(settings: Mapping[str, Any], section: type[BaseModel], variables: _Variables) -> dict[str, Any]:
    secrets, urls = secret_places(section), url_places(section)

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
