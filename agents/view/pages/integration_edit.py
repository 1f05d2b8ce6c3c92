"""The forms: a new integration, a changed one, a copy, an import. They work without script; with it, trying is inline."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, NamedTuple

from agents.view.imports import shown_plan
from agents.view.integration_acts import IntegrationActs
from agents.view.pages.preview import COUNTS, MINUTES, asked_of, facts_of, sections_of, sentence_of
from agents.view.revisions import expected_revision, tag_of
from agents.view.server import View
from agents.view.visit import Done, Visit
from pipeline.errors import ConflictError, ForbiddenError, InvalidChangeError, NotFoundError, ViewQueryError
from pipeline.integrations.form import FormGroup, FormSpec, form_of
from pipeline.integrations.form_values import (
    ON,
    FormMistakes,
    fill_form,
    is_used,
    mistakes_of,
    parse_form,
    without_secrets,
)
from pipeline.integrations.secrets import restored
from pipeline.integrations.snapshot import Entry
from pipeline.integrations.yaml_reading import Fate
from pipeline.model.integration import Integration
from pipeline.sinks.registry import SINKS
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.page import Page, Section
from pipeline.view.roles import Role

LIST: Final = "/integrations"
NEW: Final = "/integrations/new"
IMPORT: Final = "/integrations/import"
ONE: Final = "/integrations/{id}"

_FORM: Final = "integration_form.html"
_FORMS: Final[Mapping[str, FormSpec]] = {spec.kind: form_of(spec) for spec in SINKS}
_NO_MISTAKES: Final = FormMistakes({}, ())
_FIELD_COLUMNS: Final[Columns] = (
    Column("name", "Key", Kind.CODE, "The key of faust.yml, with dots."),
    Column("title", "Title", help="What the form calls it."),
    Column("type", "Type", Kind.STATE, "What it takes."),
    Column("is_required", "Required", Kind.FLAG, "Whether it must be given."),
    Column("default", "Default", help="What counts where it is left out."),
    Column("value", "Value", help="What it is now; secrets are not shown."),
    Column("help", "Meaning", help="What it is for."),
)
_IMPORT_COLUMNS: Final[Columns] = (
    Column("id", "Integration", Kind.CODE, "Its id.", link=ONE),
    Column("kind", "Kind", Kind.STATE, "What its endpoint speaks."),
    Column("line", "Line", Kind.INTEGER, "Where it begins in the text."),
    Column("fate", "What happens", Kind.STATE, "create, replace, same (it is so already) or refused."),
    Column("differences", "Changes", Kind.JSON, "Keys that change, with their values before and after."),
    Column("problem", "Problem", help="Why it could not be changed."),
)
_MISTAKE_COLUMNS: Final[Columns] = (
    Column("line", "Line", Kind.INTEGER, "Where it stands."),
    Column("key", "Key", Kind.CODE, "The key, with dots."),
    Column("problem", "Problem", help="What is wrong, and what to do."),
)
_MOST_VARIABLES: Final = 1000


class Sheet(NamedTuple):
    """A form that lies before somebody: of which kind, and of which integration or for a copy of it."""

    form: FormSpec
    heading: str
    entry: Entry | None = None
    is_copy: bool = False


class IntegrationForms:
    """Shows the forms and does what they are sent for."""

    def __init__(self, acts: IntegrationActs) -> None:
        self._acts = acts

    def register(self, view: View) -> None:
        """Add the pages and acts to the view. Pages of fixed names go before those of any integration."""
        view.page(NEW, self.new)
        view.action(NEW, self.submit_new, Role.VIEWER)
        view.page(IMPORT, self.import_form, role=Role.ADMIN)
        view.action(IMPORT, self.submit_import, Role.ADMIN)
        view.page(f"{ONE}/edit", self.edit)
        view.action(f"{ONE}/edit", self.submit_edit, Role.VIEWER)
        view.page(f"{ONE}/duplicate", self.duplicate)
        view.action(f"{ONE}/duplicate", self.submit_duplicate, Role.VIEWER)
        view.action(f"{ONE}/enable", self.enable)
        view.action(f"{ONE}/disable", self.disable)
        view.action(f"{ONE}/delete", self.delete, Role.ADMIN)
        view.action(f"{ONE}/test", self.test)
        view.action(f"{ONE}/doctor", self.doctor)

    # a new one

    async def new(self, visit: Visit) -> Page:
        """The form of the kind that is asked for, or the kinds."""
        kind = visit.parameter("kind")
        if not kind:
            return _page_of_kinds()
        sheet = _new_sheet(kind)
        return _page_of(sheet, fill_form(sheet.form, {}), visit)

    async def submit_new(self, visit: Visit) -> Page | Done:
        """Create it, or try it."""
        return await self._submitted(visit, _new_sheet(visit.form.get("kind", "") or visit.parameter("kind")))

    # one that there is

    async def edit(self, visit: Visit) -> Page:
        """The form with what the integration has."""
        sheet = self._sheet(visit, "Edit")
        assert sheet.entry is not None
        return _page_of(sheet, fill_form(sheet.form, self._acts.shown_settings(sheet.entry)), visit)

    async def submit_edit(self, visit: Visit) -> Page | Done:
        """Change it, or try the changes."""
        return await self._submitted(visit, self._sheet(visit, "Edit"))

    async def duplicate(self, visit: Visit) -> Page:
        """The form with what the integration has, for another id."""
        sheet = self._sheet(visit, "Copy of", is_copy=True)
        assert sheet.entry is not None
        settings = self._acts.shown_settings(sheet.entry) | {"id": "", "enabled": False}
        return _page_of(sheet, fill_form(sheet.form, settings), visit)

    async def submit_duplicate(self, visit: Visit) -> Page | Done:
        """Create the copy, or try it."""
        return await self._submitted(visit, self._sheet(visit, "Copy of", is_copy=True))

    def _sheet(self, visit: Visit, verb: str, *, is_copy: bool = False) -> Sheet:
        entry = self._acts.entry(visit.match["id"])
        return Sheet(_FORMS[entry.integration.kind], f"{verb} {entry.integration.id}", entry, is_copy)

    async def _submitted(self, visit: Visit, sheet: Sheet) -> Page | Done:
        """Do what the button says that was pressed; mistakes come back beside their fields."""
        act = visit.form.get("act", "save")
        settings = parse_form(sheet.form, visit.form)
        values = without_secrets(sheet.form, visit.form)
        try:
            if act == "preview":
                return await self._previewed(visit, sheet, values, settings)
            _require(visit, Role.ADMIN)
            if act in {"test", "doctor"}:
                outcome = await self._outcome(visit, act, self._read(settings, sheet))
                page = _page_of(sheet, values, visit)
                page.context |= outcome
                return page
            if act != "save":
                raise ViewQueryError(f"act: {act[:40]!r} is none of save, preview, test and doctor")
            return await self._saved(visit, settings, sheet)
        except InvalidChangeError as error:
            page = _page_of(sheet, values, visit, mistakes=mistakes_of(sheet.form, error.problems, visit.form))
            page.status = error.status
        except ConflictError as error:
            entry = None if sheet.entry is None else self._acts.snapshot.get(sheet.entry.integration.id)
            page = _page_of(sheet._replace(entry=entry), values, visit, conflict=str(error))
            page.status = error.status
        return page

    async def _saved(self, visit: Visit, settings: dict[str, Any], sheet: Sheet) -> Done:
        entry = sheet.entry
        if entry is None or sheet.is_copy:
            kept = settings
            if entry is not None:
                kept = restored(settings, self._acts.written(entry), type(entry.integration))
            stored = await self._acts.create(kept, visit)
            return Done(f"{stored.id} is made", visit.url_for(ONE, id=stored.id), status=201)
        expected = expected_revision(visit.form.get("revision", ""), entry)
        stored = await self._acts.replace(entry.integration.id, settings, expected, visit)
        return Done(f"{stored.id} is changed, on all workers within 2 seconds", visit.url_for(ONE, id=stored.id))

    def _read(self, settings: Mapping[str, Any], sheet: Sheet) -> Integration:
        return self._acts.read(settings, "" if sheet.entry is None else sheet.entry.integration.id)

    # trying

    async def _previewed(
        self, visit: Visit, sheet: Sheet, values: Mapping[str, str], settings: Mapping[str, Any]
    ) -> Page:
        asked = asked_of({key: visit.form.get(f"preview.{key}", "") for key in ("minutes", "events")})
        previewed = await self._acts.preview(self._read(settings, sheet), asked, visit)
        page = _page_of(sheet, values, visit)
        page.sections = [*sections_of(previewed), *page.sections]
        page.facts = facts_of(previewed)
        page.context |= {"preview_sentence": sentence_of(previewed), "asked": asked}
        return page

    async def _outcome(self, visit: Visit, act: str, integration: Integration) -> dict[str, Any]:
        if act == "test":
            return {"trial": await self._acts.try_sending(integration, visit)}
        return {"examination": await self._acts.examine(integration, visit, sends=True)}

    async def test(self, visit: Visit) -> Page:
        """Send a test event as the saved integration says."""
        return await self._page_of_outcome(visit, "test")

    async def doctor(self, visit: Visit) -> Page:
        """Examine the saved integration."""
        return await self._page_of_outcome(visit, "doctor")

    async def _page_of_outcome(self, visit: Visit, act: str) -> Page:
        entry = self._acts.entry(visit.match["id"])
        outcome = await self._outcome(visit, act, entry.integration)
        title = f"{'Test send' if act == 'test' else 'Examination'} of {entry.integration.id}"
        context = {"entry": entry, "asked": None, "lead": "", "minutes": MINUTES, "counts": COUNTS, **outcome}
        return Page(title, "integration_preview.html", context=context)

    # switching and removing

    async def enable(self, visit: Visit) -> Done:
        """Let it take events."""
        return await self._switched(visit, is_on=True)

    async def disable(self, visit: Visit) -> Done:
        """Let it take no more."""
        return await self._switched(visit, is_on=False)

    async def _switched(self, visit: Visit, *, is_on: bool) -> Done:
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.form.get("revision", ""), entry, is_required=False)
        stored = await self._acts.switch(entry.integration.id, expected, visit, is_on=is_on)
        return Done(f"{stored.id} is {'enabled' if is_on else 'disabled'}", visit.url_for(ONE, id=stored.id))

    async def delete(self, visit: Visit) -> Done:
        """Remove it."""
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.form.get("revision", ""), entry)
        stored = await self._acts.delete(entry.integration.id, expected, visit)
        return Done(f"{stored.id} is removed; what it held is parked", visit.url_for(LIST))

    # in

    async def import_form(self, _visit: Visit) -> Page:
        """Where the text goes."""
        return _page_of_import("", "")

    async def submit_import(self, visit: Visit) -> Page | Done:
        """Say what the text would do, or do it."""
        text, variables = visit.form.get("yaml", ""), visit.form.get("variables", "")
        plan = await self._acts.plan(text, _variables(variables))
        shown = shown_plan(plan)
        if visit.form.get("act") != "import" or plan.mistakes:
            return _page_of_import(text, variables, shown, status=422 if plan.mistakes else 200)
        applied = await self._acts.carry_out(plan, visit)
        if any(each.problem for each in applied):
            return _page_of_import(text, variables, shown_plan(plan, applied), status=409, is_done=True)
        made, changed = plan.count(Fate.CREATE), plan.count(Fate.REPLACE)
        return Done(f"{made} integrations are made, {changed} changed", visit.url_for(LIST))


def _page_of(
    sheet: Sheet,
    values: Mapping[str, str],
    visit: Visit,
    *,
    mistakes: FormMistakes = _NO_MISTAKES,
    conflict: str = "",
) -> Page:
    """A form with ``values`` in its inputs."""
    form, entry = sheet.form, sheet.entry
    context = {
        "form": form,
        "values": values,
        "mistakes": mistakes,
        "conflict": conflict,
        "entry": entry,
        "is_copy": sheet.is_copy,
        "is_read_only": entry is not None and entry.origin == "file" and not sheet.is_copy,
        "revision": tag_of(entry) if entry is not None and not sheet.is_copy else "",
        "folded": [
            group.title for group in form.groups if not _is_wanted(group, values, mistakes) and not group.is_optional
        ],
        "titles": {field.input: field.title for group in form.groups for field in group.all_fields()},
        "minutes": MINUTES,
        "counts": COUNTS,
        "preview_minutes": visit.form.get("preview.minutes", "60"),
        "preview_events": visit.form.get("preview.events", ""),
        "on": ON,
    }
    fields = Section("fields", _FIELD_COLUMNS, _each(_field_rows(form, values)), f"What kind {form.kind} takes.")
    return Page(sheet.heading, _FORM, [fields], {}, context)


def _is_wanted(group: FormGroup, values: Mapping[str, str], mistakes: FormMistakes) -> bool:
    """Whether a group is shown open."""
    inputs = {group.name, *(field.input for field in group.all_fields())}
    return is_used(group, values) or not inputs.isdisjoint(mistakes.by_input)


def _page_of_kinds() -> Page:
    rows = [{"kind": spec.kind, "summary": spec.summary} for spec in SINKS]
    columns = (
        Column("kind", "Kind", Kind.CODE, "What the endpoint speaks.", link=f"{NEW}?kind={{kind}}"),
        Column("summary", "What it does"),
    )
    kinds = Section("kinds", columns, _each(rows), "Choose what the endpoint speaks.")
    return Page("New integration", "page.html", [kinds], {}, {"lead": "An integration delivers one customer's events."})


def _page_of_import(
    text: str, variables: str, shown: Mapping[str, Any] | None = None, *, status: int = 200, is_done: bool = False
) -> Page:
    sections = []
    if shown is not None:
        rows = [each | {"differences": each["differences"] or None} for each in shown["integrations"]]
        heading = "What was done." if is_done else "What would be done."
        if shown["problems"]:
            heading = "What was read. Nothing can be done before the mistakes are corrected."
            mistakes = f"{len(shown['problems'])} mistakes, by line."
            sections.append(Section("mistakes", _MISTAKE_COLUMNS, _each(shown["problems"]), mistakes))
        sections.append(Section("integrations", _IMPORT_COLUMNS, _each(rows), heading))
    context = {"text": text, "variables": variables, "shown": shown, "is_done": is_done}
    return Page("Import integrations", "integration_import.html", sections, {}, context, status)


def _new_sheet(kind: str) -> Sheet:
    form = _FORMS.get(kind)
    if form is None:
        raise NotFoundError(f"there is no kind {kind[:40]!r}; there are {', '.join(_FORMS)}")
    return Sheet(form, f"New {kind} integration")


def _require(visit: Visit, role: Role) -> None:
    if not visit.person.role.includes(role):
        raise ForbiddenError(f"this takes the role {role.value}; {visit.person.name} is {visit.person.role.value}")


def _field_rows(form: FormSpec, values: Mapping[str, str]) -> Iterable[Row]:
    for group in form.groups:
        for field in group.all_fields():
            yield {
                "name": field.name,
                "title": field.title,
                "type": field.type.value,
                "is_required": field.is_required,
                "default": field.default or None,
                "value": values.get(field.input) or None,
                "help": field.help,
            }


def _variables(text: str) -> dict[str, str]:
    """Variables of an import, each as ``NAME=value`` in a line of its own."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > _MOST_VARIABLES:
        raise ViewQueryError(f"more than {_MOST_VARIABLES} variables")
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if not equals:
            raise ViewQueryError(f"variables: line {number} is not of the form NAME=value")
        found[name.strip()] = value.strip()
    return found


async def _each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row
