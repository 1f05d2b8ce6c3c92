"""What people write into a form, as settings of ``faust.yml``, and back.

A submitted form is flat: texts by the names of inputs. An empty field is an absent key, so a default that changes later
changes for it too; of a list, ``[]`` stands for an empty one where that is not the same. Nothing is checked here: what
comes out is read like a configuration, whose mistakes go back to their fields.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.integrations.form import FieldType, FormField, FormGroup, FormSpec
from pipeline.integrations.secrets import KEEP

ON: Final = "true"
"""The value of a flag that is set, and of an optional group that is used."""

EMPTY_LIST: Final = "[]"

_LISTS: Final = frozenset({FieldType.LIST, FieldType.DURATIONS})
_YES: Final = frozenset({"true", "on", "1", "yes"})
_LONGEST_NUMBER: Final = 18


@dataclass(frozen=True, slots=True)
class FormMistakes:
    """What is wrong, by the input that it is wrong in; ``elsewhere`` are mistakes that no input can show."""

    by_input: Mapping[str, tuple[str, ...]]
    elsewhere: tuple[tuple[str, str], ...]


def parse_form(form: FormSpec, given: Mapping[str, str]) -> dict[str, Any]:
    """The settings that a submitted form means."""
    settings: dict[str, Any] = {"kind": form.kind}
    for group in form.groups:
        if group.name:
            _put(settings, group.name, _section(group, given))
        else:
            _read_fields(group.fields, given, settings)
            for inner in group.groups:
                _put(settings, inner.name, _section(inner, given))
    return settings


def fill_form(form: FormSpec, settings: Mapping[str, Any]) -> dict[str, str]:
    """What the inputs hold for ``settings``; secrets must be masked in them already. Empty where a key is absent."""
    values: dict[str, str] = {}
    for group in form.groups:
        _fill(group, settings if not group.name else settings.get(group.name), values)
    return values


def mistakes_of(form: FormSpec, problems: Iterable[tuple[str, str]], given: Mapping[str, str]) -> FormMistakes:
    """Find the inputs of ``problems``, which are pairs of a key and what is wrong with it."""
    inputs = dict(_inputs(form, given))
    by_input: dict[str, list[str]] = {}
    elsewhere: list[tuple[str, str]] = []
    for key, problem in problems:
        name, entry = key, ""
        while name and name not in inputs:
            name, _, last = name.rpartition(".")
            entry = last
        if not name:
            elsewhere.append((key, problem))
        elif entry.isdigit():
            by_input.setdefault(inputs[name], []).append(f"entry {int(entry) + 1}: {problem}")
        else:
            by_input.setdefault(inputs[name], []).append(problem)
    return FormMistakes({name: tuple(found) for name, found in by_input.items()}, tuple(elsewhere))


def is_used(group: FormGroup, values: Mapping[str, str]) -> bool:
    """Whether anything in ``group`` is, or has to be, other than it would be by itself."""
    if group.is_main or values.get(group.name, "") in _YES:
        return True
    if group.chooser and values.get(f"{group.name}.{group.chooser}", group.default_word) != group.default_word:
        return True
    return any(
        (values.get(field.input, "") in _YES) is not (field.default == ON)
        if field.type is FieldType.FLAG
        else bool(values.get(field.input)) or (field.is_required and not group.is_optional and not group.chooser)
        for field in group.all_fields()
    )


def without_secrets(form: FormSpec, given: Mapping[str, str]) -> dict[str, str]:
    """What may be shown again of a submitted form: all but secrets that were written into it."""
    shown = dict(given)
    for field in (field for group in form.groups for field in group.all_fields()):
        if field.type in {FieldType.SECRET, FieldType.SECRETS}:
            lines = _lines(shown.pop(field.input, ""))
            shown[field.input] = "\n".join(line for line in lines if line.startswith(KEEP))
    return shown


def split_list(text: str) -> list[str]:
    """Entries of a text, one a line or with commas; one that holds a comma itself stands in quotation marks."""
    return [entry for line in _lines(text) for entry in _cells(line, ",") if entry]


def join_list(entries: Iterable[Any]) -> str:
    """The text that ``split_list`` takes apart, with an entry a line."""
    return "\n".join(_quoted(str(entry), ",") for entry in entries)


def _section(group: FormGroup, given: Mapping[str, str]) -> dict[str, Any] | None:
    """What a section's inputs hold; nothing where it is switched off, or all of it is as it would be anyway."""
    if group.is_optional and given.get(group.name, "") not in _YES:
        return None
    section: dict[str, Any] = {}
    if group.chooser:
        word = given.get(f"{group.name}.{group.chooser}", "") or group.default_word
        chosen = dict(group.variants).get(word)
        if word == group.default_word and not group.is_optional and (chosen is None or not [*chosen.all_fields()]):
            return None
        section[group.chooser] = word
        group = chosen or FormGroup(group.name, group.title)
    _read_fields(group.fields, given, section)
    for inner in group.groups:
        _put(section, inner.name, _section(inner, given))
    return section or ({} if group.is_optional else None)


