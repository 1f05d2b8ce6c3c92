"""An integration, or a webhook, as ``faust.yml`` would hold it: only what was given, with units, secrets in plain text."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from pipeline.config.describe import keys_of
from pipeline.model.integration import Integration
from pipeline.model.section import Section


def settings_of(section: Section, *, with_defaults: bool = False) -> dict[str, Any]:
    """The settings that make ``section``, an integration or a webhook. They hold its secrets: mask them before anybody sees them.

    ``with_defaults`` adds what was not given, so that two of them can be compared.
    """
    settings = section.model_dump(
        mode="json", by_alias=True, exclude_unset=not with_defaults, exclude_none=with_defaults
    )
    _reveal(section, settings)
    if with_defaults or not isinstance(section, Integration):
        return settings
    if "url" in settings and _url_follows_from_the_rest(section):
        del settings["url"]
    return settings


def _url_follows_from_the_rest(integration: Integration) -> bool:
    """Whether the kind made the URL from another key, beside which it must not be given once that one changes."""
    section = type(integration)
    if section.model_fields["url"].is_required():
        return False
    given = {name: getattr(integration, name) for name in integration.model_fields_set if name != "url"}
    try:
        return section.model_validate(given).url == integration.url
    except ValidationError:
        return False


def _reveal(section: BaseModel, written: dict[str, Any]) -> None:
    """Put secrets where pydantic wrote asterisks."""
    for key, name in keys_of(type(section)).items():
        if key not in written:
            continue
        value = getattr(section, name)
        if isinstance(value, SecretStr):
            written[key] = value.get_secret_value()
        elif isinstance(value, tuple) and any(isinstance(each, SecretStr) for each in value):
            written[key] = [*_revealed(value)]
        elif isinstance(value, BaseModel):
            _reveal(value, written[key])


def _revealed(values: Iterable[Any]) -> Iterable[Any]:
    return (each.get_secret_value() if isinstance(each, SecretStr) else each for each in values)
