"""What people may do with inbound webhooks: the same for the API and for the forms."""

import asyncio
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Protocol

from agents.view.imports import Applied, carry_out
from agents.view.integration_acts import actor_of
from agents.view.visit import Visit
from pipeline.errors import InvalidChangeError, NotFoundError
from pipeline.inbound.secrets import header_value
from pipeline.inbound.settings import IDENTIFY_LABELS, InboundSettings, WebhookSettings
from pipeline.integrations.audit import Actor
from pipeline.integrations.families import WEBHOOKS
from pipeline.integrations.naming import id_for
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.secrets import masked
from pipeline.integrations.snapshot import Snapshot, WebhookEntry
from pipeline.integrations.stored import StoredWebhook
from pipeline.integrations.webhook_secrets import SECRET, USUAL_VALID_FOR_S
from pipeline.integrations.webhooks import WebhookAction, WebhookChange
from pipeline.integrations.written import settings_of
from pipeline.integrations.yaml_reading import Fate, Imported, ImportPlan, Known
from pipeline.integrations.yaml_text import export_yaml, plan_import
from pipeline.view.columns import Column, Kind, Personal, Row
from pipeline.view.mask_payload import payload_text
from pipeline.view.sample import mask_webhook, unmask_webhook

COLUMNS: Final = (
    Column("id", "Webhook", Kind.CODE, "Its name in its URL.", link="/webhooks/{id}"),
    Column("name", "Name", Kind.TEXT, "What people call it."),
    Column("event", "Event", Kind.TEXT, "The event that a request fires."),
    Column("application", "Application", Kind.CODE, "The application that the event and its user belong to."),
    Column("identify_by", "Identify by", Kind.STATE, f"What users are looked for by: {', '.join(IDENTIFY_LABELS)}."),
    Column("enabled", "Enabled", Kind.FLAG, "Whether it takes requests."),
    Column("origin", "Origin", Kind.STATE, "file: from faust.yml, read-only; stored: made here."),
    Column("url", "URL", Kind.TEXT, "Where it is called; none while there is no section inbound in faust.yml."),
    Column(
        "previous_until", "Previous secret until", Kind.TIME, "Until when the secret before the current one is taken."
    ),
    Column("revision", "Revision", Kind.INTEGER, "That of its last change; none for those of the file."),
    Column("changed_at", "Changed", Kind.TIME, "When it was changed last."),
    Column("changed_by", "By", Kind.TEXT, "Who changed it last."),
)
"""A webhook in lists, without its settings."""

_PAGES: Final = frozenset({"new", "import", "requests"})


class WebhookStore(Protocol):
    """Where webhooks are kept, as far as people's acts need it: ``agents.integrations.Integrations``."""

    @property
    def snapshot(self) -> Snapshot: ...  # noqa: D102

    async def apply_webhook(self, change: WebhookChange, actor: Actor) -> StoredWebhook:
        """Make a change; returns once it is in force on this worker."""
        ...


