"""``/api/v1/webhooks``: what programs may do with inbound webhooks, as JSON."""

from typing import Any, Final

from agents.view.imports import shown_plan
from agents.view.pages.api_bodies import import_of, json_content, listed, object_of, yaml_content
from agents.view.revisions import expected_revision, tag_of
from agents.view.server import View
from agents.view.visit import Content, Done, Visit
from agents.view.webhook_acts import COLUMNS, WebhookActs, authorization_of
from pipeline.errors import ConflictError, InvalidChangeError, ViewQueryError
from pipeline.integrations.stored import StoredWebhook
from pipeline.integrations.webhook_secrets import SECRET, USUAL_VALID_FOR_S
from pipeline.model.units import parse_duration
from pipeline.view.roles import Role

ROOT: Final = "/api/v1/webhooks"

_CREATED: Final = 201


class WebhooksApi:
    """The handlers. Each answers for any worker: what is changed here is in force here when the answer goes out."""

    def __init__(self, acts: WebhookActs) -> None:
        self._acts = acts

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.api("GET", ROOT, self.list)
        view.api("POST", ROOT, self.create, Role.ADMIN)
        view.api("GET", f"{ROOT}.yaml", self.export, Role.ADMIN)
        view.api("POST", f"{ROOT}/import", self.import_yaml, Role.ADMIN)
        view.api("GET", ROOT + "/{id}", self.one)
        view.api("PUT", ROOT + "/{id}", self.replace, Role.ADMIN)
        view.api("DELETE", ROOT + "/{id}", self.delete, Role.ADMIN)
        view.api("POST", ROOT + "/{id}/enable", self.enable, Role.OPERATOR)
        view.api("POST", ROOT + "/{id}/disable", self.disable, Role.OPERATOR)
        view.api("POST", ROOT + "/{id}/rotate", self.rotate, Role.ADMIN)

    async def list(self, visit: Visit) -> Content:
        """List webhooks, with filters by column, `q`, `sort`, `facet`, `size` and `after`."""
        snapshot = self._acts.snapshot
        webhooks = snapshot.webhooks
        return listed(
            visit,
            self._acts.rows(),
            COLUMNS,
            lambda name: self._acts.shown(webhooks[name], visit),
            family="webhooks",
            revision=snapshot.revision,
        )

    async def one(self, visit: Visit) -> Content:
        """Show one webhook; its `ETag` is what `If-Match` of a change must say."""
        entry = self._acts.entry(visit.match["id"])
        return json_content(self._acts.shown(entry, visit), headers={"ETag": tag_of(entry)})

    async def create(self, visit: Visit) -> Done:
        """Make a webhook. The answer alone tells its secret, as callers must send it in `Authorization`."""
        stored = await self._acts.create(object_of(visit), visit)
        return self._changed(stored, f"{stored.id} is made", visit, status=_CREATED, is_secret_new=True)

    async def replace(self, visit: Visit) -> Done:
        """Put other settings in the place of all that a webhook has; secrets that are not given, or as `********`, stay."""
        entry = self._acts.entry(visit.match["id"])
        settings = object_of(visit)
        expected = expected_revision(visit.headers.get("if-match", ""), entry)
        stored = await self._acts.replace(entry.id, settings, expected, visit)
        return self._changed(stored, f"{entry.id} is changed", visit)

    async def delete(self, visit: Visit) -> Done:
        """Remove a webhook. Requests to its URL are refused from then on; what it has fired stays."""
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.headers.get("if-match", ""), entry)
        await self._acts.delete(entry.id, expected, visit)
        return Done(f"{entry.id} is removed", status=204)

    async def enable(self, visit: Visit) -> Done:
        """Let a webhook take requests. `If-Match` may be left out."""
        return await self._switch(visit, is_on=True)

    async def disable(self, visit: Visit) -> Done:
        """Let a webhook take no more requests; its settings stay. `If-Match` may be left out."""
        return await self._switch(visit, is_on=False)

    async def rotate(self, visit: Visit) -> Done:
        """Give a webhook a new secret, which the answer alone tells; the one until now stays valid for `valid_for`, 24 hours unless given."""
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.headers.get("if-match", ""), entry, is_required=False)
        valid_for_s = _valid_for_s(object_of(visit) if visit.body.strip() else {})
        stored = await self._acts.rotate(entry.id, expected, visit, valid_for_s=valid_for_s)
        return self._changed(stored, f"{entry.id} has a new secret", visit, is_secret_new=True)

    async def export(self, visit: Visit) -> Content:
        """The webhooks as YAML for faust.yml, secrets as variables; `id=`, as often as needed, chooses some."""
        names = [value for key, value in visit.parameters if key == "id"]
        return yaml_content(self._acts.export(names, visit), "webhooks.yml")

    async def import_yaml(self, visit: Visit) -> Done | Content:
        """Read webhooks from YAML: nothing is done where anything is wrong in it, or with `dry_run`."""
        asked = import_of(visit)
        plan = await self._acts.plan(asked.text, asked.variables, visit)
        if asked.is_dry or plan.mistakes:
            status = 422 if plan.mistakes else 200
            return json_content(shown_plan(plan, family="webhooks") | {"applied": False}, status=status)
        applied = await self._acts.carry_out(plan, visit)
        status = 409 if any(each.problem for each in applied) else 200
        return json_content(shown_plan(plan, applied, family="webhooks") | {"applied": True}, status=status)

    async def _switch(self, visit: Visit, *, is_on: bool) -> Done:
        entry = self._acts.entry(visit.match["id"])
        expected = expected_revision(visit.headers.get("if-match", ""), entry, is_required=False)
        stored = await self._acts.switch(entry.id, expected, visit, is_on=is_on)
        return self._changed(stored, f"{entry.id} is {'enabled' if is_on else 'disabled'}", visit)

    def _changed(
        self, stored: StoredWebhook, message: str, visit: Visit, *, status: int = 200, is_secret_new: bool = False
    ) -> Done:
        entry = self._acts.snapshot.webhooks.get(stored.id)
        if entry is None:  # removed again by somebody else
            raise ConflictError(f"{message}, and was removed again meanwhile", status=409)
        body: dict[str, Any] = {"webhook": self._acts.shown(entry, visit)}
        headers = {"ETag": tag_of(entry)}
        if is_secret_new:
            body |= {"secret": stored.settings[SECRET], "authorization": authorization_of(stored)}
        location = visit.url_for(ROOT + "/{id}", id=stored.id) if status == _CREATED else ""
        return Done(message, location, body, status, headers)


def _valid_for_s(body: dict[str, Any]) -> float:
    """How long the secret until now stays valid; raises ``ViewQueryError`` and ``InvalidChangeError``."""
    if unknown := [key for key in body if key != "valid_for"]:
        raise ViewQueryError(f"{unknown[0][:40]}: is not a key here; there is valid_for")
    text = body.get("valid_for")
    if text is None:
        return USUAL_VALID_FOR_S
    if not isinstance(text, str):
        raise InvalidChangeError([("valid_for", "must be a duration such as 24h, with its unit")])
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidChangeError([("valid_for", str(error))]) from None
