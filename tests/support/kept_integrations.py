"""Integrations that are kept in memory by the rules that the leader goes by, for tests of what stands before it."""

import time
from typing import Any

import msgspec

from agents.view.integration_acts import IntegrationActs
from agents.view.pages.integration_edit import IntegrationForms
from agents.view.pages.integrations_api import IntegrationsApi
from agents.view.pages.openapi import OpenApi
from agents.view.pages.preview import PreviewPage
from agents.view.pages.webhooks_api import WebhooksApi
from agents.view.past_events import Asked, Read
from agents.view.server import View
from agents.view.webhook_acts import WebhookActs
from pipeline.clock import SystemClock
from pipeline.config.schema import Settings
from pipeline.inbound.secrets import new_secret
from pipeline.ingest.event import Event
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change, decide, recorded
from pipeline.integrations.kept import Kept
from pipeline.integrations.snapshot import Snapshot
from pipeline.integrations.stored import AuditEntry, Stored, StoredWebhook
from pipeline.integrations.webhooks import WebhookChange, decide_webhook
from pipeline.model.section import Origin


class KeptIntegrations:
    """What ``agents.integrations.Integrations`` is to the view, without Kafka behind it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept = Kept.of_file(settings)
        self.snapshot: Snapshot = self._kept.snapshot()

    async def apply(self, change: Change, actor: Actor) -> Stored:
        decided = decide(change, self._kept, self._settings, now_s=time.time(), actor=actor)
        self._kept.take(decided.rows)
        self.snapshot = self._kept.snapshot()
        return decided.stored

    async def apply_webhook(self, change: WebhookChange, actor: Actor) -> StoredWebhook:
        decided = decide_webhook(change, self._kept, now_s=time.time(), actor=actor, new_secret=new_secret)
        self._kept.take(decided.rows)
        self.snapshot = self._kept.snapshot()
        return decided.stored

    async def record(self, entry: AuditEntry) -> AuditEntry:
        rows, entry = recorded(entry, self._kept)
        self._kept.take(rows)
        return entry

    def audit(self) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(entry) for entry in self._kept.audit()]


class PlannedEvents:
    """Events of the past that a test has made up, as if the source topic held them."""

    def __init__(self, count: int = 100) -> None:
        self.events = [_event(number) for number in range(count)]

    async def read(self, asked: Asked, take: Any, *, now_s: float) -> Read:  # noqa: ARG002 as the real one is asked
        found = self.events[-asked.most_events :]
        take(found)
        return Read(records=len(self.events), read=len(found))


class Desk:
    """Everything that people do with integrations, on the routes where it is served."""

    def __init__(self, *integrations: dict[str, Any], inbound: dict[str, Any] | None = None, **outbound: Any) -> None:
        permitted = {"allow_http": True, "allow_networks": ["127.0.0.0/8"], **outbound}
        data = {"outbound": permitted, "integrations": [*integrations], "inbound": inbound}
        self.settings = Settings.model_validate(data, context=Origin.FILE)
        self.store = KeptIntegrations(self.settings)
        self.past = PlannedEvents()
        self.acts = IntegrationActs(self.store, self.settings.outbound, self.past, SystemClock())  # type: ignore[arg-type]
        self.webhooks = WebhookActs(self.store, self.settings.inbound)

    def register(self, view: View) -> None:
        IntegrationForms(self.acts).register(view)
        PreviewPage(self.acts).register(view)
        IntegrationsApi(self.acts).register(view)
        WebhooksApi(self.webhooks).register(view)
        OpenApi(view).register()


def _event(number: int) -> Event:
    name, platform = (("Email Sent", "Email"), ("Push Sent", "iOS"))[number % 2]
    return Event(
        event_name=name,
        platform=platform,
        application_code="A",
        timestamp=number,
        hwid=f"device-{number}",
        user_id=f"user-{number}",
        email="ana@mail.example",
        payload="<script>alert(1)</script>",
    )
