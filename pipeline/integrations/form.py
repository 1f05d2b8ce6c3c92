"""The form of a kind of sink, made from its settings class: which fields there are, in which groups, and what each takes.

Nothing here knows a kind. A sink that is added has a form because its settings say what they are: types, limits, defaults
and descriptions. What people write into it: ``pipeline.integrations.form_values``.
"""

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.config.describe import alternatives, chooser_of, keys_of, sections_of, type_in_words, variants_of
from pipeline.integrations.secrets import is_secret
from pipeline.model.integration import Integration
from pipeline.model.platforms import PLATFORMS
from pipeline.model.units import Duration, Size, format_duration, format_size
from pipeline.sinks.base import SinkSpec
from pipeline.traffic import EVENT_NAMES


class FieldType(enum.StrEnum):
    """What a field takes, which decides how it is shown and read."""

    TEXT = "text"
    PATH = "path"
    WHOLE = "whole"  # a whole number
    NUMBER = "number"
    DURATION = "duration"  # with its unit
    SIZE = "size"  # with its unit
    CHOICE = "choice"  # one of a few words
    FLAG = "flag"
    LIST = "list"  # of texts, one a line or with commas
    DURATIONS = "durations"  # the same, of durations
    MAP = "map"  # name = value, one a line
    SECRET = "secret"  # noqa: S105 the name of a type
    SECRETS = "secrets"  # one a line


@dataclass(frozen=True, slots=True)
class FormField:
    """One thing to fill in.

    ``name`` is the path of its key, with dots; ``input`` the same, but different in each variant; ``default`` what an empty
    field stands for, as it would be written, and empty where that is nothing; ``limits`` the type in words; ``least`` and
    ``most`` bounds of numbers; ``known`` words that it usually takes, ``choices`` the only ones.
    """

    name: str
    input: str
    title: str
    help: str
    type: FieldType
    limits: str
    default: str = ""
    is_required: bool = False
    choices: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    most_entries: int | None = None

    @property
    def key(self) -> str:
        """The last part of its name."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class FormGroup:
    """Fields that belong together; ``name`` is the section's path, with dots, and empty for keys of the integration itself.

    ``is_main`` groups are what most integrations need. An optional group is there or not as a whole, which a switch called
    ``name`` says. Where ``chooser`` names a key, one of
    ``variants`` is chosen by its word, ``default_word`` unless another is.
    """

    name: str
    title: str
    help: str = ""
    fields: tuple[FormField, ...] = ()
    groups: "tuple[FormGroup, ...]" = ()
    is_optional: bool = False
    chooser: str = ""
    variants: "tuple[tuple[str, FormGroup], ...]" = ()
    default_word: str = ""
    is_main: bool = False

    def all_fields(self) -> Iterator[FormField]:
        """Those of its groups and variants too."""
        yield from self.fields
        for group in (*self.groups, *(group for _, group in self.variants)):
            yield from group.all_fields()

    def all_groups(self) -> "Iterator[FormGroup]":
        """Itself and those inside."""
        yield self
        for group in (*self.groups, *(group for _, group in self.variants)):
            yield from group.all_groups()


@dataclass(frozen=True, slots=True)
class FormSpec:
    """The form of one kind."""

    kind: str
    summary: str
    groups: tuple[FormGroup, ...]

    def field(self, name: str) -> FormField | None:
        """The first field called ``name``, if there is one."""
        return next((field for group in self.groups for field in group.all_fields() if field.name == name), None)


_GROUPS: Final = {
    "endpoint": ("Endpoint", ("id", "enabled", "url", "authorization", "timeout")),
    "events": ("Which events", ("events", "platforms", "applications", "campaigns", "messages", "live_activities")),
    "delivery": ("Delivery", ("fields", "ordered", "lanes", "max_in_flight", "max_wait")),
}
"""Where the keys that all kinds have stand; a kind's own keys have a group to themselves."""

_KNOWN: Final = {"events": EVENT_NAMES, "platforms": tuple(PLATFORMS)}
_TITLES: Final = {"id": "Id", "url": "URL", "tls": "TLS", "ca": "CA", "token_url": "Token URL", "oauth2": "OAuth 2"}
_KIND: Final = "kind"
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def form_of(spec: SinkSpec) -> FormSpec:
    """The form of a sink's integrations."""
    keys = keys_of(spec.settings)
    fields = {key: spec.settings.model_fields[name] for key, name in keys.items() if key != _KIND}
    sections = [key for key, field in fields.items() if sections_of(field)]
    common = {key for _, listed in _GROUPS.values() for key in listed}
    own = [key for key in fields if key not in common and key not in sections]
    base = keys_of(Integration)

    def group(title: str, wanted: Iterable[str], *, is_main: bool = True) -> FormGroup:
        made = tuple(_field(key, key, fields[key]) for key in wanted if key in fields)
        return FormGroup("", title, fields=made, is_main=is_main)

    endpoint, events = (group(*_GROUPS[name]) for name in ("endpoint", "events"))
    delivery = group(*_GROUPS["delivery"], is_main=False)
    groups = [endpoint]
    if own:
        groups.append(group(f"What {spec.kind} needs beside that", own))
    groups += [_group(key, key, fields[key]) for key in sections if key not in base]
    groups += [events, delivery]
    groups += [_group(key, key, fields[key]) for key in sections if key in base]
    return FormSpec(
        spec.kind, spec.summary, tuple(each for each in groups if each.fields or each.groups or each.chooser)
    )


