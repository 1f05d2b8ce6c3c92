"""The two families of things that are kept in table ``integrations``: what is the same of them, and what is not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config.describe import settings_of_kind
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.secrets import restored
from pipeline.integrations.webhook_secrets import restored_webhook
from pipeline.model.integration import Integration
from pipeline.model.section import Section

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """What imports, exports and comparisons must know of a family.

    ``place`` are the keys of ``faust.yml`` that lead to its list. ``class_of`` gives the class of settings, ``None`` where their
    kind is unknown. ``restored`` puts stored secrets (its second argument) where a change keeps them.
    """

    noun: str
    place: tuple[str, ...]
    class_of: Callable[[Settings], type[Section] | None]
    restored: Callable[[Settings, Settings], dict[str, Any]]

    @property
    def with_article(self) -> str:
        """The noun, for example ``an integration``."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"


def _restored(change: Settings, stored: Settings) -> dict[str, Any]:
    return restored(change, stored, settings_of_kind(change.get("kind")) or Integration)


INTEGRATIONS: Final = Family(
    "integration", ("integrations",), lambda settings: settings_of_kind(settings.get("kind")), _restored
)
WEBHOOKS: Final = Family("webhook", ("inbound", "webhooks"), lambda _: WebhookSettings, restored_webhook)
