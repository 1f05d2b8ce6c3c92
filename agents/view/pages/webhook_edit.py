"""The form of a webhook, new or changed. It works without script; with it, a click on a field of the sample fills a row."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents.view.inbound_parts import InboundParts
from agents.view.pages.browsing import each
from agents.view.pages.webhook import ONE, WebhookPages
from agents.view.revisions import expected_revision, tag_of
from agents.view.server import View, Visit
from agents.view.visit import Done
from pipeline.errors import ConflictError, ForbiddenError, InvalidChangeError, ViewQueryError
from pipeline.inbound.settings import IDENTIFY_LABELS, WebhookSettings
from pipeline.integrations.form_values import FormMistakes
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.snapshot import WebhookEntry
from pipeline.integrations.webhook_form import (
    WebhookDraft,
    draft_of,
    mistakes_of_draft,
    read_draft,
    sample_of,
    settings_of_draft,
)
from pipeline.integrations.webhook_trial import WebhookTrial, try_sample
from pipeline.model.platforms import PLATFORMS
from pipeline.traffic import EVENT_NAMES
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.mask_payload import payload_text
from pipeline.view.page import Page, Section
from pipeline.view.roles import Role

NEW: Final = "/webhooks/new"
DRAFT_ID: Final = "draft"
DRAFT_SECRET: Final = "a-draft-has-no-secret"  # noqa: S105 it stands where a trial needs any

_TITLES: Final = {
    "id": "Id",
    "name": "Name",
    "event": "Event",
    "application": "Application",
    "platform": "Platform",
    "identify.by": "Identify users by",
    "identify.field": "Payload field",
    "sample": "Sample payload",
}
_MEANINGS: Final = {
    "user_id": "the user's id.",
    "email": "an address of e-mail.",
    "phone": "a phone number.",
    "hwid": "a device, browser or email identifier.",
}
_FIELDS: Final[Columns] = (
    Column("path", "Path", Kind.CODE, "How the field is written.", is_sortable=False),
    Column("value", "Value", Kind.JSON, "What the sample holds there.", is_sortable=False),
    Column("attribute", "Attribute", Kind.CODE, "Which event attribute it fills.", is_sortable=False),
)
_NO_MISTAKES: Final = FormMistakes({}, ())


class WebhookForms:
    """Shows the forms and does what they are sent for."""

    def __init__(self, parts: InboundParts, pages: WebhookPages) -> None:
        self._parts = parts
        self._pages = pages

    def register(self, view: View) -> None:
        """Put them on ``view``, before the pages of single webhooks."""
        view.page(NEW, self.new)
        view.action(NEW, self.submit_new, Role.VIEWER)
        view.page(f"{ONE}/edit", self.edit)
        view.action(f"{ONE}/edit", self.submit_edit, Role.VIEWER)

    async def new(self, _visit: Visit) -> Page:
        """The form of a new webhook."""
        return self._page(None, WebhookDraft({"identify.by": "user_id"}))

    async def submit_new(self, visit: Visit) -> Page | Done:
        """Create it, read its sample, or show the event that it would fire."""
        return await self._submitted(None, visit)

    async def edit(self, visit: Visit) -> Page:
        """The form with what a webhook has."""
        entry = self._parts.acts.entry(visit.match["id"])
        draft = draft_of(_settings(entry))
        if visit.masks:
            masked = payload_text(draft.text("sample"), visit.masks)
            draft = WebhookDraft({**draft.texts, "sample": masked}, draft.rows, draft.is_enabled)
        return self._page(entry, draft)

    async def submit_edit(self, visit: Visit) -> Page | Done:
        """Change it, read its sample, or show the event that it would fire."""
        return await self._submitted(self._parts.acts.entry(visit.match["id"]), visit)

    async def _submitted(self, entry: WebhookEntry | None, visit: Visit) -> Page | Done:
        """Do what the button says that was pressed; mistakes come back beside their inputs."""
        draft, act = read_draft(visit.form), visit.form.get("act", "save")
        try:
            match act.partition("."):
                case ("sample", _, _):
                    return self._page(entry, draft)
                case ("add", _, _):
                    return self._page(entry, draft.with_row(), has_spare_rows=False)
                case ("remove", _, number) if number.isascii() and number.isdigit() and len(number) <= 4:  # noqa: PLR2004 as rows have
                    return self._page(entry, draft.without_row(int(number)), has_spare_rows=False)
                case ("preview", _, _):
                    return self._page(entry, draft, trial=self._tried(entry, draft, visit))
                case ("save", _, _):
                    if not visit.person.role.includes(Role.ADMIN):
                        raise ForbiddenError(
                            f"this takes the role admin; {visit.person.name} is {visit.person.role.value}"
                        )
                    return await self._saved(entry, draft, visit)
            raise ViewQueryError(f"act: {act[:40]!r} is none of save, sample, preview, add and remove")
        except InvalidChangeError as error:
            page = self._page(entry, draft, mistakes=mistakes_of_draft(draft, error.problems))
            page.status = error.status
        except ConflictError as error:
            now = None if entry is None else self._parts.webhooks.get(entry.settings.id)
            page = self._page(now, draft, conflict=str(error))
            page.status = error.status
        return page

    async def _saved(self, entry: WebhookEntry | None, draft: WebhookDraft, visit: Visit) -> Page | Done:
        settings = self._read(entry, draft)
        if entry is None:
            stored = await self._parts.acts.create(settings, visit)
            page = self._pages.url_page(self._parts.acts.entry(stored.id), visit, stored)
            page.status = 201
            return page
        expected = expected_revision(visit.form.get("revision", ""), entry)
        stored_sample = entry.settings.sample
        if visit.masks and settings.get("sample") == payload_text(stored_sample, visit.masks).strip():
            settings["sample"] = stored_sample  # it was shown masked, and was not changed
        await self._parts.acts.replace(entry.settings.id, settings, expected, visit)
        message = f"{entry.settings.name} is changed, on all workers within 2 seconds"
        return Done(message, visit.url_for(ONE, id=entry.settings.id))

    def _tried(self, entry: WebhookEntry | None, draft: WebhookDraft, visit: Visit) -> WebhookTrial:
        settings = self._read(entry, draft)
        return try_sample(read_webhook({"id": DRAFT_ID, **settings, "secret": DRAFT_SECRET}), now_s=visit.now_s)

    def _read(self, entry: WebhookEntry | None, draft: WebhookDraft) -> dict[str, Any]:
        """What the form means; raises ``InvalidChangeError`` with all mistakes."""
        settings, problems = settings_of_draft(draft)
        if entry is not None:
            settings["id"] = entry.settings.id
        try:
            read_webhook({"id": DRAFT_ID, **settings, "secret": DRAFT_SECRET})
        except InvalidChangeError as error:
            problems += error.problems
        if problems:
            raise InvalidChangeError(problems)
        return settings

    def _page(
        self,
        entry: WebhookEntry | None,
        draft: WebhookDraft,
        *,
        mistakes: FormMistakes = _NO_MISTAKES,
        conflict: str = "",
        trial: WebhookTrial | None = None,
        has_spare_rows: bool = True,
    ) -> Page:
        """The form with ``draft`` in its inputs."""
        if has_spare_rows and not mistakes.by_input:
            draft = draft.with_spare_rows()
        sample = sample_of(draft.texts.get("sample", ""))
        titles = _TITLES | {
            f"row.{number}.{part}": f"Attribute {number + 1}"
            for number in range(len(draft.rows))
            for part in ("attribute", "path")
        }
        attributes = {row.path: row.attribute for row in draft.rows if row.path}
        rows: list[Row] = [
            {"path": path, "value": value, "attribute": attributes.get(path)} for path, value in sample.fields
        ]
        context = {
            "draft": draft,
            "mistakes": mistakes,
            "conflict": conflict,
            "trial": trial,
            "sample": sample,
            "titles": titles,
            "entry_id": "" if entry is None else entry.settings.id,
            "is_read_only": entry is not None and entry.origin == "file",
            "revision": "" if entry is None or entry.origin == "file" else tag_of(entry),
            "known_events": _known(EVENT_NAMES, (each.settings.event for each in self._parts.webhooks.values())),
            "known_applications": _known((), self._applications()),
            "platforms": tuple(PLATFORMS),
            "kinds": [(kind, words, _MEANINGS[kind]) for kind, words in IDENTIFY_LABELS.items()],
        }
        title = "New webhook" if entry is None else f"Edit {entry.settings.name}"
        fields = Section("fields", _FIELDS, each(rows), f"{len(rows)} fields of the sample can be mapped.")
        facts = {} if entry is None else {"revision": tag_of(entry)}
        return Page(title, "webhook_form.html", [fields], facts, context)

    def _applications(self) -> Iterable[str]:
        for each_webhook in self._parts.webhooks.values():
            yield each_webhook.settings.application
        for integration in self._parts.acts.snapshot.integrations:
            yield from integration.applications


def _settings(entry: WebhookEntry) -> Mapping[str, Any]:
    """The settings of a webhook as its form takes them, without secrets."""
    if entry.stored is not None and entry.origin == "stored":
        return {key: value for key, value in entry.stored.settings.items() if "secret" not in key}
    settings: WebhookSettings = entry.settings
    return settings.model_dump(mode="json", by_alias=True, exclude={"secret", "previous_secret", "previous_until_s"})


def _known(usual: Iterable[str], more: Iterable[str]) -> list[str]:
    return sorted({*usual, *more})[:500]
