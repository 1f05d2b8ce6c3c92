"""From the settings of one integration to an ``Integration``, or every mistake by its key."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from pydantic import ValidationError

from pipeline.config.describe import settings_of_kind
from pipeline.config.load import location_of
from pipeline.config.schema import Outbound
from pipeline.config.tree import Location
from pipeline.config.words import explain, unknown_kind
from pipeline.errors import InvalidChangeError
from pipeline.model.integration import Integration
from pipeline.model.section import Origin

_LIST: Final = "integrations"
_TLS_FILES: Final = ("ca", "cert", "key")


def read_integration(settings: Mapping[str, Any], outbound: Outbound | None) -> Integration:
    """Read ``settings``, which hold what an entry of ``faust.yml`` would hold, with units and the like.

    ``outbound`` says where deliveries may go; without one that is not looked at. Raises ``InvalidChangeError`` with every
    mistake, each at its key.
    """
    if not isinstance(settings, Mapping):
        raise InvalidChangeError([("", "must be a section of keys, each as `key: value`")])
    data = {_LIST: [dict(settings)]}
    section = settings_of_kind(settings.get("kind"))
    if section is None:
        raise InvalidChangeError([("kind", unknown_kind(settings.get("kind")))])
    found: dict[Location, str] = {}
    integration = None
    try:
        integration = section.model_validate(data[_LIST][0], context=Origin.FILE, by_alias=True, by_name=False)
    except ValidationError as error:
        for mistake in error.errors(include_url=False, include_input=False):
            location = location_of((_LIST, 0, str(settings["kind"]), *mistake["loc"]), data)
            found.setdefault(location, explain(mistake, location, data))
    for place, problem in (*_refused(settings, outbound, section.url_keys), *_relative_files(settings)):
        found.setdefault((_LIST, 0, *place), problem)
    if found or integration is None:
        raise InvalidChangeError([(key_of(location[2:]), problem) for location, problem in found.items()])
    return integration


def key_of(location: Location) -> str:
    """A place in the settings as people write it: ``batch.max_events``."""
    return ".".join(text if (text := str(step)).isprintable() and text else repr(text) for step in location)


def _refused(
    settings: Mapping[str, Any], outbound: Outbound | None, keys: Iterable[tuple[str, ...]]
) -> Iterator[tuple[Location, str]]:
    """Each of ``keys`` that says to connect to where ``outbound`` does not permit it."""
    for place in keys:
        url: Any = settings
        for step in place:
            url = url.get(step) if isinstance(url, Mapping) else None
        refusal = outbound.refusal(url) if outbound is not None and isinstance(url, str) else None
        if refusal is not None:
            yield place, refusal


def _relative_files(settings: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Files are looked for on each worker, so there is no folder that a path could start from."""
    tls = settings.get("tls")
    if not isinstance(tls, Mapping):
        return
    for name in _TLS_FILES:
        path = tls.get(name)
        if isinstance(path, str) and path and not PurePath(path).is_absolute():
            yield ("tls", name), "must be an absolute path, the same on every worker"
