"""What people were told: breakers, parked batches, refused credentials."""

from typing import Final

from agents.view.flow_parts import FlowParts
from agents.view.pages.browsing import time_range, with_facets
from agents.view.server import View
from agents.view.visit import Visit
from pipeline.view.page import Page

FACETS: Final = ("cause", "integration")


class NoticePages:
    """``/notices``."""

    def __init__(self, parts: FlowParts) -> None:
        self._gather = parts.gather

    def register(self, view: View) -> None:
        """Add it to the view."""
        view.page("/notices", self.search, nav="Notices")

    async def search(self, visit: Visit) -> Page:
        """Search notices."""
        asked = with_facets(visit, FACETS)
        section = await self._gather.section("notices", "notices", asked, what="notices", **time_range(visit, "at"))
        nothing = {"notices": "No notice fits: nothing happened that people should know of."}
        return Page("Notices", "page.html", [section], context={"nothing": nothing})
