"""The schema as a thing to ask: which section is where, which keys it has, what a key's type is in words."""

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.config.schema import Settings
from pipeline.config.tree import Location
from pipeline.model.integration import Integration
from pipeline.sinks.registry import SINKS

_SETTINGS_OF_KIND: Mapping[str, type[Integration]] = {spec.kind: spec.settings for spec in SINKS}
_PLAIN_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    Path: "path of a file",
    SecretStr: "secret text",
}


def keys_of(section: type[BaseModel]) -> dict[str, str]:
    """Each key that the file may use in ``section``, with the attribute it sets."""
    return {field.alias or name: name for name, field in section.model_fields.items()}


def section_at(location: Location, data: Any) -> type[BaseModel] | None:
    """The class of the section at ``location`` of ``data`` (all that was read); ``None`` where there is none."""
    section: type[BaseModel] | None = Settings
    if len(location) > 1 and location[0] == "integrations":
        data = data["integrations"][location[1]]
        section = settings_of_kind(data.get("kind"))
        location = location[2:]
    for step in location:
        if isinstance(step, int):  # an entry of a list, whose sections are all of one class
            continue
        field = _field(section, str(step))
        data = data.get(str(step)) if isinstance(data, dict) else None
        section = None if field is None else section_of(field) or entry_of(field) or _chosen(field, data)
    return section


def settings_of_kind(kind: object) -> type[Integration] | None:
    """The class of an integration of ``kind``; ``None`` where there is no such kind."""
    return _SETTINGS_OF_KIND.get(kind) if isinstance(kind, str) else None


def field_at(location: Location, data: Any) -> FieldInfo | None:
    """The field that the key at ``location`` sets."""
    return _field(section_at(location[:-1], data), str(location[-1]))


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The class of the section that ``field`` holds, where it holds one, and always the same one."""
    found = sections_of(field)
    return found[0] if len(found) == 1 else None


def entry_of(field: FieldInfo) -> type[BaseModel] | None:
    """The class of the sections in the list that ``field`` holds, where it holds one of sections."""
    for part in _parts(field.annotation):
        if get_origin(part) is tuple:
            entry = get_args(part)[0]
            return entry if isinstance(entry, type) and issubclass(entry, BaseModel) else None
    return None


def sections_of(field: FieldInfo) -> tuple[type[BaseModel], ...]:
    """The classes of all sections that ``field`` may hold."""
    return tuple(part for part in _parts(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel))


def variants_of(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The sections among which the word under ``chooser_of(field)`` chooses, by that word; empty where nothing does."""
    chooser = chooser_of(field)
    if chooser is None:
        return {}
    return {word: section for section in sections_of(field) for word in alternatives(section.model_fields[chooser])}


def chooser_of(field: FieldInfo) -> str | None:
    """The key by which ``field``'s section is chosen among several; ``None`` where there is no choice."""
    return field.discriminator if isinstance(field.discriminator, str) else None


def alternatives(field: FieldInfo) -> tuple[str, ...]:
    """The words that ``field`` takes, where only certain words will do."""
    return tuple(
        str(word) for part in _parts(field.annotation) if get_origin(part) is Literal for word in get_args(part)
    )


def type_in_words(field: FieldInfo) -> str:
    """The type of ``field``, for people."""
    return _words(field.annotation, tuple(field.metadata))


def _chosen(field: FieldInfo, value: Any) -> type[BaseModel] | None:
    word = value.get(chooser_of(field)) if isinstance(value, dict) else None
    return variants_of(field).get(word) if isinstance(word, str) else None


def _field(section: type[BaseModel] | None, key: str) -> FieldInfo | None:
    name = None if section is None else keys_of(section).get(key)
    return None if section is None or name is None else section.model_fields[name]


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation itself, or the members of an optional one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _parts(member)
    else:
        yield annotation


def _words_of_composed(origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Annotated:
        return _words(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in arguments)
    if origin is tuple:
        words = _words(arguments[0], ())
        return "list of sections" if words == "section" else f"list of {words}"
    return " or ".join(_words(member, ()) for member in arguments if member is not types.NoneType)


def _are_sections(members: tuple[Any, ...]) -> bool:
    return bool(members) and all(isinstance(each, type) and issubclass(each, BaseModel) for each in members)


def _words(annotation: Any, metadata: tuple[Any, ...]) -> str:
    own = [mark.words() for mark in metadata if hasattr(mark, "words")]
    arguments = get_args(annotation)
    if own:
        return str(own[0])
    if _are_sections(arguments):
        return "section"
    if arguments:
        return _words_of_composed(get_origin(annotation), arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    bounds = {name: getattr(mark, name) for mark in metadata for name in ("ge", "le") if hasattr(mark, name)}
    words = _PLAIN_WORDS[annotation]
    return f"{words}, {bounds['ge']} to {bounds['le']}" if len(bounds) > 1 else words