def _read_fields(fields: Iterable[FormField], given: Mapping[str, str], section: dict[str, Any]) -> None:
    for field in fields:
        value = _value(field, given.get(field.input, ""))
        if value is not None:
            section[field.key] = value


def _value(field: FormField, text: str) -> Any:  # noqa: PLR0911 one return a type
    if field.type is FieldType.FLAG:
        is_set = text.strip().lower() in _YES
        return None if is_set is (field.default == ON) and not field.is_required else is_set
    if not text.strip():
        return None
    if field.type in _LISTS:
        return [] if text.strip() == EMPTY_LIST else split_list(text)
    if field.type is FieldType.SECRETS:
        return [*_lines(text)]
    if field.type is FieldType.MAP:
        return dict(_pair(line) for line in _lines(text))
    if field.type is FieldType.SECRET:
        return text  # what stands around it may be a mistake, which is then said
    return _number(text.strip(), field.type)


def _number(text: str, field_type: FieldType) -> int | float | str:
    """``text`` as a number where one is wanted and it is one."""
    if field_type not in {FieldType.WHOLE, FieldType.NUMBER} or not text.isascii() or len(text) > _LONGEST_NUMBER:
        return text
    if text.removeprefix("-").isdigit():
        return int(text)
    whole, point, fraction = text.partition(".")
    is_number = field_type is FieldType.NUMBER and point and whole.isdigit() and fraction.isdigit()
    return float(text) if is_number else text


def _fill(group: FormGroup, section: Any, values: dict[str, str]) -> None:
    is_given = isinstance(section, Mapping)
    known: Mapping[str, Any] = section if is_given else {}
    if group.is_optional and is_given:
        values[group.name] = ON
    if group.chooser:
        word = known.get(group.chooser)
        word = word if isinstance(word, str) else group.default_word
        values[f"{group.name}.{group.chooser}"] = word
        group = dict(group.variants).get(word) or FormGroup(group.name, group.title)
    for field in group.fields:
        text = _text(field, known.get(field.key))
        if text:
            values[field.input] = text
    for inner in group.groups:
        _fill(inner, known.get(inner.name.rpartition(".")[2]), values)


def _text(field: FormField, value: Any) -> str:
    if field.type is FieldType.FLAG:
        is_set = field.default == ON if value is None else value in (True, *_YES)
        return ON if is_set else ""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "\n".join(f"{_quoted(str(key), '=')} = {_quoted(str(each), '=')}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value and field.type in _LISTS and not field.is_required and field.default:
            return EMPTY_LIST
        return "\n".join(map(str, value)) if field.type is FieldType.SECRETS else join_list(value)
    return str(value)


def _inputs(form: FormSpec, given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every key with its input; of variants only those of the one that was chosen."""
    waiting = [*form.groups]
    while waiting:
        group = waiting.pop()
        yield from ((field.name, field.input) for field in group.fields)
        waiting += group.groups
        if group.name and (group.is_optional or group.chooser):
            yield group.name, group.name
        if group.chooser:
            chooser = f"{group.name}.{group.chooser}"
            yield chooser, chooser
            waiting += [inner for word, inner in group.variants if word == (given.get(chooser) or group.default_word)]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _pair(line: str) -> tuple[str, str]:
    name, *rest = _cells(line, "=")
    return name, "=".join(rest)


def _cells(line: str, separator: str) -> list[str]:
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True)
    except csv.Error:  # longer than the module takes: no name is, and the settings say so
        return [line]
    return [cell.strip() for cell in cells]


def _quoted(entry: str, separator: str) -> str:
    if separator not in entry and '"' not in entry:
        return entry
    doubled = entry.replace('"', '""')
    return f'"{doubled}"'


def _put(settings: dict[str, Any], name: str, section: dict[str, Any] | None) -> None:
    if section is not None:
        settings[name.rpartition(".")[2]] = section
