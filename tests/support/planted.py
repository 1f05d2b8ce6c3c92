"""Settings of every kind of sink with a secret of its own in every place that takes one, found by walking the models."""

import base64
import itertools
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from pipeline.model.integration import Integration
from pipeline.sinks.base import SinkSpec
from tests.contract.test_every_sink import OF_KIND

Place = tuple[str, ...]


@dataclass(frozen=True)
class Planted:
    """``data`` is what a file would hold; ``secrets`` are the planted texts by where they stand in it."""

    data: dict[str, Any]
    secrets: dict[Place, str]

    def read(self, spec: SinkSpec) -> Integration:
        return spec.settings.model_validate(self.data)

    def with_value(self, place: Place, value: Any) -> dict[str, Any]:
        """The data with another value at ``place``."""
        return _replaced(self.data, place, value)


def secret_places(model: type[BaseModel], above: Place = ()) -> set[Place]:
    """Where settings of ``model`` take secrets."""
    found: set[Place] = set()
    for name, field in model.model_fields.items():
        here = (*above, field.alias or name)
        leaves = _leaves(field.annotation)
        if SecretStr in leaves:
            found.add(here)
        for section in _sections(leaves):
            found |= secret_places(section, here)
    return found


def planted(spec: SinkSpec, url: str) -> list[Planted]:
    """Valid settings of ``spec`` that together have a secret in every place that may have one."""
    usual = {"id": "crm", "kind": spec.kind, "url": url, "events": "*", "platforms": "*", **OF_KIND.get(spec.kind, {})}
    found = [settled for each in _filled(spec.settings, url) if (settled := _settled(spec, {**each, **usual}))]
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _filled(model: type[BaseModel], url: str, above: Place = ()) -> Iterator[dict[str, Any]]:
    """What may be written for ``model``: its secrets, and what else must be given; every alternative once."""
    choices: list[tuple[str, list[Any]]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        leaves = _leaves(field.annotation)
        sections = [section for section in _sections(leaves) if secret_places(section)]
        if SecretStr in leaves:
            text = f"planted-{'-'.join((*above, key))}-7f3a9c"
            choices.append((key, [[text] if _is_list(field.annotation) else text]))
        elif sections:
            absent = [] if field.is_required() else [None]
            choices.append(
                (key, absent + [each for section in sections for each in _filled(section, url, (*above, key))])
            )
        elif key == "type" or field.is_required():
            choices.append((key, [_ordinary(key, field, url)]))
    for values in itertools.product(*(values for _, values in choices)):
        yield dict(zip((key for key, _ in choices), values, strict=True))


def _settled(spec: SinkSpec, data: dict[str, Any]) -> Planted | None:
    """Give secrets the form that their places want, and leave out what contradicts the rest."""
    for _ in range(5):
        try:
            spec.settings.model_validate(data)
        except ValidationError as error:
            for mistake in error.errors(include_url=False):
                place = tuple(str(step) for step in mistake["loc"] if not isinstance(step, int))
                place = (
                    place if place in secret_places(spec.settings) else tuple(p for p in place if not _is_tag(p, data))
                )
                if place == ("authorization",):
                    data.pop("authorization", None)
                else:
                    secret = "whsec_" + base64.b64encode(f"planted-{place}-7f3a9c-{'x' * 32}"[:32].encode()).decode()
                    data = _replaced(data, place, [secret] if isinstance(_at(data, place), list) else secret)
        else:
            return Planted(data, {place: _text(_at(data, place)) for place in _places_in(spec, data)})
    return None


def _places_in(spec: SinkSpec, data: dict[str, Any]) -> list[Place]:
    return [place for place in sorted(secret_places(spec.settings)) if _at(data, place) is not None]


def _is_tag(step: str, data: dict[str, Any]) -> bool:
    """Whether ``step`` is what pydantic adds to a location for the chosen member of a union."""
    return any(isinstance(value, dict) and value.get("type") == step for value in data.values())


def _at(data: Any, place: Place) -> Any:
    for step in place:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _text(value: Any) -> str:
    return value[0] if isinstance(value, list) else value


def _replaced(data: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    if not place:
        return data
    if len(place) == 1:
        return data | {place[0]: value}
    return data | {place[0]: _replaced(data.get(place[0]) or {}, place[1:], value)}


def _ordinary(key: str, field: FieldInfo, url: str) -> Any:
    words = [get_args(part) for part in _leaves(field.annotation) if get_origin(part) is Literal]
    if words:
        return words[0][0]
    return f"{url}token" if key.endswith("url") else "ana"


def _leaves(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _leaves(get_args(annotation)[0])
    if origin in (Union, types.UnionType, tuple, list):
        return [leaf for member in get_args(annotation) for leaf in _leaves(member)]
    return [annotation]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list) or any(map(_is_list, get_args(annotation)))


def _sections(leaves: list[Any]) -> list[type[BaseModel]]:
    return [leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, BaseModel)]
