"""Paths into a payload: ``data.user["e-mail.home"]``, ``items[0].sku``, ``items[*].sku``.

A path is keys and, behind a key that holds a list, an index (from 0) or ``[*]`` for all entries. Keys are divided by dots; one
that holds a dot, a bracket, a quotation mark or white space stands in brackets as a JSON string. ``str(parse_path(text))`` is
the one canonical spelling, so equal paths are equal texts.
"""

import enum
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

LONGEST_PATH: Final = 512
"""Characters of a path."""
MOST_STEPS: Final = 64
MOST_FIELDS: Final = 1000
"""How many fields of a sample are listed."""
MOST_ENTRIES: Final = 20
"""How many entries of a list in a sample are listed one by one."""

_EXAMPLE: Final = 'write for example data.user.id, items[0].sku, items[*].sku or ["e.mail"]'
_PLAIN_KEY: Final = re.compile(r"[^.\[\]\"\\\s\x00-\x1f\x7f]+")
_QUOTED: Final = re.compile(r'\[("(?:[^"\\\x00-\x1f]|\\.)*")\]')
_INDEX: Final = re.compile(r"\[(0|[1-9][0-9]{0,5})\]")
_EVERY_TEXT: Final = "[*]"


class Every(enum.Enum):
    """The step ``[*]``: all entries of a list."""

    ENTRY = _EVERY_TEXT


class Missing(enum.Enum):
    """What ``pick`` returns where the payload has nothing at a path."""

    VALUE = "missing"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.VALUE

Step = str | int | Every


class Path(tuple[Step, ...]):
    """The steps of a path: keys, indexes and ``Every.ENTRY``."""

    __slots__ = ()

    def __str__(self) -> str:
        return "".join(_written(step, is_first=number == 0) for number, step in enumerate(self))

    @property
    def is_one_value(self) -> bool:
        """Whether it leads to one value at most, which a path with ``[*]`` does not."""
        return Every.ENTRY not in self


class SampleField(NamedTuple):
    """A place in a sample that can be mapped: its path, in the canonical spelling, and what is there."""

    path: str
    value: Any


def parse_path(text: str) -> Path:
    """Read ``text``; raises ``ValueError`` with what is wrong and what to write."""
    if len(text) > LONGEST_PATH:
        raise ValueError(f"is longer than {LONGEST_PATH} characters")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        step, at = _step_at(text, at, is_first=not steps)
        steps.append(step)
    if not steps:
        raise ValueError(f"is empty; {_EXAMPLE}")
    if len(steps) > MOST_STEPS:
        raise ValueError(f"has more than {MOST_STEPS} steps")
    if not isinstance(steps[0], str):
        raise ValueError(f"must begin with a key, as a payload is an object; {_EXAMPLE}")
    return Path(steps)


def pick(payload: Any, path: Path) -> Any:
    """What ``payload`` has at ``path``; ``MISSING`` where there is nothing.

    With ``[*]`` it is a list of what the entries have, without those that have nothing; a second ``[*]`` makes no list in
    the list. ``MISSING`` then means that there is no list where the first ``[*]`` stands.
    """
    value = payload
    for number, step in enumerate(path):
        if step is Every.ENTRY:
            return _picked_each(value, Path(path[number + 1 :])) if isinstance(value, list) else MISSING
        value = _at(value, step)
        if value is MISSING:
            return MISSING
    return value


def paths_of(sample: Any) -> list[SampleField]:
    """What can be mapped in ``sample``, in its order: every value, also lists and objects as a whole.

    A list is followed by what ``[*]`` finds in its entries, then by its first ``MOST_ENTRIES`` entries one by one. At most
    ``MOST_FIELDS``, and none whose path would be too long.
    """
    if not isinstance(sample, dict):
        return []
    return [SampleField(str(path), pick(sample, path)) for path in islice(_places([sample], ()), MOST_FIELDS)]


def _step_at(text: str, at: int, *, is_first: bool) -> tuple[Step, int]:
    """The step that begins at ``at``, and where it ends."""
    if text.startswith(_EVERY_TEXT, at):
        return Every.ENTRY, at + len(_EVERY_TEXT)
    if text[at] == "[":
        index = _INDEX.match(text, at)
        if index is not None:
            return int(index[1]), index.end()
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise ValueError(f'has a bracket at character {at + 1} without an index, * or "key" in it; {_EXAMPLE}')
        return _unquoted(quoted[1], at), quoted.end()
    if not is_first:
        if text[at] != ".":
            raise ValueError(f"needs a dot at character {at + 1}; {_EXAMPLE}")
        at += 1
    key = _PLAIN_KEY.match(text, at)
    if key is None:
        raise ValueError(
            f'has no key at character {at + 1}; a key with other characters is written ["..."]; {_EXAMPLE}'
        )
    return key[0], key.end()


def _unquoted(quoted: str, at: int) -> str:
    try:
        key = json.loads(quoted)
        key.encode()
    except ValueError:
        raise ValueError(f"has a key in quotes at character {at + 2} that is not a JSON string; {_EXAMPLE}") from None
    assert isinstance(key, str)
    return key


def _written(step: Step, *, is_first: bool) -> str:
    if step is Every.ENTRY:
        return _EVERY_TEXT
    if isinstance(step, int):
        return f"[{step}]"
    assert isinstance(step, str)
    if not _PLAIN_KEY.fullmatch(step):
        # What cannot be seen, or turns the text around it, is written out: the path stands in forms and lists.
        return f"[{json.dumps(step, ensure_ascii=not step.isprintable())}]"
    return step if is_first else f".{step}"


def _at(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step, MISSING) if isinstance(value, dict) else MISSING
    if isinstance(step, int) and isinstance(value, list) and step < len(value):
        return value[step]
    return MISSING


def _picked_each(entries: list[Any], rest: Path) -> list[Any]:
    picked: list[Any] = []
    for entry in entries:
        value = pick(entry, rest)
        if value is MISSING:
            continue
        if rest.is_one_value:
            picked.append(value)
        else:
            picked += value
    return picked


def _places(values: list[Any], here: tuple[Step, ...]) -> Iterator[Path]:
    """The paths below ``here``, which leads to ``values``: to several behind ``[*]``, whose fields are taken together."""
    keys: dict[str, list[Any]] = {}
    lists: list[list[Any]] = []
    for value in values:
        if isinstance(value, dict):
            for key, inner in value.items():
                keys.setdefault(key, []).append(inner)
        elif isinstance(value, list):
            lists.append(value)
    for key, inner in keys.items():
        yield from _place(inner, (*here, key))
    entries = [entry for each in lists for entry in each[:MOST_ENTRIES]]
    # [*] alone is the list itself, unless it makes one list of several.
    below = _place if entries and Every.ENTRY in here else _places_below
    yield from below(entries, (*here, Every.ENTRY))
    for number in range(min(MOST_ENTRIES, max(map(len, lists), default=0))):
        yield from _place([each[number] for each in lists if number < len(each)], (*here, number))


def _place(values: list[Any], here: tuple[Step, ...]) -> Iterator[Path]:
    path = Path(here)
    if len(str(path)) <= LONGEST_PATH:
        yield path
        yield from _places_below(values, here)


def _places_below(values: list[Any], here: tuple[Step, ...]) -> Iterator[Path]:
    if values and len(here) < MOST_STEPS:
        yield from _places(values, here)
