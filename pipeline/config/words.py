"""Mistakes that pydantic found, in words: what is wrong, and what is allowed. Values are never part of them."""

import difflib
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.config.describe import alternatives, field_at, keys_of, section_at, variants_of
from pipeline.config.schema import KINDS, KINDS_TO_COME
from pipeline.config.tree import Location

_NOT_YET: Final = "is not available in this version"

# pydantic's name of a mistake -> the words; {..} are what pydantic says beside it.
_WORDS: Final = {
    "string_type": "must be text; put it in quotes",
    "string_unicode": "must be valid Unicode text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "is too small; at least {ge}",
    "less_than_equal": "is too large; at most {le}",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_long": "has too many entries; at most {max_length}",
    "too_short": "has too few entries; at least {min_length}",
    "model_type": "must be a section of keys, each as `key: value`",
    "model_attributes_type": "must be a section of keys, each as `key: value`",
    "dict_type": "must be a section of keys, each as `key: value`",
    "path_type": "must be the path of a file",
    "enum": "must be {expected}",
}


def explain(error: ErrorDetails, location: Location, data: Any) -> str:
    """Say what is wrong at ``location`` of ``data``, the whole tree that was read."""
    kind = error["type"]
    context = error.get("ctx", {})
    match kind:
        case "value_error":
            words = str(context["error"])
        case "missing":
            words = f"is missing{_meaning(field_at(location, data))}"
        case "extra_forbidden":
            words = _unknown_key(str(location[-1]), section_at(location[:-1], data))
        case "literal_error":
            field = field_at(location, data)
            words = _not_among(_at(location, data), alternatives(field) if field is not None else ())
        case "union_tag_invalid" | "union_tag_not_found":
            words = _unknown_variant(chooser(error), location, data)
        case _:
            words = _WORDS[kind].format_map(context) if kind in _WORDS else error["msg"]
    return words


def chooser(error: ErrorDetails) -> str:
    """The key whose word was to choose a section, where ``error`` is that there is no section for it."""
    return str(error["ctx"]["discriminator"]).strip("'")


def _unknown_variant(key: str, location: Location, data: Any) -> str:
    word = _at((*location, key), data)
    field = field_at(location, data) if len(location) > 1 else None
    variants = tuple(variants_of(field)) if field is not None else ()
    if not variants:
        return unknown_kind(word)
    return f"is missing; one of {', '.join(variants)}" if word is None else _not_among(word, variants)


def unknown_kind(kind: object) -> str:
    """Say why ``kind`` is no kind of integration."""
    available = f"available: {', '.join(KINDS)}"
    if kind is None:
        return f"is missing; {available}"
    if isinstance(kind, str) and kind in KINDS_TO_COME:
        return f"kind {kind} {_NOT_YET}; {available}"
    return f"is not a kind{_did_you_mean(kind, KINDS)}; {available}"


def _unknown_key(key: str, section: type[BaseModel] | None) -> str:
    known = keys_of(section) if section is not None else {}
    guess = _did_you_mean(key, known)
    return f"is not a key{guess}" if guess else f"is not a key; keys here: {', '.join(known)}"


def _not_among(value: object, allowed: tuple[str, ...]) -> str:
    return f"must be {' or '.join(allowed)}{_did_you_mean(value, allowed)}"


def _did_you_mean(written: object, known: Iterable[str]) -> str:
    if not isinstance(written, str) or len(written) > 64:  # noqa: PLR2004
        return ""
    close = difflib.get_close_matches(written.lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _meaning(field: FieldInfo | None) -> str:
    if field is None or field.description is None:
        return ", and it is required"
    description = field.description.partition(". ")[0].rstrip(".")
    return f": {description[0].lower()}{description[1:]}"


def _at(location: Location, data: Any) -> Any:
    for step in location:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data
