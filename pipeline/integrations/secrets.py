"""Which settings of a kind are secret, and how they stay out of sight: masked where they are shown, kept where nobody changes them.

A setting is secret where its type says so (``SecretStr``), at any depth. What follows the ``?`` of a URL is hidden like one,
since tokens stand there too. Whoever changes an integration sends back what was shown: ``KEEP`` leaves the stored secret as
it is, ``KEEP#2`` stands for the second of several, and a URL whose hidden part was not touched is the stored one.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.config.describe import keys_of, sections_of
from pipeline.errors import InvalidChangeError
from pipeline.model.integration import Integration

KEEP: Final = "********"
"""What stands in place of a secret, and in a change means: as it is stored."""

Settings = Mapping[str, Any]
"""An integration's settings as ``faust.yml`` would hold them."""

Place = tuple[str, ...]
"""The keys that lead to a setting."""

_NUMBERED = re.compile(re.escape(KEEP) + r"#([1-9][0-9]{0,2})")
_HIDDEN_QUERY: Final = f"?{KEEP}"


def is_secret(field: FieldInfo) -> bool:
    """Whether what ``field`` holds, or each entry of it, is a secret."""
    return _names_secret(field.annotation)


@cache
def secret_places(section: type[BaseModel]) -> frozenset[Place]:
    """Where ``section`` holds secrets, in whichever variant of its parts."""
    return frozenset(_secrets_below(section, ()))


def masked(settings: Settings, section: type[BaseModel]) -> dict[str, Any]:
    """``settings`` of class ``section`` as they may be shown. What the class does not know is hidden as well."""
    shown = _masked(settings, (section,))
    for place in url_places(section):
        url = _at(shown, place)
        if isinstance(url, str):
            _put(shown, place, masked_url(url))
    return shown


def masked_url(url: str) -> str:
    """``url`` without what follows its ``?``."""
    address, mark, _ = url.partition("?")
    return address + _HIDDEN_QUERY if mark else url


def restored(change: Settings, stored: Settings, section: type[BaseModel]) -> dict[str, Any]:
    """``change`` with what is ``stored`` in every place that says to keep it.

    Raises ``InvalidChangeError`` for each place where nothing is stored that could be kept.
    """
    problems: list[tuple[str, str]] = []
    whole = _restored(change, stored, (section,), (), problems)
    for place in url_places(section):
        url, known = _at(whole, place), _at(stored, place)
        if not isinstance(url, str) or not url.endswith(_HIDDEN_QUERY):
            continue
        if isinstance(known, str) and masked_url(known) == url:
            _put(whole, place, known)
        else:
            problem = "the part behind ? is hidden and belongs to another address; write the whole URL"
            problems.append((".".join(place), problem))
    if problems:
        raise InvalidChangeError(problems)
    return whole


def _names_secret(annotation: Any) -> bool:
    if annotation is SecretStr:
        return True
    return any(_names_secret(part) for part in get_args(annotation))


def _secrets_below(section: type[BaseModel], path: Place) -> Iterator[Place]:
    for key, name in keys_of(section).items():
        field = section.model_fields[name]
        if is_secret(field):
            yield (*path, key)
        for inner in sections_of(field):
            yield from _secrets_below(inner, (*path, key))


def url_places(section: type[BaseModel]) -> tuple[Place, ...]:
    """Where ``section`` holds URLs that deliveries go to, whose queries are hidden."""
    return section.url_keys if issubclass(section, Integration) else ()


def _fields_called(key: str, sections: tuple[type[BaseModel], ...]) -> list[FieldInfo]:
    """The fields that ``key`` may set: several where nothing has chosen among variants of a section."""
    return [section.model_fields[name] for section in sections if (name := keys_of(section).get(key)) is not None]


def _masked(data: Settings, sections: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in data.items():
        fields = _fields_called(key, sections)
        inner = tuple(section for field in fields for section in sections_of(field))
        if value is None or (fields and not inner and not any(map(is_secret, fields))):
            shown[key] = value
        elif inner and isinstance(value, Mapping):
            shown[key] = _masked(value, inner)
        elif isinstance(value, list | tuple):
            shown[key] = [f"{KEEP}#{number}" for number in range(1, len(value) + 1)]
        else:
            shown[key] = KEEP
    return shown


def _restored(
    data: Settings,
    stored: Settings,
    sections: tuple[type[BaseModel], ...],
    path: Place,
    problems: list[tuple[str, str]],
) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for key, value in data.items():
        here, known = (*path, key), stored.get(key)
        fields = _fields_called(key, sections)
        inner = tuple(section for field in fields for section in sections_of(field))
        if inner and isinstance(value, Mapping):
            whole[key] = _restored(value, known if isinstance(known, Mapping) else {}, inner, here, problems)
        elif not any(map(is_secret, fields)):
            whole[key] = value
        elif isinstance(value, list | tuple):
            whole[key] = _kept_entries([*value], known, here, problems)
        else:
            whole[key] = _kept(value, known, here, problems)
    return whole


def _kept(value: Any, known: Any, place: Place, problems: list[tuple[str, str]]) -> Any:
    if value != KEEP:
        return value
    if known is None:
        problems.append((".".join(place), "there is no stored secret to keep; write it, or leave the key out"))
    return known


def _kept_entries(values: list[Any], known: Any, place: Place, problems: list[tuple[str, str]]) -> list[Any]:
    """A list in which ``KEEP#2`` stands for the second stored entry, and plain ``KEEP``s for the stored ones in order."""
    entries = [*known] if isinstance(known, list | tuple) else []
    whole, plain = [], 0
    for number, value in enumerate(values):
        found = _NUMBERED.fullmatch(value) if isinstance(value, str) else None
        if found is None and value != KEEP:
            whole.append(value)
            continue
        wanted = int(found[1]) - 1 if found else plain
        plain += found is None
        if wanted < len(entries):
            whole.append(entries[wanted])
        else:
            problem = f"there are {len(entries)} stored secrets, and none at place {wanted + 1} to keep"
            problems.append((".".join((*place, str(number))), problem))
    return whole


def _at(data: Any, place: Place) -> Any:
    for key in place:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _put(data: dict[str, Any], place: Place, value: Any) -> None:
    for key in place[:-1]:
        data = data[key]
    data[place[-1]] = value
