"""All integrations and webhooks that are in force at one moment: those of ``faust.yml`` and those that are stored."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.stored import Stored, StoredWebhook
from pipeline.model.integration import Integration


class Entry(NamedTuple):
    """An integration, and where it comes from.

    ``stored`` is what is stored under its id. An entry from the file may have that too: the file wins.
    """

    integration: Integration
    origin: Literal["file", "stored"]
    stored: Stored | None = None

    @property
    def id(self) -> str:
        """The integration's."""
        return self.integration.id


class WebhookEntry(NamedTuple):
    """An inbound webhook, and where it comes from; ``stored`` as in ``Entry``.

    It is the same object in every snapshot until the webhook changes.
    """

    settings: WebhookSettings
    origin: Literal["file", "stored"]
    stored: StoredWebhook | None = None

    @property
    def id(self) -> str:
        """The webhook's."""
        return self.settings.id

    @property
    def made(self) -> int:
        """The revision under which it was made; 0 where it stands in ``faust.yml``."""
        return 0 if self.stored is None else self.stored.made


class Snapshot:
    """The integrations in force, by id: those of ``faust.yml`` in its order, then those stored. Never changes.

    ``revision`` is that of the last change, or audited act, that it knows of. ``webhooks`` are the inbound ones by id, in the
    same order.
    """

    __slots__ = ("_by_id", "_kinds", "revision", "webhooks")

    def __init__(
        self,
        revision: int,
        by_id: Mapping[str, Entry],
        kinds: Mapping[str, str] | None = None,
        webhooks: Mapping[str, WebhookEntry] | None = None,
    ) -> None:
        self.revision = revision
        self.webhooks: Mapping[str, WebhookEntry] = webhooks or {}
        self._by_id = by_id
        self._kinds = kinds or {}

    @classmethod
    def of_file(cls, integrations: Iterable[Integration]) -> "Snapshot":
        """Those of ``faust.yml`` alone."""
        return cls(0, {each.id: Entry(each, "file") for each in integrations})

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them: those of the file as they stand there, then those stored, by id."""
        file = [entry for entry in self._by_id.values() if entry.origin == "file"]
        stored = [entry for entry in self._by_id.values() if entry.origin == "stored"]
        return (*file, *sorted(stored, key=lambda entry: entry.integration.id))

    @property
    def integrations(self) -> tuple[Integration, ...]:
        """All of them, without where they come from."""
        return tuple(entry.integration for entry in self.entries)

    def by_id(self) -> Mapping[str, Entry]:
        """All of them, by id."""
        return self._by_id

    def get(self, integration: str) -> Entry | None:
        """The one of this id."""
        return self._by_id.get(integration)

    def __contains__(self, integration: str) -> bool:
        return integration in self._by_id

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self._by_id)

    def kind_of(self, integration: str) -> str | None:
        """Of what kind an integration is, or was before it was removed; ``None`` where that is not known."""
        entry = self._by_id.get(integration)
        return entry.integration.kind if entry is not None else self._kinds.get(integration)

    def changes_from(self, before: "Snapshot") -> dict[str, Integration | None]:
        """What is not as it was ``before``: by id the integration in force now, ``None`` where there is none any more."""
        changes: dict[str, Integration | None] = {name: None for name in before.by_id() if name not in self._by_id}
        for name, entry in self._by_id.items():
            known = before.get(name)
            if known is None or known.integration is not entry.integration:
                changes[name] = entry.integration
        return changes

    def webhook_changes_from(self, before: "Snapshot") -> dict[str, WebhookEntry | None]:
        """Which webhooks are not as they were ``before``: by id the one in force now, ``None`` where there is none any more."""
        changes: dict[str, WebhookEntry | None] = {name: None for name in before.webhooks if name not in self.webhooks}
        for name, entry in self.webhooks.items():
            known = before.webhooks.get(name)
            if known is None or known.settings is not entry.settings:
                changes[name] = entry
        return changes
