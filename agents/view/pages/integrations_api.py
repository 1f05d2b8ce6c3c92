"""``/api/v1/integrations``: what programs may do with integrations, as JSON."""

from typing import Any, Final

from agents.view.imports import shown_plan
from agents.view.integration_acts import COLUMNS, IntegrationActs, Previewed, as_json
from agents.view.pages.api_bodies import flag, import_of, json_content, listed, object_of, yaml_content
from agents.view.past_events import HOUR_S, MOST_EVENTS, USUAL_EVENTS, Asked
from agents.view.revisions import expected_revision, tag_of
from agents.view.server import View
from agents.view.visit import Content, Done, Visit
from pipeline.errors import ConflictError, ViewQueryError
from pipeline.integrations.snapshot import Entry
from pipeline.model.integration import Integration
from pipeline.view.roles import Role

ROOT: Final = "/api/v1/integrations"


class IntegrationsApi:
    """The handlers. Each answers for any worker: what is changed here is in force here when the answer goes out."""

    def __init__(self, acts: IntegrationActs) -> None:
        self._acts = acts

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.api("GET", ROOT, self.list)
        view.api("POST", ROOT, self.create, Role.ADMIN)
        view.api("GET", f"{ROOT}.yaml", self.export, Role.ADMIN)
        view.api("POST", f"{ROOT}/import", self.import_yaml, Role.ADMIN)
        view.api("POST", f"{ROOT}/preview", self.preview)
        view.api("POST", f"{ROOT}/test", self.test_draft, Role.ADMIN)
        view.api("GET", ROOT + "/{id}", self.one)
        view.api("PUT", ROOT + "/{id}", self.replace, Role.ADMIN)
        view.api("DELETE", ROOT + "/{id}", self.delete, Role.ADMIN)
        view.api("POST", ROOT + "/{id}/enable", self.enable, Role.OPERATOR)
        view.api("POST", ROOT + "/{id}/disable", self.disable, Role.OPERATOR)
        view.api("POST", ROOT + "/{id}/duplicate", self.duplicate, Role.ADMIN)
        view.api("POST", ROOT + "/{id}/test", self.test, Role.OPERATOR)
        view.api("POST", ROOT + "/{id}/doctor", self.doctor, Role.OPERATOR)

    async def list(self, visit: Visit) -> Content:
        """List integrations, with filters by column, `q`, `sort`, `facet`, `size` and `after`."""
        snapshot = self._acts.snapshot
        by_id = snapshot.by_id()
        return listed(
            visit,
            self._acts.rows(),
            COLUMNS,
            lambda name: self._acts.shown(by_id[name]),
            family="integrations",
            revision=snapshot.revision,
        )

    async def one(self, visit: Visit) -> Content:
        """Show one integration; its `ETag` is what `If-Match` of a change must say."""
        entry = self._acts.entry(visit.match["id"])
        return json_content(self._acts.shown(entry), headers={"ETag": tag_of(entry)})

    async def create(self, visit: Visit) -> Done:
        """Make an integration."""
        stored = await self._acts.create(object_of(visit), visit)
        return self._changed(stored.id, f"{stored.id} is made", visit, status=201)

    async def replace(self, visit: Visit) -> Done:
        """Put other settings in the place of all that an integration has; secrets given as `********` stay what they are."""
        entry = self._acts.entry(visit.match["id"])
        settings = object_of(visit)
        expected = expected_revision(visit.headers.get("if-match", ""), entry)
        await self._acts.replace(entry.integration.id, settings, expected, visit)
        return self._changed(entry.integration.id, f"{entry.integration.id} is changed", visit)

    async def delete(self, visit: Visit) -> Done:
        """Remove an integration. What it holds is parked, not delivered."""
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.headers.get("if-match", ""), entry)
        await self._acts.delete(entry.integration.id, expected, visit)
        return Done(f"{entry.integration.id} is removed", status=204)

    async def enable(self, visit: Visit) -> Done:
        """Let an integration take events. `If-Match` may be left out."""
        return await self._switch(visit, is_on=True)

    async def disable(self, visit: Visit) -> Done:
        """Let an integration take no more events, and send nothing; what it holds waits. `If-Match` may be left out."""
        return await self._switch(visit, is_on=False)

    async def duplicate(self, visit: Visit) -> Done:
        """Copy an integration, secrets included, under another id; the copy is not enabled."""
        new_name = object_of(visit).get("id")
        settings_id = new_name if isinstance(new_name, str) else ""
        stored = await self._acts.duplicate(visit.match["id"], settings_id, visit)
        return self._changed(stored.id, f"{stored.id} is made, and not enabled yet", visit, status=201)

    async def test(self, visit: Visit) -> Content:
        """Send a test event to an integration's endpoint, past windows and ledger."""
        trial = await self._acts.try_sending(self._acts.entry(visit.match["id"]).integration, visit)
        return json_content(as_json(trial))

    async def test_draft(self, visit: Visit) -> Content:
        """Send a test event as settings say that are not saved; `********` stands for the secrets of the saved integration of that id."""
        return json_content(as_json(await self._acts.try_sending(self._draft(object_of(visit)), visit)))

    async def doctor(self, visit: Visit) -> Content:
        """Examine an integration step by step; with `send=0` no test event is sent."""
        integration = self._acts.entry(visit.match["id"]).integration
        sends = flag("send", visit.parameter("send", "1"))
        return json_content((await self._acts.examine(integration, visit, sends=sends)).as_json())

    async def preview(self, visit: Visit) -> Content:
        """Count what settings, saved or not, would have matched of past events. Either `id` or `settings` is given."""
        body = object_of(visit)
        if ("id" in body) == ("settings" in body):
            raise ViewQueryError("give either id, of a saved integration, or settings")
        if "id" in body:
            if not isinstance(body["id"], str):
                raise ViewQueryError("id: must be text")
            integration = self._acts.entry(body["id"]).integration
        else:
            if not isinstance(body["settings"], dict):
                raise ViewQueryError("settings: must be an object")
            integration = self._draft(body["settings"])
        return json_content(shown_preview(await self._acts.preview(integration, _asked(body), visit)))

    async def export(self, visit: Visit) -> Content:
        """The integrations as YAML for faust.yml, secrets as variables; `id=`, as often as needed, chooses some."""
        names = [value for key, value in visit.parameters if key == "id"]
        return yaml_content(self._acts.export(names), "integrations.yml")

    async def import_yaml(self, visit: Visit) -> Done | Content:
        """Read integrations from YAML: nothing is done where anything is wrong in it, or with `dry_run`."""
        text, variables, is_dry = import_of(visit)
        plan = await self._acts.plan(text, variables)
        if is_dry or plan.mistakes:
            status = 422 if plan.mistakes else 200
            return json_content(shown_plan(plan) | {"applied": False}, status=status)
        applied = await self._acts.carry_out(plan, visit)
        status = 409 if any(each.problem for each in applied) else 200
        return json_content(shown_plan(plan, applied) | {"applied": True}, status=status)

    async def _switch(self, visit: Visit, *, is_on: bool) -> Done:
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.headers.get("if-match", ""), entry, is_required=False)
        await self._acts.switch(entry.integration.id, expected, visit, is_on=is_on)
        word = "enabled" if is_on else "disabled"
        return self._changed(entry.integration.id, f"{entry.integration.id} is {word}", visit)

    def _draft(self, settings: dict[str, Any]) -> Integration:
        name = settings.get("id")
        return self._acts.read(settings, name if isinstance(name, str) else "")

    def _changed(self, name: str, message: str, visit: Visit, *, status: int = 200) -> Done:
        entry: Entry | None = self._acts.snapshot.get(name)
        if entry is None:  # removed again by somebody else
            raise ConflictError(f"{message}, and was removed again meanwhile", status=409)
        location = visit.url_for(ROOT + "/{id}", id=name) if status == 201 else ""  # noqa: PLR2004 created
        headers = {"ETag": tag_of(entry)}
        return Done(message, location, {"integration": self._acts.shown(entry)}, status, headers)


def shown_preview(previewed: Previewed) -> dict[str, Any]:
    """What a preview found, and what it read to find it."""
    found, read = previewed
    return {
        **as_json(found),
        "estimate": read.estimate(found.matching),
        "read": {**as_json(read), "is_whole": read.is_whole},
    }


def _asked(body: dict[str, Any]) -> Asked:
    """Which events a preview reads: ``seconds`` back (null: the latest there are), at most ``events``."""
    seconds, events = body.get("seconds", HOUR_S), body.get("events", USUAL_EVENTS)
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0):
        raise ViewQueryError("seconds: must be a number above 0, or null for the latest events")
    if isinstance(events, bool) or not isinstance(events, int) or not 1 <= events <= MOST_EVENTS:
        raise ViewQueryError(f"events: must be a whole number from 1 to {MOST_EVENTS}")
    return Asked(seconds, events)
