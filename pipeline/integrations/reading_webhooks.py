"""From the settings of one webhook to ``WebhookSettings``, or every mistake by its key."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from pipeline.config.load import location_of
from pipeline.config.tree import Location
from pipeline.config.words import explain
from pipeline.errors import InvalidChangeError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.reading import key_of
from pipeline.model.section import Origin

_LIST: Final = ("inbound", "webhooks", 0)


def read_webhook(settings: Mapping[str, Any]) -> WebhookSettings:
    """Read ``settings``, which hold what an entry of ``inbound.webhooks`` in ``faust.yml`` would hold.

    Raises ``InvalidChangeError`` with every mistake, each at its key.
    """
    if not isinstance(settings, Mapping):
        raise InvalidChangeError([("", "must be a section of keys, each as `key: value`")])
    data = {"inbound": {"webhooks": [dict(settings)]}}
    try:
        return WebhookSettings.model_validate(dict(settings), context=Origin.FILE, by_alias=True, by_name=False)
    except ValidationError as error:
        found: dict[Location, str] = {}
        for mistake in error.errors(include_url=False, include_input=False):
            location = location_of((*_LIST, *mistake["loc"]), data)
            found.setdefault(location, explain(mistake, location, data))
        raise InvalidChangeError(
            [(key_of(location[len(_LIST) :]), problem) for location, problem in found.items()]
        ) from None