def _group(name: str, key: str, field: FieldInfo) -> FormGroup:
    """The group of a section, or of one of several sections."""
    text = _plain_text(field.description or "")
    is_optional = field.default is None
    chooser, variants = chooser_of(field), variants_of(field)
    if chooser is None or not variants:
        (section, *_) = sections_of(field)
        default = None if is_optional or field.is_required() else field.get_default(call_default_factory=True)
        fields, groups = _inside(name, section, default)
        return FormGroup(name, _title(key), text, fields, groups, is_optional)
    listed = []
    for word, section in variants.items():
        fields, groups = _inside(name, section, None, without=chooser, input_path=f"{name}:{word}")
        listed.append((word, FormGroup(name, _title(word), _plain_text(section.__doc__ or ""), fields, groups)))
    default_word = str(getattr(field.default, chooser, "")) or listed[0][0]
    return FormGroup(
        name,
        _title(key),
        text,
        is_optional=is_optional,
        chooser=chooser,
        variants=tuple(listed),
        default_word=default_word,
    )


def _inside(
    path: str, section: type[BaseModel], default: Any, *, without: str = "", input_path: str = ""
) -> tuple[tuple[FormField, ...], tuple[FormGroup, ...]]:
    """The fields and groups of a section; ``default`` is the section as it is where nothing is given."""
    fields, groups = [], []
    for key, name in keys_of(section).items():
        if key == without:
            continue
        field = section.model_fields[name]
        if sections_of(field):
            groups.append(_group(f"{path}.{key}", key, field))
        else:
            made = _field(f"{path}.{key}", key, field, getattr(default, name, None))
            fields.append(replace(made, input=f"{input_path or path}.{key}"))
    return tuple(fields), tuple(groups)


def _field(name: str, key: str, field: FieldInfo, default: Any = None) -> FormField:
    marks = [*field.metadata, *_marks(field.annotation)]
    field_type = _type(field, marks)
    if default is None and not field.is_required():
        default = field.get_default(call_default_factory=True)
    return FormField(
        name=name,
        input=name,
        title=_title(key),
        help=_plain_text(field.description or ""),
        type=field_type,
        limits="" if field_type in {FieldType.CHOICE, FieldType.FLAG} else type_in_words(field).replace("`", ""),
        default="" if is_secret(field) else written(default, field_type),
        is_required=field.is_required(),
        choices=alternatives(field),
        known=_KNOWN.get(name, ()),
        least=next((float(mark.ge) for mark in marks if isinstance(mark, Ge)), None),  # type: ignore[arg-type]
        most=next((float(mark.le) for mark in marks if isinstance(mark, Le)), None),  # type: ignore[arg-type]
        most_entries=next((mark.max_length for mark in marks if isinstance(mark, MaxLen)), None),
    )


def _type(field: FieldInfo, marks: list[Any]) -> FieldType:  # noqa: C901, PLR0911 one return a type
    if any(isinstance(mark, Duration) for mark in field.metadata):
        return FieldType.DURATION
    if any(isinstance(mark, Size) for mark in field.metadata):
        return FieldType.SIZE
    plain = _plain(field.annotation)
    origin = get_origin(plain)
    if origin in {tuple, list, set, frozenset}:
        if is_secret(field):
            return FieldType.SECRETS
        return (
            FieldType.DURATIONS if any(isinstance(mark, Duration) for mark in _entry_marks(plain)) else FieldType.LIST
        )
    if origin is dict:
        return FieldType.MAP
    if origin is Literal:
        return FieldType.CHOICE
    if plain is bool:
        return FieldType.FLAG
    if any(isinstance(mark, Duration) for mark in marks):
        return FieldType.DURATION
    if any(isinstance(mark, Size) for mark in marks):
        return FieldType.SIZE
    if plain is int:
        return FieldType.WHOLE
    if plain is float:
        return FieldType.NUMBER
    if plain is SecretStr:
        return FieldType.SECRET
    return FieldType.PATH if plain is Path else FieldType.TEXT


def _plain(annotation: Any) -> Any:
    """The type itself: not annotated, not optional."""
    while get_origin(annotation) is Annotated or (
        NoneType in get_args(annotation) and get_origin(annotation) is not tuple
    ):
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _marks(annotation: Any) -> list[Any]:
    """What an optional or annotated type says beside the type."""
    found: list[Any] = []
    while get_origin(annotation) is Annotated or (
        NoneType in get_args(annotation) and get_origin(annotation) is not tuple
    ):
        if get_origin(annotation) is Annotated:
            for mark in annotation.__metadata__:
                found += mark.metadata if isinstance(mark, FieldInfo) else [mark]
        annotation = next(part for part in get_args(annotation) if part is not NoneType)
    return found


def _entry_marks(sequence: Any) -> list[Any]:
    entries = [part for part in get_args(sequence) if part is not ...]
    return _marks(entries[0]) if entries else []


def written(value: Any, field_type: FieldType) -> str:  # noqa: PLR0911 one return a type
    """A value as a person would write it; empty for nothing."""
    if value is None or value in ((), {}, []):
        return ""
    match field_type:
        case FieldType.DURATION:
            return format_duration(value)
        case FieldType.SIZE:
            return format_size(value)
        case FieldType.DURATIONS:
            return ", ".join(format_duration(each) for each in value)
        case FieldType.LIST:
            return ", ".join(map(str, value))
        case FieldType.MAP:
            return ", ".join(f"{key} = {each}" for key, each in value.items())
        case FieldType.FLAG:
            return "true" if value else "false"
        case _:
            return str(value)


def _plain_text(description: str) -> str:
    """A description without its links, which lead from one page of the documentation to another."""
    return _LINK.sub(r"\1", description).replace("``", "`")


def _title(key: str) -> str:
    words = _TITLES.get(key, key.replace("_", " "))
    return words[:1].upper() + words[1:]
