"""``/webhooks/{id}``: what came to one webhook and what became of it; its URL; switching, rotating and deleting it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from agents.view.inbound_parts import InboundParts
from agents.view.pages.browsing import each, time_range, with_facets
from agents.view.pages.webhooks import LIST
from agents.view.revisions import expected_revision, tag_of
from agents.view.server import View, Visit
from agents.view.sources.webhooks import HOUR_S, HOURS, NOTHING, first_hour, webhook_row
from agents.view.visit import Done
from agents.view.webhook_acts import authorization_of
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.settings import IDENTIFY_LABELS
from pipeline.inbound.tally import REJECTED_IN_A_ROW
from pipeline.integrations.snapshot import WebhookEntry
from pipeline.integrations.stored import StoredWebhook
from pipeline.integrations.webhook_form import sample_of
from pipeline.integrations.webhook_secrets import USUAL_VALID_FOR_S
from pipeline.integrations.webhook_trial import example_command, made_up_payload
from pipeline.view.charts import Chart, Series, stacked_bars
from pipeline.view.columns import Column, Columns, Kind, Row
from pipeline.view.formats.html import lasting
from pipeline.view.mask_payload import payload_text
from pipeline.view.page import Page, Section
from pipeline.view.query import Query
from pipeline.view.roles import Role

ONE: Final = "/webhooks/{id}"
FACETS: Final = ("result",)
FROM_VARIABLE: Final = '"Authorization: Bearer $WEBHOOK_SECRET"'

_REASONS: Final[Columns] = (
    Column("reason", "Reason", Kind.TEXT, "What became of a request, as the log calls it.", is_sortable=False),
    Column("count", "Requests", Kind.INTEGER, "How many of the last 24 hours.", is_sortable=False),
    Column("meaning", "What it means", Kind.TEXT, "And what to do.", is_sortable=False),
    Column("outcome", "Outcome", Kind.CODE, "The same in a word.", is_sortable=False, is_wide=True),
)
_REQUEST: Final[Columns] = (
    Column("part", "Part", Kind.TEXT, "The URL, or the name of a header.", is_sortable=False),
    Column("value", "Value", Kind.CODE, is_sortable=False),
)
_NO_REQUESTS: Final = (
    "Nothing came in yet, or it is longer ago than the view remembers. The URL and an example are under Copy URL."
)
_NO_FAILURES: Final = "No request failed in the last 24 hours."


class WebhookPages:
    """The pages of one webhook, but its form."""

    def __init__(self, parts: InboundParts) -> None:
        self._parts = parts

    def register(self, view: View) -> None:
        """Put them on ``view``, after the pages of fixed names below ``/webhooks``."""
        view.page(ONE, self.log)
        view.page(f"{ONE}/url", self.url)
        view.action(f"{ONE}/enable", self.enable)
        view.action(f"{ONE}/disable", self.disable)
        view.action(f"{ONE}/rotate", self.rotate, Role.ADMIN)
        view.action(f"{ONE}/delete", self.delete, Role.ADMIN)

    # looking

    async def log(self, visit: Visit) -> Page:
        """The activity log of a webhook: the last 24 hours in sum, then request by request."""
        entry = self._parts.acts.entry(visit.match["id"])
        settings = entry.settings
        asked = with_facets(visit, FACETS)
        requests = await self._parts.gather.section(
            "requests", "inbound_requests", asked, what="requests", webhook=settings.id, **time_range(visit, "at")
        )
        requests.columns = tuple(_of_log(requests.columns, settings.identify.by))
        if visit.is_export:
            return Page(settings.name, "page.html", [requests])
        query = Query(sort="name", key="webhook", limit=1).where("webhook", settings.id)
        found = await self._parts.gather.ask("webhooks", query)
        known = [row async for row in found.rows]
        row = (
            known[0]
            if known
            else webhook_row(entry, NOTHING, visit.now_s) | dict.fromkeys(("received", "hits", "success", "failed"))
        )
        failures = [*_failures(row["outcomes"] or {})]
        count = sum(each["count"] for each in failures)
        reasons = Section(
            "reasons",
            _REASONS,
            each(failures),
            f"{count:,} failed in the last 24 hours, by reason.",
            coverage=found.coverage,
        )
        facts = {
            "hits_24_h": row["hits"],
            "success_24_h": row["success"],
            "failed_24_h": row["failed"],
            "received": row["received"],
            "last_request_at": row["last_at"],
        }
        context = {
            "webhook": row,
            "identified_by": IDENTIFY_LABELS[settings.identify.by],
            "lead": _warnings(row),
            "acts": _buttons(visit, entry),
            "charts": _charts(row, visit.now_s),
            "fact_links": {
                "success_24_h": visit.url_for(ONE, id=settings.id, result="success", since="24h"),
                "failed_24_h": visit.url_for(ONE, id=settings.id, result="failed", since="24h"),
            },
            "fact_tones": {"failed_24_h": "warn"} if row["failed"] else {},
            "nothing": {"requests": _NO_REQUESTS, "reasons": _NO_FAILURES},
        }
        return Page(settings.name, "webhook.html", [requests, reasons], facts, context)

    async def url(self, visit: Visit) -> Page:
        """The URL of a webhook, and an example of a request to it."""
        return self.url_page(self._parts.acts.entry(visit.match["id"]), visit)

    def url_page(self, entry: WebhookEntry, visit: Visit, stored: StoredWebhook | None = None) -> Page:
        """The same; with its secret where ``stored`` is what was just made: never at another time."""
        settings = entry.settings
        secret = "" if stored is None else authorization_of(stored)
        sample = sample_of(payload_text(settings.sample, visit.masks) if visit.masks else settings.sample)
        has_sample = bool(sample.payload and not sample.problem)
        payload = sample.payload if has_sample else made_up_payload(settings)
        url = self._parts.inbound.url_of(settings.id)
        previous_until = settings.previous_until_s
        facts: dict[str, Any] = {"url": url, "previous_secret_valid_until_at": previous_until}
        if secret:
            facts["secret"] = secret
        context = {
            "webhook": settings,
            "webhook_origin": entry.origin,
            "url": url,
            "secret": secret,
            "curl": example_command(url, f"'Authorization: {secret}'" if secret else FROM_VARIABLE, payload),
            "has_sample": has_sample,
            "previous_until": previous_until if (previous_until or 0.0) > visit.now_s else None,
            "may_rotate": entry.origin == "stored" and visit.person.role.includes(Role.ADMIN),
            "revision": tag_of(entry),
            "rotation": lasting(USUAL_VALID_FOR_S),
        }
        headers = [("Authorization", secret or "Bearer and the secret"), ("Content-Type", "application/json")]
        rows = [{"part": "URL", "value": url}, *({"part": name, "value": value} for name, value in headers)]
        section = Section("request", _REQUEST, each(rows), "What a request needs, sent with POST.")
        return Page(f"Webhook URL of {settings.name}", "webhook_url.html", [section], facts, context)

    # changing

    async def enable(self, visit: Visit) -> Done:
        """Take requests again."""
        return await self._switched(visit, is_on=True)

    async def disable(self, visit: Visit) -> Done:
        """Take no more requests; all settings are kept."""
        return await self._switched(visit, is_on=False)

    async def _switched(self, visit: Visit, *, is_on: bool) -> Done:
        entry = self._parts.acts.entry(visit.match["id"])
        expected = expected_revision(visit.form.get("revision", ""), entry, is_required=False)
        await self._parts.acts.switch(entry.settings.id, expected, visit, is_on=is_on)
        word = "enabled" if is_on else "disabled"
        return Done(f"{entry.settings.name} is {word}", visit.url_for(ONE, id=entry.settings.id))

    async def rotate(self, visit: Visit) -> Page:
        """Make a new secret, which is shown once; the one before is valid for a while."""
        entry = self._parts.acts.entry(visit.match["id"])
        expected = expected_revision(visit.form.get("revision", ""), entry, is_required=False)
        stored = await self._parts.acts.rotate(entry.settings.id, expected, visit)
        return self.url_page(self._parts.acts.entry(entry.settings.id), visit, stored)

    async def delete(self, visit: Visit) -> Done:
        """Remove it."""
        entry = self._parts.acts.entry(visit.match["id"])
        expected = expected_revision(visit.form.get("revision", ""), entry)
        await self._parts.acts.delete(entry.settings.id, expected, visit)
        return Done(f"{entry.settings.name} is deleted", visit.url_for(LIST))


def _of_log(columns: Columns, by: str) -> Iterable[Column]:
    """The columns of one webhook's log: what its users are known by, and not what they are not."""
    for column in columns:
        is_other = column.name in IDENTIFY_LABELS and column.name != by
        is_known = column.name in {"webhook", "identified_by", "disregarded"}
        yield replace(column, is_wide=True) if is_other or is_known else column


