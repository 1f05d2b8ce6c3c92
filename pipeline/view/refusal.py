"""Why an integration does not take an event: the first of its filters that is in the way, in words."""

from collections.abc import Iterable
from typing import Any, Final

from pipeline.ingest.event import Event
from pipeline.model.integration import EVERYTHING, Integration

_SHOWN_VALUES: Final = 3


def refusal(integration: Integration, event: Event) -> str | None:
    """What keeps a decoded ``event`` from ``integration``; ``None`` where it is taken."""
    if not integration.enabled:
        return "enabled: it is switched off"
    checks: tuple[tuple[str, Any, Iterable[str]], ...] = (
        ("events", event.event_name, integration.events),
        ("platforms", event.platform, integration.platforms),
        ("applications", event.application_code, integration.applications or (EVERYTHING,)),
        ("campaigns", event.campaign_code, integration.campaigns or (EVERYTHING,)),
        ("messages", event.message_code, integration.messages or (EVERYTHING,)),
    )
    for name, value, taken in checks:
        allowed = [*taken]
        if EVERYTHING not in allowed and value not in allowed:
            return f"{name}: takes {_listed(allowed)}; the event has {'none' if value is None else value}"
    if event.live_activity_id and not integration.live_activities:
        return "live_activities: it takes none"
    return None


def _listed(values: list[str]) -> str:
    shown = ", ".join(values[:_SHOWN_VALUES])
    return f"{shown} and {len(values) - _SHOWN_VALUES} more" if len(values) > _SHOWN_VALUES else shown