class WebhookActs:
    """Reads and changes webhooks for whoever is signed in; roles are checked before.

    ``inbound`` is the section of ``faust.yml``; without one webhooks can be made, and have no URL yet.
    """

    def __init__(self, store: WebhookStore, inbound: InboundSettings | None) -> None:
        self._store = store
        self._inbound = inbound
        self._rows_of = lru_cache(maxsize=1)(self._make_rows)

    # looking

    @property
    def snapshot(self) -> Snapshot:
        """What is in force."""
        return self._store.snapshot

    def rows(self) -> list[Row]:
        """All webhooks by ``COLUMNS``; made once for each snapshot."""
        return self._rows_of(self.snapshot)

    def entry(self, name: str) -> WebhookEntry:
        """The webhook of this id; raises ``NotFoundError``."""
        webhooks = self.snapshot.webhooks
        entry = webhooks.get(name)
        if entry is None:
            close = difflib.get_close_matches(name[:64], webhooks, n=1)
            guess = f"; did you mean {close[0]}?" if close else ""
            raise NotFoundError(f"there is no webhook {name[:64]}{guess}")
        return entry

    def shown(self, entry: WebhookEntry, visit: Visit) -> dict[str, Any]:
        """A webhook for machines, its secrets masked, and its sample as the visitor may see it."""
        settings = mask_webhook(masked(written(entry), WebhookSettings), visit.masks)
        return self._row(entry) | {"settings": settings}

    def url(self, name: str) -> str | None:
        """Where a webhook is called."""
        return None if self._inbound is None else self._inbound.url_of(name)

    # changing

    async def create(self, settings: Mapping[str, Any], visit: Visit) -> StoredWebhook:
        """Make a new one. Its id may stand in the settings, else it is made of its name; its secret likewise is made."""
        given = dict(settings)
        title = given.get("name")
        if given.get("id") is None and isinstance(title, str):
            given["id"] = id_for(title, self.snapshot.webhooks.keys() | _PAGES)
        name = given.get("id")
        if not isinstance(name, str) or not name:
            problem = (
                "is missing: the webhook's name in its URL, 1 to 64 of a-z, 0-9 and -; or give a name to make it of"
            )
            raise InvalidChangeError([("id", problem)])
        if name in _PAGES:
            raise InvalidChangeError([("id", f"{name} is the address of a page here; choose another id")])
        return await self._apply(visit, "create", name, given)

    async def replace(
        self, name: str, settings: Mapping[str, Any], expected: int | None, visit: Visit
    ) -> StoredWebhook:
        """Put other settings in the place of all it has, but for secrets that they do not name."""
        entry = self.snapshot.webhooks.get(name)
        if entry is not None:
            settings = unmask_webhook(settings, written(entry), visit.masks)
        return await self._apply(visit, "replace", name, {"id": name, **settings}, expected)

    async def switch(self, name: str, expected: int | None, visit: Visit, *, is_on: bool) -> StoredWebhook:
        """Enable or disable it."""
        return await self._apply(visit, "enable" if is_on else "disable", name, None, expected)

    async def delete(self, name: str, expected: int | None, visit: Visit) -> StoredWebhook:
        """Remove it."""
        return await self._apply(visit, "delete", name, None, expected)

    async def rotate(
        self, name: str, expected: int | None, visit: Visit, *, valid_for_s: float = USUAL_VALID_FOR_S
    ) -> StoredWebhook:
        """Give it a new secret; the one until now stays valid for ``valid_for_s`` seconds."""
        change = WebhookChange("rotate", name, None, expected, valid_for_s)
        return await self._store.apply_webhook(change, actor_of(visit))

    async def _apply(
        self,
        visit: Visit,
        action: WebhookAction,
        name: str,
        settings: Mapping[str, Any] | None,
        expected: int | None = None,
    ) -> StoredWebhook:
        change = WebhookChange(action, name, None if settings is None else dict(settings), expected)
        return await self._store.apply_webhook(change, actor_of(visit))

    # in and out

    def export(self, names: Iterable[str], visit: Visit) -> Iterator[str]:
        """The YAML of all webhooks, or of those named, a piece at a time. Raises ``NotFoundError`` before the first."""
        entries = [self.entry(name) for name in names] or [*self.snapshot.webhooks.values()]
        return export_yaml((mask_webhook(written(entry), visit.masks) for entry in entries), WEBHOOKS)

    async def plan(self, text: str, variables: Mapping[str, str], visit: Visit) -> ImportPlan:
        """What an import of ``text`` would do; a sample that is as the visitor was shown it stays what it is."""
        webhooks, masks = self.snapshot.webhooks, visit.masks

        def known(name: str) -> Known | None:
            entry = webhooks.get(name)
            return None if entry is None else _known(entry)

        def restored(change: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
            return WEBHOOKS.restored(unmask_webhook(change, stored, masks), stored)

        # As with integrations: reading megabytes of YAML takes seconds, and events flow on this loop.
        plan = await asyncio.to_thread(
            plan_import, text, variables, known, read_webhook, replace(WEBHOOKS, restored=restored)
        )
        return plan if not masks else replace(plan, entries=tuple(_masked(each, masks) for each in plan.entries))

    async def carry_out(self, plan: ImportPlan, visit: Visit) -> list[Applied]:
        """Do what ``plan`` says; raises ``InvalidChangeError`` where it has mistakes."""

        async def change(imported: Imported) -> None:
            action: WebhookAction = "create" if imported.fate is Fate.CREATE else "replace"
            await self._apply(visit, action, imported.id, imported.settings, imported.revision)

        return await carry_out(plan, change)

    def _make_rows(self, snapshot: Snapshot) -> list[Row]:
        return [self._row(entry) for entry in snapshot.webhooks.values()]

    def _row(self, entry: WebhookEntry) -> Row:
        settings, stored = entry.settings, entry.stored if entry.origin == "stored" else None
        return {
            "id": settings.id,
            "name": settings.name,
            "event": settings.event,
            "application": settings.application,
            "identify_by": settings.identify.by,
            "enabled": settings.enabled,
            "origin": entry.origin,
            "url": self.url(settings.id),
            "previous_until": settings.previous_until_s,
            "revision": None if stored is None else stored.revision,
            "changed_at": None if stored is None else stored.changed_at,
            "changed_by": None if stored is None else stored.changed_by,
        }


def written(entry: WebhookEntry) -> dict[str, Any]:
    """The settings of a webhook, its secrets in plain text."""
    if entry.origin == "stored" and entry.stored is not None:
        return dict(entry.stored.settings)
    return settings_of(entry.settings)


def authorization_of(stored: StoredWebhook) -> str:
    """What callers put into ``Authorization``: to be shown once, when the secret was made."""
    return header_value(str(stored.settings[SECRET]))


def _masked(imported: Imported, masks: frozenset[Personal]) -> Imported:
    """With samples in what would change as they may be shown."""
    shown = tuple(
        each
        if each.key != "sample"
        else each._replace(before=payload_text(each.before or "", masks), after=payload_text(each.after or "", masks))
        for each in imported.differences
    )
    return replace(imported, differences=shown)


def _known(entry: WebhookEntry) -> Known:
    revision = entry.stored.revision if entry.stored is not None else 0
    return Known(entry.settings, written(entry), revision, is_read_only=entry.origin == "file")