def _failures(outcomes: dict[str, int]) -> Iterable[Row]:
    for name, count in sorted(outcomes.items(), key=lambda pair: (-pair[1], pair[0])):
        outcome = Outcome(name)
        if not outcome.is_success:
            yield {"reason": outcome.label, "count": count, "meaning": outcome.meaning, "outcome": name}


def _warnings(row: Row) -> list[str]:
    if row["rejected"] >= REJECTED_IN_A_ROW:
        told = f"The last {row['rejected']} requests did not carry the secret."
        return [f"{told} Requests are taken again as soon as one does: copy the secret again, or make a new one."]
    return []


def _charts(row: Row, now_s: float) -> list[Chart]:
    times = [float((first_hour(now_s) + number) * HOUR_S) for number in range(HOURS)]
    return [
        stacked_bars(times, [Series("requests", row["trend"], "info")], "Requests of the last 24 hours, an hour each")
    ]


def _buttons(visit: Visit, entry: WebhookEntry) -> list[dict[str, Any]]:
    """What whoever looks may do."""
    settings, role = entry.settings, visit.person.role
    if entry.origin == "file" or not role.includes(Role.OPERATOR):
        return []

    def button(act: str, label: str, question: str, tone: str = "") -> dict[str, Any]:
        url = visit.url_for(f"{ONE}/{act}", id=settings.id)
        fields = {"revision": tag_of(entry)}
        return {"id": f"act-{act}", "url": url, "label": label, "question": question, "fields": fields, "tone": tone}

    found = [
        button(
            "disable",
            "Disable",
            f"Disable {settings.name}? Requests are refused; all settings and the secret are kept.",
        )
        if settings.enabled
        else button("enable", "Enable", f"Let {settings.name} take requests again?", "good")
    ]
    if role.includes(Role.ADMIN):
        question = f"Delete {settings.name}? Requests to its URL are refused from then on, and its secret is gone."
        found.append(button("delete", "Delete", question, "bad"))
    return found
