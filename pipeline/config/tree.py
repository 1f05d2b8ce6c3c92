"""YAML text as plain data that remembers its lines.

Three things differ from ``yaml.safe_load``: only ``true``/``false``, whole numbers and empty values are anything but text
(no dates, no ``1:30`` for 90, no ``NO`` for false); ``${NAME}`` in a value is taken from the environment, after parsing,
so that nothing in a variable can change the structure; and every mistake is collected with its line.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

Location = tuple[str | int, ...]

_DEEPEST: Final = 64
_MOST_VALUES: Final = 1_000_000
_SHORTEST_SECRET: Final = 4
_STR: Final = "tag:yaml.org,2002:str"
_INT: Final = "tag:yaml.org,2002:int"
_BOOL: Final = "tag:yaml.org,2002:bool"
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "<<"

# In [..] and {..} YAML gives braces a meaning of their own, so ${NAME} travels through the parser without them.
_OPEN, _CLOSE = "\ue001", "\ue002"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as in its base


_Loader.add_implicit_resolver(_BOOL, re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])


class Problem(NamedTuple):
    """One mistake: its line (from 1), where in the tree, what is wrong."""

    line: int
    location: Location
    message: str


class Tree:
    """The data of one YAML text.

    ``data`` is dicts, lists, text, whole numbers, booleans and ``None``. ``problems`` are the mistakes of the text itself;
    where there are some, ``data`` may lack a part. Raises nothing: an unreadable text is a problem too.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.data: Any = None
        self._environment = environment
        self._values_left = _MOST_VALUES
        self._lines: dict[Location, int] = {}
        self._from_environment: dict[Location, dict[str, str]] = {}
        text = _VARIABLE.sub(rf"${_OPEN}\1{_CLOSE}", text)
        try:
            root = _compose(text)
            if root is not None:
                self.data = self._build(root, ())
        except _UnusableError as error:
            self.problems.append(Problem(error.line, (), error.message))
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error, text))

    def line_of(self, location: Location) -> int:
        """The line of ``location``, or of the nearest part around it that the text has."""
        while location and location not in self._lines:
            location = location[:-1]
        return self._lines.get(location, 1)

    def without_environment(self, location: Location, message: str) -> str:
        """Put ``${NAME}`` back into ``message`` where it quotes what the environment gave for ``location``."""
        while location and location not in self._from_environment:
            location = location[:-1]
        for name, value in self._from_environment.get(location, {}).items():
            if len(value) >= _SHORTEST_SECRET:
                for shown in (value, repr(value)[1:-1]):
                    message = message.replace(shown, f"${{{name}}}")
        return message

    def _build(self, node: yaml.Node, location: Location) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            raise _UnusableError(_line(node), f"unfolds to more than {_MOST_VALUES} values; use fewer aliases (*name)")
        if len(location) > _DEEPEST:
            raise _UnusableError(_line(node), f"is nested more than {_DEEPEST} deep")
        self._lines.setdefault(location, _line(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(child, (*location, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(_line(key_node), location, "a key must be plain text")
                continue
            key = _restored(key_node.value)
            here = (*location, key)
            if key == _MERGE:
                self._report(_line(key_node), here, "merge keys are not supported; write the keys out")
            elif key in data:
                self._report(_line(key_node), here, f"is given twice; the first is in line {self._lines[here]}")
            else:
                self._lines[here] = _line(key_node)
                data[key] = self._build(value_node, here)
        return data

    def _scalar(self, node: yaml.ScalarNode, location: Location) -> str | int | bool | None:
        text = _restored(node.value)
        if node.tag == _STR:
            return self._substituted(text, node, location)
        if node.tag == _INT:
            return int(text)
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _NULL:
            return None
        self._report(_line(node), location, "has a tag (!...); if the value itself begins with !, put it in quotes")
        return None

    def _substituted(self, text: str, node: yaml.ScalarNode, location: Location) -> str:
        def value_of(found: re.Match[str]) -> str:
            if found[0] == "$${":
                return "${"
            name = found[1]
            if name is None:
                self._report(
                    _line(node), location, "write ${NAME} for a variable, or $${ for the two characters themselves"
                )
                return ""
            value = self._environment.get(name)
            if value is None:
                self._report(
                    _line(node),
                    location,
                    f"the environment variable {name} is not set; set it, or write $${{{name}}} for plain text",
                )
                return ""
            self._from_environment.setdefault(location, {})[name] = value
            return value

        return _REFERENCE.sub(value_of, text)

    def _report(self, line: int, location: Location, message: str) -> None:
        self.problems.append(Problem(line, location, message))


class _UnusableError(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def _compose(text: str) -> yaml.Node | None:
    # The parser's composer recurses in C and has no limit of its own, so the depth is looked at first.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _UnusableError(_line(event), f"is nested more than {_DEEPEST} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return root


def _line(part: yaml.Node | yaml.Event) -> int:
    assert part.start_mark is not None
    return part.start_mark.line + 1


def _restored(text: str) -> str:
    return text.replace(_OPEN, "{").replace(_CLOSE, "}")


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        read = text.encode()[: error.position]
        return Problem(read.count(b"\n") + 1, (), "holds a character that YAML does not allow")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or "cannot be read")
    # Only these messages quote the text, and it may be the unquoted beginning of a secret.
    context = getattr(error, "context", None)
    problem = f"{context}, {problem}" if context else problem
    if "alias" in problem or "anchor" in problem:
        problem = "refers to an anchor (&name, *name) that is not defined; if the value itself begins with & or *, put it in quotes"
    elif "tag" in problem:
        problem = "has a tag (!...) that is not defined; if the value itself begins with !, put it in quotes"
    return Problem(mark.line + 1 if mark else 1, (), f"is not valid YAML: {problem}")
