"""What a filter would have caught, as tables; and the page that shows it for a saved integration."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from agents.view.integration_acts import IntegrationActs, Previewed
from agents.view.past_events import HOUR_S, MOST_EVENTS, USUAL_EVENTS, Asked
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.asyncapi.schemas import FIELDS
from pipeline.errors import ViewQueryError
from pipeline.ingest.event import Event
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.page import Page, Section

MINUTES: Final = (15, 60, 360, 1440)
COUNTS: Final = (2_000, USUAL_EVENTS, 100_000)

_MOST_MINUTES: Final = 60 * 24 * 31
_PERSONAL: Final = {
    "hwid": Personal.HWID,
    "device_id": Personal.HWID,
    "user_id": Personal.USER_ID,
    "profile_id": Personal.USER_ID,
    "email": Personal.EMAIL,
    "payload": Personal.PAYLOAD,
}
_FIRST: Final = ("timestamp", "event_name", "platform", "application_code", "campaign_code", "message_code", "user_id")
_NAMES: Final = (
    Column("event_name", "Event", help="Name of the events."),
    Column("events", "Matching", Kind.INTEGER, "How many of the events read would have been sent."),
    Column("estimate", "About, in all", Kind.INTEGER, "How many that would be of all events in the stretch of time."),
)
_PLATFORMS: Final = (Column("platform", "Platform", help="Where they happened."), *_NAMES[1:])
_KEPT_AWAY: Final = (
    Column("filter", "Filter", Kind.CODE, "The key of the settings."),
    Column(
        "events", "More without it", Kind.INTEGER, "How many more of the events read would match without this filter."
    ),
    _NAMES[2],
)
_SAMPLES: Final[Columns] = tuple(
    Column(
        name,
        name.replace("_", " ").capitalize(),
        Kind.TIME if name == "timestamp" else Kind.TEXT,
        FIELDS[name],
        is_wide=name not in _FIRST,
        personal=_PERSONAL.get(name),
    )
    for name in (*_FIRST, *(each for each in Event.__struct_fields__ if each not in _FIRST))
)


class PreviewPage:
    """``/integrations/{id}/preview``."""

    def __init__(self, acts: IntegrationActs) -> None:
        self._acts = acts

    def register(self, view: View) -> None:
        """Add the page to the view."""
        view.page("/integrations/{id}/preview", self.show)

    async def show(self, visit: Visit) -> Page:
        """What the saved filter would have caught."""
        entry = self._acts.entry(visit.match["id"])
        asked = asked_of(dict(visit.parameters))
        previewed = await self._acts.preview(entry.integration, asked, visit)
        return Page(
            f"Preview of {entry.integration.id}",
            "integration_preview.html",
            sections_of(previewed),
            facts_of(previewed),
            {"entry": entry, "asked": asked, "lead": sentence_of(previewed), "minutes": MINUTES, "counts": COUNTS},
        )


def asked_of(parameters: Mapping[str, str]) -> Asked:
    """Which events: ``minutes`` back (``latest``: whenever they came), at most ``events``; raises ``ViewQueryError``."""
    minutes, events = parameters.get("minutes") or "60", parameters.get("events") or str(USUAL_EVENTS)
    if not events.isascii() or not events.isdigit() or not 1 <= int(events[:9]) <= MOST_EVENTS:
        raise ViewQueryError(f"events: must be a whole number from 1 to {MOST_EVENTS}")
    if minutes == "latest":
        return Asked(None, int(events))
    if not minutes.isascii() or not minutes.isdigit() or not 1 <= int(minutes[:9]) <= _MOST_MINUTES:
        raise ViewQueryError(f"minutes: must be a whole number from 1 to {_MOST_MINUTES}, or latest")
    return Asked(int(minutes) * 60.0, int(events))


def facts_of(previewed: Previewed) -> dict[str, Any]:
    """The figures above the tables."""
    found, read = previewed
    facts = {
        "matching": found.matching,
        "events_read": read.read,
        "events_in_that_time": read.records,
        "about_in_all": read.estimate(found.matching),
    }
    return facts if read.unusable == 0 else facts | {"unusable_records": read.unusable}


def sentence_of(previewed: Previewed) -> str:
    """What was found, and how far it is to be trusted."""
    found, read = previewed
    if not read.records:
        return "There are no events in that time, so nothing can be said; try a longer time or the latest events."
    share = f"{found.matching} of {found.events} events would have been sent"
    if read.is_whole:
        return f"{share}. All events of that time were read."
    late = ", as many as there was time for" if read.is_late else ""
    return (
        f"{share}: that is about {read.estimate(found.matching)} of all {read.records} in that time. "
        f"{read.read} were read{late}, in stretches spread over the time."
    )


def sections_of(previewed: Previewed) -> list[Section]:
    """The counts and samples as tables."""
    found, read = previewed

    def counted(name: str, counts: Mapping[str, int]) -> list[Row]:
        return [{name: key, "events": count, "estimate": read.estimate(count)} for key, count in counts.items()]

    samples = "The latest events that match." if found.samples else "No event matches."
    return [
        Section("by_event_name", _NAMES, _each(counted("event_name", found.by_event_name)), "Matching events by name."),
        Section(
            "by_platform", _PLATFORMS, _each(counted("platform", found.by_platform)), "Matching events by platform."
        ),
        Section(
            "kept_away",
            _KEPT_AWAY,
            _each(counted("filter", found.kept_away)),
            "How many more would match if one filter were left out.",
        ),
        Section("samples", _SAMPLES, _each(found.samples), samples),
    ]


async def _each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


USUAL: Final = Asked(HOUR_S, USUAL_EVENTS)
