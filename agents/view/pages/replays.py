"""The replays that people started: how far each is, and what came of every row."""

from agents.view.flow_parts import FlowParts
from agents.view.server import View
from agents.view.visit import Done, Visit
from pipeline.errors import NotFoundError
from pipeline.view.page import Page
from pipeline.view.query import Query
from pipeline.view.roles import Role


class ReplayPages:
    """``/replays``, one replay, and stopping it."""

    def __init__(self, parts: FlowParts) -> None:
        self._gather = parts.gather
        self._replays = parts.replays

    def register(self, view: View) -> None:
        """Add them to the view."""
        view.page("/replays", self.search, nav="Replays")
        view.page("/replays/{id}", self.one)
        view.action("/replays/{id}/stop", self.stop)

    async def search(self, visit: Visit) -> Page:
        """Replays that run or ran since the workers started."""
        section = await self._gather.section("replays", "replays", visit, what="replays")
        nothing = "No replay was started since the workers started. Replays begin at Parked and Dead letters; Audit has all of them."
        return Page("Replays", "page.html", [section], context={"nothing": {"replays": nothing}})

    async def one(self, visit: Visit) -> Page:
        """One replay, with every row and what came of it."""
        name = visit.match["id"]
        query = Query(sort="started_at", key="id", limit=1).where("id", name)
        found = await self._gather.ask("replays", query)
        job = next(iter([row async for row in found.rows]), None)
        if job is None:
            raise NotFoundError(f"no replay {name[:40]} is known; the worker that ran it may have been restarted")
        rows = await self._gather.section("rows", "replay_rows", visit, what="rows", job=name)
        facts = {
            name: job[name] for name in ("state", "chosen", "asked", "gone", "failed", "rate", "started_at", "ended_at")
        }
        context = {"lead": f"{job['which']}. Started by {job['who']}."}
        if job["state"] == "running" and visit.person.role.includes(Role.OPERATOR):
            url = visit.url_for("/replays/{id}/stop", id=name)
            question = "Stop it? What was asked for already goes on; the rest stays where it is."
            act = {"id": "stop", "url": url, "label": "Stop", "question": question, "tone": "bad"}
            return Page(f"Replay {name}", "page.html", [rows], facts, {**context, "acts": [act]})
        return Page(f"Replay {name}", "page.html", [rows], facts, context)

    async def stop(self, visit: Visit) -> Done:
        """Stop it."""
        name = visit.match["id"]
        await self._replays.stop(name)
        return Done("The replay is stopped", visit.url_for("/replays/{id}", id=name), {"replay": name})
